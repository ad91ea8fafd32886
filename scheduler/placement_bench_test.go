package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/scheduler/framework"
)

// BenchmarkPlacement places 10,000 pods on 5,000 nodes: the decision alone, with
// the snapshot kept, without API server and without binding. "alike" pods come
// from one template; "affinity" ones also require a label that most nodes have;
// of "distinct" ones no two are alike, so nothing is shared; "unsigned" has a
// score plugin that is no Signer in the profile.
func BenchmarkPlacement(b *testing.B) {
	const nodes, pods = 5000, 10000
	affinity := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a", "b", "c"}}}}},
	}}}
	for _, bench := range []struct {
		name   string
		pods   int
		extra  []framework.Weighted
		change func(i int, spec *corev1.PodSpec)
	}{
		{"alike", pods, nil, func(int, *corev1.PodSpec) {}},
		{"affinity", pods, nil, func(_ int, s *corev1.PodSpec) { s.Affinity = affinity }},
		{"distinct", 500, nil, func(i int, s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(100+i), resource.DecimalSI)
		}},
		{"unsigned", 500, []framework.Weighted{{Plugin: unsigned{}}}, func(int, *corev1.PodSpec) {}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			infos := make([]*framework.PodInfo, bench.pods)
			for i := range infos {
				spec := corev1.PodSpec{Containers: []corev1.Container{{Image: "app:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU:    resource.MustParse("100m"),
					corev1.ResourceMemory: resource.MustParse("128Mi"),
				}}}}}
				bench.change(i, &spec)
				infos[i] = framework.NewPodInfo(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i))}, Spec: spec})
			}
			p := defaultProfile(b, bench.extra...)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				snapshot := framework.NewSnapshot()
				for i := range nodes {
					snapshot.SetNode(benchNode(i))
				}
				shared := newSharedEvaluations(p)
				r := rand.New(rand.NewPCG(1, 1))
				b.StartTimer()
				for _, pod := range infos {
					e, err := shared.of(snapshot, pod)
					if err != nil || e.feasible == 0 {
						b.Fatal("no node", err)
					}
					snapshot.AddPod(pod, e.nodes[e.choose(r)].Name())
				}
			}
			b.ReportMetric(float64(b.N*bench.pods)/b.Elapsed().Seconds(), "pods/s")
		})
	}
}

func benchNode(i int) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("node-", i), UID: types.UID(fmt.Sprint(i)), Labels: map[string]string{"zone": string(rune('a' + i%4))}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("4"),
			corev1.ResourceMemory: resource.MustParse("32Gi"),
			corev1.ResourcePods:   resource.MustParse("110"),
		}},
	}
}

// unsigned is a score plugin as one from outside may be.
type unsigned struct{}

func (unsigned) Name() string { return "unsigned" }

func (unsigned) Score(_ *framework.Cycle, n *framework.NodeInfo) (int64, *framework.Status) {
	return int64(len(n.Pods) % 10), nil
}

// BenchmarkLoop takes 10,000 pods through the whole loop on 5,000 nodes: queue,
// placement, hand-over to the binders, and the news that they are bound. The API
// server is left out: a binding is a function call.
func BenchmarkLoop(b *testing.B) {
	const nodes, pods = 5000, 10000
	for range b.N {
		b.StopTimer()
		var l *loop
		left := make(chan struct{}, pods)
		s, err := New(Config{
			Client: fake.NewClientset(),
			Rand:   rand.NewPCG(1, 1),
			Bind: func(_ context.Context, bindings []*corev1.Binding) []error {
				for _, x := range bindings {
					p := benchPod(x.Name)
					p.Spec.NodeName = x.Target.Name
					l.inbox.put(podMessage{pod: p, info: framework.NewPodInfo(p)})
					left <- struct{}{}
				}
				return make([]error, len(bindings))
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		l = newLoop(s, eventrecorder.New(s.config.Client, "default-scheduler", ""))
		for i := range nodes {
			l.inbox.put(nodeMessage{node: benchNode(i)})
		}
		waiting := make([]*corev1.Pod, pods)
		for i := range waiting {
			waiting[i] = benchPod(fmt.Sprint("pod-", i))
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		l.binder.start(ctx, &wg, s.config.BindWorkers)
		b.StartTimer()
		wg.Go(func() { l.run(ctx) })
		for _, p := range waiting {
			l.inbox.put(podMessage{pod: p, info: framework.NewPodInfo(p)})
		}
		for range pods {
			<-left
		}
		b.StopTimer()
		cancel()
		wg.Wait()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*pods)/b.Elapsed().Seconds(), "pods/s")
}

func benchPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "app:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("100m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		}}}}},
	}
}
