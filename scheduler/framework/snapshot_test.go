package framework

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func testPod(name, cpu string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), "example.com/gpu": resource.MustParse("1"),
		}}, Ports: []corev1.ContainerPort{{HostPort: 80}}}}},
	}
}

func testNode(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")}}}
}

func TestPodRequests(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	request := func(cpu string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("1Mi")}}
	}
	for _, test := range []struct {
		name                string
		spec                corev1.PodSpec
		milliCPU, nonZeroMC int64
	}{
		{"containers add up", corev1.PodSpec{Containers: []corev1.Container{{Resources: request("100m")}, {Resources: request("200m")}}}, 300, 300},
		{"the largest init container", corev1.PodSpec{
			InitContainers: []corev1.Container{{Resources: request("1")}, {Resources: request("500m")}},
			Containers:     []corev1.Container{{Resources: request("100m")}}}, 1000, 1000},
		{"a sidecar runs beside all", corev1.PodSpec{
			InitContainers: []corev1.Container{{RestartPolicy: &always, Resources: request("300m")}, {Resources: request("1")}},
			Containers:     []corev1.Container{{Resources: request("100m")}}}, 1300, 1300},
		{"overhead", corev1.PodSpec{
			Overhead:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")},
			Containers: []corev1.Container{{Resources: request("100m")}}}, 150, 150},
		{"pod-level request", corev1.PodSpec{
			Resources:  &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}},
			Containers: []corev1.Container{{Resources: request("100m")}}}, 2000, 2000},
		{"none counts at the default", corev1.PodSpec{Containers: []corev1.Container{{}, {Resources: request("200m")}}}, 200, 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := NewPodInfo(&corev1.Pod{Spec: test.spec})
			if p.Requests.MilliCPU != test.milliCPU || p.NonZeroMilliCPU != test.nonZeroMC {
				t.Errorf("requests %dm, for scores %dm; want %dm and %dm", p.Requests.MilliCPU, p.NonZeroMilliCPU, test.milliCPU, test.nonZeroMC)
			}
		})
	}
}

func TestHostPortConflicts(t *testing.T) {
	tcp := func(ip string, port int32) HostPort { return HostPort{ip, corev1.ProtocolTCP, port} }
	for _, test := range []struct {
		a, b HostPort
		want bool
	}{
		{tcp("0.0.0.0", 80), tcp("10.0.0.1", 80), true},
		{tcp("10.0.0.1", 80), tcp("10.0.0.1", 80), true},
		{tcp("10.0.0.1", 80), tcp("10.0.0.2", 80), false},
		{tcp("0.0.0.0", 80), tcp("0.0.0.0", 81), false},
		{tcp("0.0.0.0", 80), HostPort{"0.0.0.0", corev1.ProtocolUDP, 80}, false},
	} {
		if got := test.a.Conflicts(test.b); got != test.want || test.b.Conflicts(test.a) != test.want {
			t.Errorf("%v and %v: conflict %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

// TestSnapshotSums lets nodes and pods come and go, and compares every node with
// one made anew from what should be on it.
func TestSnapshotSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := NewSnapshot()
	where := map[string]string{}
	cpu := map[string]string{}
	for step := range 3000 {
		pod, node := fmt.Sprint("p", r.IntN(30)), fmt.Sprint("n", r.IntN(6))
		switch r.IntN(5) {
		case 0:
			s.SetNode(testNode(node))
		case 1:
			if r.IntN(4) == 0 {
				s.RemoveNode(node)
			}
		case 2:
			s.RemovePod(types.UID(pod))
			delete(where, pod)
		default:
			where[pod], cpu[pod] = node, fmt.Sprint(1+r.IntN(4))
			s.AddPod(NewPodInfo(testPod(pod, cpu[pod])), node)
		}
		if s.PodCount() != len(where) {
			t.Fatalf("step %d: %d pods, want %d", step, s.PodCount(), len(where))
		}
		for i, n := range s.Nodes() {
			want := NewNodeInfo(testNode(n.Name()))
			for p, on := range where {
				if on == n.Name() {
					want.AddPod(NewPodInfo(testPod(p, cpu[p])))
				}
			}
			got := n.Requested.clone()
			for k, v := range got.Scalar {
				if v == 0 {
					delete(got.Scalar, k)
				}
			}
			if got.MilliCPU != want.Requested.MilliCPU || got.Scalar["example.com/gpu"] != want.Requested.Scalar["example.com/gpu"] ||
				len(n.Pods) != len(want.Pods) || len(n.UsedPorts) != len(want.UsedPorts) || n.NonZeroMemory != want.NonZeroMemory || n.index != i {
				t.Fatalf("step %d: node %s is %+v, want %+v", step, n.Name(), n, want)
			}
		}
	}
}

func TestSnapshotChanges(t *testing.T) {
	s := NewSnapshot()
	for i := range 3 {
		s.SetNode(testNode(fmt.Sprint("n", i)))
	}
	objects, position := s.Objects(), s.Position()
	heartbeat := testNode("n0")
	heartbeat.ResourceVersion = "2"
	if s.SetNode(heartbeat) || s.Objects() != objects {
		t.Error("a heartbeat counts as a change")
	}
	s.AddPod(NewPodInfo(testPod("p", "1")), "n2")
	s.AddPod(NewPodInfo(testPod("p", "1")), "n2") // the same again: no change
	s.AddPod(NewPodInfo(testPod("q", "1")), "elsewhere")
	changed, ok := s.ChangedSince(position)
	if diff := cmp.Diff([]int32{2}, changed); diff != "" || !ok {
		t.Errorf("changed (-want +got, known %v):\n%s", ok, diff)
	}
	s.SetNode(testNode("elsewhere"))
	if s.Objects() == objects {
		t.Error("a new node is no change")
	}
	if _, ok := s.ChangedSince(position); ok {
		t.Error("indexes from before a node came are still given out")
	}
}

func TestSignatureIsUnambiguous(t *testing.T) {
	write := func(f func(s *Signature)) string {
		var s Signature
		f(&s)
		return string(s.Bytes())
	}
	a := write(func(s *Signature) { s.String("ab"); s.String("c") })
	b := write(func(s *Signature) { s.String("a"); s.String("bc") })
	if a == b {
		t.Error("different strings have one signature")
	}
	m := map[string]string{"x": "1", "y": "2", "z": "3"}
	first := write(func(s *Signature) { s.Map(m) })
	for range 20 {
		if write(func(s *Signature) { s.Map(m) }) != first {
			t.Fatal("one map has two signatures")
		}
	}
}
