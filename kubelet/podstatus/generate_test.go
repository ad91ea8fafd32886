package podstatus_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/podstatus"
	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func input(containers ...runtime.Container) podstatus.Input {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Generation: 7}}
	pod.Spec.Containers = []corev1.Container{{Name: "a", Image: "i:1"}}
	box := runtime.Sandbox{ID: "s", State: runtime.SandboxReady, IPs: []string{"10.0.0.5"}}
	for i := range containers {
		containers[i].Name, containers[i].SandboxID = "a", "s"
	}
	return podstatus.Input{Snapshot: &podstep.Snapshot{Pod: pod, Sandboxes: []runtime.Sandbox{box}, Containers: containers},
		RuntimeName: "containerd", HostIPs: []string{"192.0.2.1"}, StartTime: t0, Now: t0.Add(time.Minute)}
}

func running(id string, attempt uint32) runtime.Container {
	return runtime.Container{ID: id, Attempt: attempt, State: runtime.ContainerRunning, StartedAt: t0, ImageRef: "i@sha256:1"}
}

func exited(id string, attempt uint32, code int32, reason string) runtime.Container {
	return runtime.Container{ID: id, Attempt: attempt, State: runtime.ContainerExited, StartedAt: t0, FinishedAt: t0.Add(time.Second), ExitCode: code, Reason: reason}
}

func TestStatesOfAContainer(t *testing.T) {
	crash := podstep.Problem{Reason: "CrashLoopBackOff", Message: "back-off"}
	tests := []struct {
		name                string
		in                  podstatus.Input
		change              func(*podstatus.Input)
		state, last         string
		restarts            int32
		ready, started      bool
		readyReason, readyM string
	}{
		{name: "not there yet", in: input(), state: "waiting ContainerCreating", readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
		{name: "running", in: input(running("x", 0)), state: "running", ready: true, started: true},
		{name: "restarted", in: input(exited("x", 0, 1, ""), running("y", 1)), state: "running", last: "terminated Error 1", restarts: 1, ready: true, started: true},
		{name: "held up", in: input(exited("x", 2, 1, "")), change: func(in *podstatus.Input) { in.Held = map[string]podstep.Problem{"a": crash} },
			state: "waiting CrashLoopBackOff", last: "terminated Error 1", restarts: 2, readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
		{name: "out of memory", in: input(exited("x", 0, 137, "OOMKilled")), state: "terminated OOMKilled 137", readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
		{name: "not ready", in: input(running("x", 0)), change: func(in *podstatus.Input) { in.Pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{} },
			state: "running", started: true, readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
		{name: "starting up", in: input(running("x", 0)), change: func(in *podstatus.Input) { in.Pod.Spec.Containers[0].StartupProbe = &corev1.Probe{} },
			state: "running", readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
		{name: "a gate is closed", in: input(running("x", 0)), change: func(in *podstatus.Input) {
			in.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "lb"}}
		}, state: "running", ready: true, started: true, readyReason: "ReadinessGatesNotReady", readyM: `corresponding condition of pod readiness gate "lb" does not exist.`},
		{name: "removed from the runtime", in: input(), change: func(in *podstatus.Input) {
			in.Pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", ContainerID: "containerd://x", RestartCount: 4,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		}, state: "waiting ContainerCreating", last: "terminated ContainerStatusUnknown 137", restarts: 4, readyReason: "ContainersNotReady", readyM: "containers with unready status: [a]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change != nil {
				tt.change(&tt.in)
			}
			status := podstatus.Generate(tt.in)
			c := status.ContainerStatuses[0]
			type view struct {
				State, Last   string
				Restarts      int32
				Ready, Begun  bool
				Reason, Words string
			}
			ready := condition(status, corev1.PodReady)
			got := view{describe(c.State), describe(c.LastTerminationState), c.RestartCount, c.Ready, *c.Started, ready.Reason, ready.Message}
			want := view{tt.state, tt.last, tt.restarts, tt.ready, tt.started, tt.readyReason, tt.readyM}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func describe(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Waiting != nil:
		return "waiting " + s.Waiting.Reason
	case s.Terminated != nil:
		return "terminated " + s.Terminated.Reason + " " + itoa(s.Terminated.ExitCode)
	}
	return ""
}

func itoa(n int32) string {
	if n >= 10 {
		return itoa(n/10) + itoa(n%10)
	}
	return string(rune('0' + n))
}

func condition(s corev1.PodStatus, t corev1.PodConditionType) corev1.PodCondition {
	for _, c := range s.Conditions {
		if c.Type == t {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestWholeStatus(t *testing.T) {
	in := input(running("x", 0))
	then := metav1.NewTime(t0.Add(-time.Hour))
	in.Pod.Status.Conditions = []corev1.PodCondition{
		{Type: "example.com/other", Status: corev1.ConditionTrue},
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: then},
	}
	got := podstatus.Generate(in)
	if got.Phase != corev1.PodRunning || got.PodIP != "10.0.0.5" || got.HostIP != "192.0.2.1" || got.ObservedGeneration != 7 || !got.StartTime.Time.Equal(t0) {
		t.Errorf("%+v", got)
	}
	if id := got.ContainerStatuses[0].ContainerID; id != "containerd://x" {
		t.Errorf("container ID %q", id)
	}
	var types []corev1.PodConditionType
	for _, c := range got.Conditions {
		types = append(types, c.Type)
	}
	want := []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "example.com/other"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("conditions -want +got\n%s", diff)
	}
	if c := condition(got, corev1.PodScheduled); !c.LastTransitionTime.Equal(&then) {
		t.Errorf("a condition that did not change has a new time: %+v", c)
	}
	// The same again changes nothing.
	in.Pod.Status = got
	in.Now = in.Now.Add(time.Hour)
	if diff := cmp.Diff(got, podstatus.Generate(in)); diff != "" {
		t.Errorf("not stable:\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	in := input(running("x", 0))
	in.Verdict = &podstep.Verdict{Phase: corev1.PodFailed, Reason: "Evicted", Message: "why"}
	got := podstatus.Generate(in)
	if got.Phase != corev1.PodFailed || got.Reason != "Evicted" || got.Message != "why" || condition(got, corev1.PodReady).Reason != "PodFailed" {
		t.Errorf("%+v", got)
	}
}
