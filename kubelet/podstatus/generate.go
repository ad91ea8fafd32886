package podstatus

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/kubelet/qos"
	"github.com/strake-io/strake/runtime"
)

// Input of [Generate].
type Input struct {
	*podstep.Snapshot
	// Held are the containers that wait, as podstep.Next said.
	Held map[string]podstep.Problem
	// RuntimeName begins container IDs: "containerd".
	RuntimeName string
	// HostIPs of the node, the primary first.
	HostIPs []string
	// StartTime is when the node took the pod up.
	StartTime time.Time
	// Messages that containers left when they ended, by container ID.
	Messages map[string]string
	Now      time.Time
}

// Generate makes the pod's status.
func Generate(in Input) corev1.PodStatus {
	old := &in.Pod.Status
	status := *old.DeepCopy()
	status.ObservedGeneration = in.Pod.Generation
	status.Phase = in.Phase()
	if in.Verdict != nil {
		status.Reason, status.Message = in.Verdict.Reason, in.Verdict.Message
	}
	status.QOSClass = qos.Class(in.Pod)
	if status.StartTime == nil && !in.StartTime.IsZero() {
		t := metav1.NewTime(in.StartTime)
		status.StartTime = &t
	}
	in.addresses(&status)

	status.InitContainerStatuses = nil
	for i := range in.Pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses,
			in.container(&in.Pod.Spec.InitContainers[i], true, find(old.InitContainerStatuses, in.Pod.Spec.InitContainers[i].Name)))
	}
	status.ContainerStatuses = nil
	for i := range in.Pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses,
			in.container(&in.Pod.Spec.Containers[i], false, find(old.ContainerStatuses, in.Pod.Spec.Containers[i].Name)))
	}
	status.EphemeralContainerStatuses = nil
	for i := range in.Pod.Spec.EphemeralContainers {
		spec := corev1.Container(in.Pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		c := in.container(&spec, false, find(old.EphemeralContainerStatuses, spec.Name))
		c.Ready, c.Started, c.Resources, c.AllocatedResources = false, nil, nil, nil
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses, c)
	}
	in.conditions(&status)
	return status
}

func find(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

func (in *Input) addresses(status *corev1.PodStatus) {
	if len(in.HostIPs) > 0 {
		status.HostIP = in.HostIPs[0]
		status.HostIPs = nil
		for _, ip := range in.HostIPs {
			status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: ip})
		}
	}
	var ips []string
	if box := in.Sandbox(); box != nil && box.State == runtime.SandboxReady {
		ips = box.IPs
		if in.Pod.Spec.HostNetwork {
			ips = in.HostIPs
		}
	}
	if len(ips) == 0 {
		if !in.Ending() {
			status.PodIP, status.PodIPs = "", nil
		}
		return
	}
	status.PodIP = ips[0]
	status.PodIPs = nil
	for _, ip := range ips {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
}

