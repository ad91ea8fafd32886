package podstatus

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

const (
	reasonCompleted   = "PodCompleted"
	reasonFailed      = "PodFailed"
	reasonUnready     = "ContainersNotReady"
	reasonUninit      = "ContainersNotInitialized"
	reasonGateUnready = "ReadinessGatesNotReady"
)

// conditions sets the conditions that the node owns, in upstream's order, before
// those of others.
func (in *Input) conditions(status *corev1.PodStatus) {
	containers := in.containersReady(status)
	own := []corev1.PodCondition{
		in.sandboxCondition(),
		in.initialized(status),
		in.ready(containers, status),
		containers,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	}
	out := make([]corev1.PodCondition, 0, len(own)+1)
	for _, c := range own {
		c.ObservedGeneration = in.Pod.Generation
		c.LastTransitionTime = metav1.NewTime(in.Now)
		for _, old := range in.Pod.Status.Conditions {
			if old.Type != c.Type {
				continue
			}
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			if c.Type == corev1.PodScheduled && old.Status == c.Status {
				c = old
			}
		}
		out = append(out, c)
	}
	status.Conditions = KeepForeign(out, in.Pod.Status.Conditions)
}

// KeepForeign joins the node's own conditions out of the first list and those of
// others out of the second, so that a node never undoes what somebody else wrote.
func KeepForeign(own, current []corev1.PodCondition) []corev1.PodCondition {
	out := make([]corev1.PodCondition, 0, len(own)+1)
	for _, c := range own {
		if owned(c.Type) {
			out = append(out, c)
		}
	}
	for _, c := range current {
		if !owned(c.Type) {
			out = append(out, c)
		}
	}
	return out
}

func owned(t corev1.PodConditionType) bool {
	switch t {
	case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled:
		return true
	}
	return false
}

func (in *Input) sandboxCondition() corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse}
	if box := in.Sandbox(); box != nil && box.State == runtime.SandboxReady && (in.Pod.Spec.HostNetwork || len(box.IPs) > 0) {
		c.Status = corev1.ConditionTrue
	}
	return c
}

func (in *Input) initialized(status *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if status.Phase == corev1.PodSucceeded {
		c.Reason = reasonCompleted
		return c
	}
	var waiting []string
	begun := false
	for i := range status.ContainerStatuses {
		begun = begun || status.ContainerStatuses[i].ContainerID != ""
	}
	for i := range status.InitContainerStatuses {
		s, spec := &status.InitContainerStatuses[i], &in.Pod.Spec.InitContainers[i]
		done := s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		if podstep.IsSidecar(spec) {
			done = s.Started != nil && *s.Started
		}
		if !done {
			waiting = append(waiting, s.Name)
		}
	}
	if len(waiting) > 0 && !(begun && in.Initialized()) {
		c.Status, c.Reason = corev1.ConditionFalse, reasonUninit
		c.Message = fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(waiting, " "))
		if status.Phase == corev1.PodFailed {
			c.Reason, c.Message = reasonFailed, ""
		}
	}
	return c
}

func (in *Input) containersReady(status *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	switch status.Phase {
	case corev1.PodSucceeded:
		c.Status, c.Reason = corev1.ConditionFalse, reasonCompleted
		return c
	case corev1.PodFailed:
		c.Status, c.Reason = corev1.ConditionFalse, reasonFailed
		return c
	}
	var unready []string
	for i := range status.InitContainerStatuses {
		if podstep.IsSidecar(&in.Pod.Spec.InitContainers[i]) && !status.InitContainerStatuses[i].Ready {
			unready = append(unready, status.InitContainerStatuses[i].Name)
		}
	}
	for i := range status.ContainerStatuses {
		if !status.ContainerStatuses[i].Ready {
			unready = append(unready, status.ContainerStatuses[i].Name)
		}
	}
	if len(unready) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, reasonUnready
		c.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	return c
}

func (in *Input) ready(containers corev1.PodCondition, status *corev1.PodStatus) corev1.PodCondition {
	c := containers
	c.Type = corev1.PodReady
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var missing []string
	for _, gate := range in.Pod.Spec.ReadinessGates {
		var found *corev1.PodCondition
		for i := range in.Pod.Status.Conditions {
			if in.Pod.Status.Conditions[i].Type == gate.ConditionType {
				found = &in.Pod.Status.Conditions[i]
			}
		}
		switch {
		case found == nil:
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case found.Status != corev1.ConditionTrue:
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, found.Status))
		}
	}
	if len(missing) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, reasonGateUnready, strings.Join(missing, ", ")
	}
	return c
}
