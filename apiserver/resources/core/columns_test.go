package core

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func ended(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: ago(5 * time.Minute)}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func TestPodCells(t *testing.T) {
	type status = corev1.ContainerStatus
	sidecar := corev1.Container{Name: "s", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}
	for name, test := range map[string]struct {
		change                  func(p *corev1.Pod)
		ready, status, restarts string
	}{
		"pending": {func(*corev1.Pod) {}, "0/2", "Pending", "0"},
		"creating": {func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []status{{State: waiting("ContainerCreating")}, {State: waiting("ContainerCreating")}}
		}, "0/2", "ContainerCreating", "0"},
		"running": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []status{{Ready: true, State: running()}, {Ready: true, State: running()}}
		}, "2/2", "Running", "0"},
		"back-off": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []status{
				{Ready: true, State: running()},
				{RestartCount: 3, State: waiting("CrashLoopBackOff"), LastTerminationState: ended(1, "Error")},
			}
		}, "1/2", "CrashLoopBackOff", "3 (5m ago)"},
		"exit code": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodFailed
			p.Status.ContainerStatuses = []status{{State: ended(3, "")}, {State: ended(0, "Completed")}}
		}, "0/2", "ExitCode:3", "0"},
		"one done, one running": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []status{{State: ended(0, "Completed")}, {Ready: true, State: running()}}
		}, "1/2", "NotReady", "0"},
		"init": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i"}, {Name: "j"}}
			p.Status.InitContainerStatuses = []status{{Name: "i", State: ended(0, "Completed")}, {Name: "j", State: waiting("PodInitializing")}}
			p.Status.ContainerStatuses = []status{{State: waiting("PodInitializing")}}
		}, "0/2", "Init:1/2", "0"},
		"init fails": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
			p.Status.InitContainerStatuses = []status{{Name: "i", RestartCount: 2, State: waiting("CrashLoopBackOff"), LastTerminationState: ended(1, "Error")}}
		}, "0/2", "Init:CrashLoopBackOff", "2 (5m ago)"},
		"sidecar": {func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Spec.InitContainers = []corev1.Container{sidecar}
			p.Status.InitContainerStatuses = []status{{Name: "s", Started: ptr.To(true), Ready: true, State: running()}}
			p.Status.ContainerStatuses = []status{{Ready: true, State: running()}, {Ready: true, State: running()}}
		}, "3/3", "Running", "0"},
		"terminating": {func(p *corev1.Pod) {
			p.Status.Phase, p.DeletionTimestamp = corev1.PodRunning, ptr.To(ago(0))
			p.Status.ContainerStatuses = []status{{Ready: true, State: running()}}
		}, "1/2", "Terminating", "0"},
		"lost": {func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.DeletionTimestamp = corev1.PodRunning, "NodeLost", ptr.To(ago(0))
		}, "0/2", "Unknown", "0"},
		"evicted": {func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }, "0/2", "Evicted", "0"},
		"gated": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Reason: "SchedulingGated"}}
		}, "0/2", "SchedulingGated", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: ago(90 * time.Second)},
				Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}},
				Status:     corev1.PodStatus{Phase: corev1.PodPending, PodIPs: []corev1.PodIP{{IP: "10.1.0.2"}}},
			}
			test.change(pod)
			want := []any{"p", test.ready, test.status, test.restarts, "90s", "10.1.0.2", "n", "<none>", "<none>"}
			if diff := cmp.Diff(want, podCells(pod, now)); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOtherCells(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", CreationTimestamp: ago(3 * time.Hour), Labels: map[string]string{"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
		Spec:       corev1.NodeSpec{Unschedulable: true},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}},
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.37.0", OSImage: "Linux"},
		},
	}
	want := []any{"n", "Ready,SchedulingDisabled", "control-plane,edge", "3h", "v1.37.0", "10.0.0.1", "<none>", "Linux", "<unknown>", "<unknown>"}
	if diff := cmp.Diff(want, nodeCells(node, now)); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s", CreationTimestamp: ago(time.Minute)},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.9", Selector: map[string]string{"a": "b"},
			Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080, Protocol: "TCP", TargetPort: intstr.FromInt32(80)}, {Port: 53, Protocol: "UDP"}},
		},
	}
	want = []any{"s", "LoadBalancer", "10.96.0.9", "<pending>", "80:30080/TCP,53/UDP", "60s", "a=b"}
	if diff := cmp.Diff(want, serviceCells(svc, now)); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, Type: "Warning", Reason: "BackOff", Message: " text\n",
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", FieldPath: "spec.containers{c}"},
		Source:         corev1.EventSource{Component: "kubelet", Host: "n"}, Count: 4,
		FirstTimestamp: ago(time.Hour), LastTimestamp: ago(10 * time.Second),
	}
	want = []any{"10s", "Warning", "BackOff", "pod/p", "spec.containers{c}", "kubelet, n", "text", "60m", int64(4), "e"}
	if diff := cmp.Diff(want, EventCells(event, now)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	eps := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "e"},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: "10.1.0.1"}, {IP: "10.1.0.2"}, {IP: "10.1.0.3"}, {IP: "10.1.0.4"}},
			Ports:     []corev1.EndpointPort{{Port: 80}},
		}},
	}
	if got, want := endpointAddresses(eps), "10.1.0.1:80,10.1.0.2:80,10.1.0.3:80 + 1 more..."; got != want {
		t.Errorf("endpoints %q, want %q", got, want)
	}
}

func TestRowsFitTheirColumns(t *testing.T) {
	for _, r := range Resources(Config{}) {
		if r.Cells == nil {
			continue
		}
		if got, want := len(r.Cells(r.New(), now)), len(r.Columns); got != want {
			t.Errorf("%s: %d cells for %d columns", r.Plural, got, want)
		}
		for _, c := range r.Columns {
			if c.Description == "" || c.Type == "" {
				t.Errorf("%s: column %s has no description or type", r.Plural, c.Name)
			}
		}
		if r.SelectableFields != nil {
			r.SelectableFields(r.New())
		}
	}
}
