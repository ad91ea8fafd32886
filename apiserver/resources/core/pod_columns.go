package core

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resources/columns"
)

// nodeLost is the reason that the node life cycle gives pods of a lost node.
const nodeLost = "NodeLost"

func podColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PodSpec{}.SwaggerDoc(), corev1.PodStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.String("Ready", "The aggregate readiness state of this pod for accepting traffic."),
		columns.String("Status", "The aggregate status of the containers in this pod."),
		columns.String("Restarts", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		columns.Created(),
		columns.Wide(columns.String("IP", status["podIP"])),
		columns.Wide(columns.String("Node", spec["nodeName"])),
		columns.Wide(columns.String("Nominated Node", status["nominatedNodeName"])),
		columns.Wide(columns.String("Readiness Gates", spec["readinessGates"])),
	}
}

func podCells(obj runtime.Object, now time.Time) []any {
	pod := obj.(*corev1.Pod)
	s := summarize(pod)
	restarts := fmt.Sprint(s.restarts)
	if s.restarts != 0 && !s.lastRestart.IsZero() {
		restarts = fmt.Sprintf("%d (%s ago)", s.restarts, columns.Age(s.lastRestart, now))
	}
	ip := ""
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	} else {
		ip = pod.Status.PodIP
	}
	gates := "<none>"
	if len(pod.Spec.ReadinessGates) > 0 {
		met := 0
		for _, g := range pod.Spec.ReadinessGates {
			if conditionTrue(pod, g.ConditionType) {
				met++
			}
		}
		gates = fmt.Sprintf("%d/%d", met, len(pod.Spec.ReadinessGates))
	}
	return []any{
		pod.Name,
		fmt.Sprintf("%d/%d", s.ready, s.total),
		s.reason,
		restarts,
		columns.Age(pod.CreationTimestamp, now),
		columns.None(ip),
		columns.None(pod.Spec.NodeName),
		columns.None(pod.Status.NominatedNodeName),
		gates,
	}
}

func conditionTrue(pod *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podSummary is a pod in one line.
type podSummary struct {
	ready, total int
	reason       string
	restarts     int
	lastRestart  metav1.Time
}

// summarize finds the word that says best how a pod is: the first init container
// that is not done speaks before the containers, the last container that has
// something to say before the phase, and deletion before all.
func summarize(pod *corev1.Pod) podSummary {
	s := podSummary{total: len(pod.Spec.Containers), reason: string(pod.Status.Phase)}
	if pod.Status.Reason != "" {
		s.reason = pod.Status.Reason
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars[c.Name] = true
			s.total++
		}
	}
	sidecarRestarts, sidecarLast := 0, metav1.Time{}
	initializing := false
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		s.restarted(c)
		if sidecars[c.Name] {
			sidecarRestarts += int(c.RestartCount)
			sidecarLast = later(sidecarLast, lastEnd(c))
			if c.Started != nil && *c.Started && c.Ready {
				s.ready++
			}
		}
		if word, done := initReason(c, sidecars[c.Name], i, len(pod.Spec.InitContainers)); !done {
			s.reason = word
			initializing = true
			break
		}
	}
	if !initializing || conditionTrue(pod, corev1.PodInitialized) {
		// The init containers are behind: only sidecars and containers count.
		s.restarts, s.lastRestart = sidecarRestarts, sidecarLast
		s.containers(pod)
	}
	if pod.DeletionTimestamp != nil {
		switch {
		case pod.Status.Reason == nodeLost:
			s.reason = "Unknown"
		case pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed:
			s.reason = "Terminating"
		}
	}
	return s
}

// initReason is what an init container says of the pod; done means that it is
// behind the pod.
func initReason(c *corev1.ContainerStatus, sidecar bool, index, total int) (word string, done bool) {
	t, w := c.State.Terminated, c.State.Waiting
	switch {
	case t != nil && t.ExitCode == 0:
		return "", true
	case sidecar && c.Started != nil && *c.Started:
		return "", true
	case t != nil:
		return "Init:" + endedReason(t), false
	case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
		return "Init:" + w.Reason, false
	}
	return fmt.Sprintf("Init:%d/%d", index, total), false
}

func endedReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// containers lets the containers speak, the first one last.
func (s *podSummary) containers(pod *corev1.Pod) {
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		s.restarted(c)
		switch t, w := c.State.Terminated, c.State.Waiting; {
		case w != nil && w.Reason != "":
			s.reason = w.Reason
		case t != nil:
			s.reason = endedReason(t)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	// A pod with one container done and another running is running.
	if s.reason == "Completed" && running {
		s.reason = "NotReady"
		if conditionTrue(pod, corev1.PodReady) {
			s.reason = "Running"
		}
	}
}

func (s *podSummary) restarted(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	s.lastRestart = later(s.lastRestart, lastEnd(c))
}

func lastEnd(c *corev1.ContainerStatus) metav1.Time {
	if t := c.LastTerminationState.Terminated; t != nil {
		return t.FinishedAt
	}
	return metav1.Time{}
}

func later(a, b metav1.Time) metav1.Time {
	if a.Before(&b) {
		return b
	}
	return a
}