// container makes the status of one container.
func (in *Input) container(spec *corev1.Container, init bool, old *corev1.ContainerStatus) corev1.ContainerStatus {
	all := in.Instances(spec.Name)
	no := false
	out := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: &no,
		State: corev1.ContainerState{Waiting: in.waiting(spec.Name)}}
	if len(all) == 0 {
		if old == nil || old.ContainerID == "" {
			return out
		}
		return in.vanished(spec, *old, out)
	}
	c := all[0]
	out.RestartCount = int32(c.Attempt)
	out.ContainerID = in.RuntimeName + "://" + c.ID
	out.ImageID = c.ImageRef
	if out.ImageID == "" {
		out.ImageID = c.ImageID
	}
	if c.Image != "" {
		out.Image = c.Image
	}
	var previous *runtime.Container
	if len(all) > 1 && over(all[1]) {
		previous = all[1]
	}
	switch {
	case c.State == runtime.ContainerRunning:
		out.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}}
		started := in.Started(spec, c)
		out.Started = &started
		out.Ready = in.Ready(spec, c) && (!init || podstep.IsSidecar(spec))
		out.AllocatedResources, out.Resources = spec.Resources.Requests.DeepCopy(), resources(spec)
		out.VolumeMounts = mounts(spec)
	case over(c):
		if problem, held := in.Held[spec.Name]; held && !in.Ending() {
			out.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: problem.Reason, Message: problem.Message}}
			previous = c
		} else {
			out.State = corev1.ContainerState{Terminated: in.terminated(c)}
			out.Ready = init && !podstep.IsSidecar(spec) && c.ExitCode == 0
		}
		out.Resources, out.AllocatedResources = resources(spec), spec.Resources.Requests.DeepCopy()
		out.VolumeMounts = mounts(spec)
	}
	if previous != nil {
		out.LastTerminationState.Terminated = in.terminated(previous)
	} else if old != nil && len(all) == 1 && c.Attempt > 0 {
		out.LastTerminationState = old.LastTerminationState
		if old.State.Terminated != nil && old.ContainerID != out.ContainerID {
			out.LastTerminationState = corev1.ContainerState{Terminated: old.State.Terminated}
		}
	}
	return out
}

// vanished is the status of a container that the API knows and the runtime does
// not, or no longer.
func (in *Input) vanished(spec *corev1.Container, old, fresh corev1.ContainerStatus) corev1.ContainerStatus {
	if old.State.Terminated != nil && (in.Ending() || in.Finished(spec, false)) {
		old.Ready = old.Ready && in.Phase() != corev1.PodFailed
		return old
	}
	lost := &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown", ExitCode: 137, ContainerID: old.ContainerID,
		Message: "The container could not be located when the pod was terminated"}
	if old.State.Terminated != nil {
		lost = old.State.Terminated
	}
	if in.Ending() {
		if old.State.Running == nil {
			return old
		}
		fresh.State = corev1.ContainerState{Terminated: lost}
	} else {
		fresh.LastTerminationState.Terminated = lost
	}
	fresh.RestartCount, fresh.ContainerID, fresh.ImageID = old.RestartCount, old.ContainerID, old.ImageID
	return fresh
}

func (in *Input) waiting(name string) *corev1.ContainerStateWaiting {
	if p, held := in.Held[name]; held && !in.Ending() {
		return &corev1.ContainerStateWaiting{Reason: p.Reason, Message: p.Message}
	}
	if p, failed := in.Problems[name]; failed && !in.Ending() {
		return &corev1.ContainerStateWaiting{Reason: p.Reason, Message: p.Message}
	}
	if len(in.Pod.Spec.InitContainers) > 0 && !in.Initialized() {
		return &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

func over(c *runtime.Container) bool {
	return c.State == runtime.ContainerExited || c.State == runtime.ContainerUnknown
}

func (in *Input) terminated(c *runtime.Container) *corev1.ContainerStateTerminated {
	out := &corev1.ContainerStateTerminated{ExitCode: c.ExitCode, Reason: c.Reason, Message: c.Message,
		StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt), ContainerID: in.RuntimeName + "://" + c.ID}
	if m, ok := in.Messages[c.ID]; ok {
		out.Message = m
	}
	switch {
	case c.State == runtime.ContainerUnknown:
		out.Reason, out.ExitCode = "ContainerStatusUnknown", 137
	case out.Reason == "" && c.ExitCode == 0:
		out.Reason = "Completed"
	case out.Reason == "":
		out.Reason = "Error"
	}
	return out
}

func resources(spec *corev1.Container) *corev1.ResourceRequirements {
	r := spec.Resources.DeepCopy()
	return r
}

func mounts(spec *corev1.Container) []corev1.VolumeMountStatus {
	var out []corev1.VolumeMountStatus
	for _, m := range spec.VolumeMounts {
		s := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := corev1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled {
				mode = corev1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		if !slices.ContainsFunc(out, func(o corev1.VolumeMountStatus) bool { return o.MountPath == s.MountPath }) {
			out = append(out, s)
		}
	}
	return out
}
