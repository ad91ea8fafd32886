package podstep

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// minimumGrace is given to every container, even where the pod is deleted at
// once: the process gets its signal.
const minimumGrace = 2 * time.Second

// grace that a container gets: a probe's own, the deletion's or the pod's. A pod
// that the API no longer has was deleted by force, and gets the least there is.
func (s *Snapshot) grace(p *corev1.Probe) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s.Pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *s.Pod.Spec.TerminationGracePeriodSeconds
	}
	switch {
	case s.Gone:
		seconds = 0
	case s.Pod.DeletionGracePeriodSeconds != nil:
		seconds = *s.Pod.DeletionGracePeriodSeconds
	case p != nil && p.TerminationGracePeriodSeconds != nil:
		seconds = *p.TerminationGracePeriodSeconds
	}
	return max(time.Duration(seconds)*time.Second, minimumGrace)
}

// Grace is how long the pod's termination, starting now, may take.
func (s *Snapshot) Grace() time.Duration { return s.grace(nil) }

// end takes the pod down.
func (s *Snapshot) end(d *Decision, now time.Time) {
	if s.stopAll(d, now, "Killing", "") {
		return
	}
	for _, b := range s.Sandboxes {
		if b.State == runtime.SandboxReady {
			d.add(Step{Kind: StopSandbox, ID: b.ID})
		}
	}
	if len(d.Steps) > 0 {
		return
	}
	if p, held := s.Problems[""]; held && now.Before(p.Until) {
		d.wakeAt(p.Until)
		return
	}
	switch {
	case !s.VolumesGone:
		d.add(Step{Kind: UnmountVolumes})
	case !s.CgroupGone:
		d.add(Step{Kind: RemoveCgroup})
	case !s.Reported && !s.Gone:
		d.add(Step{Kind: Report})
	case s.Deleted():
		for _, b := range s.Sandboxes {
			d.add(Step{Kind: RemoveSandbox, ID: b.ID})
		}
		d.Done = len(d.Steps) == 0
	}
}

// stopAll stops what runs: all but sidecars at once, then the sidecars from the
// last to the first. False when nothing runs.
func (s *Snapshot) stopAll(d *Decision, now time.Time, reason, message string) bool {
	order := map[string]int{}
	for i := range s.Pod.Spec.InitContainers {
		if c := &s.Pod.Spec.InitContainers[i]; IsSidecar(c) {
			order[c.Name] = i + 1
		}
	}
	left := s.Grace()
	if s.Stop != nil {
		left = max(min(left, s.Stop.Began.Add(s.Stop.Grace).Sub(now)), 0)
	}
	var sidecar *runtime.Container
	stop := func(c *runtime.Container, grace time.Duration) {
		text := message
		if text == "" {
			text = fmt.Sprintf("Stopping container %s", c.Name)
		}
		d.add(Step{Kind: StopContainer, ID: c.ID, Name: c.Name, Grace: grace, Reason: reason, Message: text})
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		switch {
		case c.State != runtime.ContainerRunning && c.State != runtime.ContainerUnknown:
		case c.State == runtime.ContainerUnknown && !s.boxReady(c.SandboxID):
			// Its sandbox was stopped by force, and the container with it.
		case order[c.Name] == 0:
			stop(c, left)
		case sidecar == nil || order[c.Name] > order[sidecar.Name]:
			sidecar = c
		}
	}
	if len(d.Steps) == 0 && sidecar != nil {
		stop(sidecar, max(left, minimumGrace))
	}
	return len(d.Steps) > 0
}

func (s *Snapshot) boxReady(id string) bool {
	for i := range s.Sandboxes {
		if s.Sandboxes[i].ID == id {
			return s.Sandboxes[i].State == runtime.SandboxReady
		}
	}
	return false
}
