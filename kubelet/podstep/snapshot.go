package podstep

import (
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// Result of a probe so far.
type Result uint8

const (
	Unknown Result = iota // not probed yet
	Success
	Failure
)

// Probes are the present results for one container. Those of probes that the
// container does not have are ignored.
type Probes struct {
	Startup, Liveness, Readiness Result
	// Message of the failure, for people.
	Message string
}

// Problem is why something could not be done, and when to try again.
type Problem struct {
	// Reason and Message as the pod's status shows them.
	Reason, Message string
	// Until is when the next try may begin.
	Until time.Time
}

// Verdict ends a pod by the node's decision rather than by its containers.
type Verdict struct {
	Phase           corev1.PodPhase
	Reason, Message string
}

// Stop is a running termination: when it began and how long it may take.
type Stop struct {
	Began time.Time
	Grace time.Duration
}

// Snapshot is everything that is known about a pod at one moment. Nothing in it
// is changed by this package.
type Snapshot struct {
	Pod        *corev1.Pod
	Sandboxes  []runtime.Sandbox
	Containers []runtime.Container

	// CgroupReady and VolumesReady say that the pod's were made by this process;
	// CgroupGone and VolumesGone that they were taken down for good. Neither is
	// the state after a restart of the kubelet.
	CgroupReady, CgroupGone   bool
	VolumesReady, VolumesGone bool

	// Probes by container ID.
	Probes map[string]Probes
	// Backoffs of restarts and Problems of starts by container name. The problem
	// under "" is the pod's own: its sandbox or its volumes.
	Backoffs map[string]Backoff
	Problems map[string]Problem

	// Verdict is set once the node decided to end the pod.
	Verdict *Verdict
	// Gone says that the API no longer has the pod (or never had it);
	// Reported that the final status was written and, for a deleted pod, the
	// object deleted.
	Gone, Reported bool
	// Stop is set once termination began.
	Stop *Stop
}

// Deleted says that the pod shall be ended and removed.
func (s *Snapshot) Deleted() bool { return s.Gone || s.Pod.DeletionTimestamp != nil }

// Sandbox is the newest sandbox, nil where there is none.
func (s *Snapshot) Sandbox() *runtime.Sandbox {
	var newest *runtime.Sandbox
	for i := range s.Sandboxes {
		if b := &s.Sandboxes[i]; newest == nil || b.Pod.Attempt > newest.Pod.Attempt ||
			b.Pod.Attempt == newest.Pod.Attempt && b.CreatedAt.After(newest.CreatedAt) {
			newest = b
		}
	}
	return newest
}

// Instances are the containers of a name, the newest first.
func (s *Snapshot) Instances(name string) []*runtime.Container {
	var found []*runtime.Container
	for i := range s.Containers {
		if s.Containers[i].Name == name {
			found = append(found, &s.Containers[i])
		}
	}
	sort.SliceStable(found, func(i, j int) bool {
		if found[i].Attempt != found[j].Attempt {
			return found[i].Attempt > found[j].Attempt
		}
		return found[i].CreatedAt.After(found[j].CreatedAt)
	})
	return found
}

// Current is the newest container of a name inside the newest sandbox; nil where
// there is none.
func (s *Snapshot) Current(name string) *runtime.Container {
	box := s.Sandbox()
	if box == nil {
		return nil
	}
	var newest *runtime.Container
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Name == name && c.SandboxID == box.ID && (newest == nil || c.Attempt > newest.Attempt) {
			newest = c
		}
	}
	return newest
}

// Started says that a running container has passed its startup probe, if any.
func (s *Snapshot) Started(spec *corev1.Container, c *runtime.Container) bool {
	if c == nil || c.State != runtime.ContainerRunning {
		return false
	}
	return spec.StartupProbe == nil || s.Probes[c.ID].Startup == Success
}

// Ready says that a container serves: it started and its readiness probe, if
// any, succeeds.
func (s *Snapshot) Ready(spec *corev1.Container, c *runtime.Container) bool {
	if !s.Started(spec, c) {
		return false
	}
	return spec.ReadinessProbe == nil || s.Probes[c.ID].Readiness == Success
}

// nextAttempt numbers a new container of a name.
func (s *Snapshot) nextAttempt(name string) uint32 {
	if all := s.Instances(name); len(all) > 0 {
		return all[0].Attempt + 1
	}
	// A container that was removed from the runtime still counts.
	for _, list := range [][]corev1.ContainerStatus{s.Pod.Status.ContainerStatuses, s.Pod.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name && list[i].ContainerID != "" {
				return uint32(list[i].RestartCount) + 1
			}
		}
	}
	return 0
}
