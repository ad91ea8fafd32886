package admission_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/strake-io/strake/kubelet/admission"
)

func node() *corev1.Node {
	n := &corev1.Node{}
	n.Name = "n"
	n.Labels = map[string]string{"kubernetes.io/os": "linux", "zone": "a"}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi"),
		corev1.ResourcePods: resource.MustParse("3")}
	return n
}

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{}
	p.Spec.NodeName = "n"
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	for _, f := range change {
		f(p)
	}
	return p
}

func requests(cpu, memory string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
}

func hostPort(port int32, ip string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: port, ContainerPort: 80, HostIP: ip, Protocol: corev1.ProtocolTCP}}
	}
}

func TestAdmit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pod    *corev1.Pod
		others []*corev1.Pod
		want   string
	}{
		{"it fits", pod(requests("1", "1Gi")), []*corev1.Pod{pod(requests("1", "0"))}, ""},
		{"no CPU left", pod(requests("1500m", "0")), []*corev1.Pod{pod(requests("1", "0"))}, "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"},
		{"no memory left", pod(requests("0", "2Gi")), nil, "OutOfmemory: Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"},
		{"too many pods", pod(), []*corev1.Pod{pod(), pod(), pod()}, "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"},
		{"a device that is not there", pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}
		}), nil, "OutOfexample.com/gpu: Node didn't have enough resource: example.com/gpu, requested: 1, used: 0, capacity: 0"},
		{"another selector", pod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "b"} }), nil,
			"NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		{"another system", pod(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }), nil,
			"PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS"},
		{"a taken port", pod(hostPort(80, "")), []*corev1.Pod{pod(hostPort(80, "192.0.2.1"))},
			"NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
		{"the port of another address", pod(hostPort(80, "192.0.2.2")), []*corev1.Pod{pod(hostPort(80, "192.0.2.1"))}, ""},
	} {
		got := ""
		if r := admission.Admit(tt.pod, tt.others, node()); r != nil {
			got = r.Reason + ": " + r.Message
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
