package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins"
	"github.com/strake-io/strake/scheduler/plugins/defaultbinder"
)

// model is the scheduler as one would explain it: for each pod, look at every
// node and every pod afresh. It shares no code with the plugins.
type model struct {
	nodes map[string]*corev1.Node
	pods  map[string][]*corev1.Pod // by node
}

func (m *model) scores(pod *corev1.Pod) map[string]int64 {
	var feasible []*corev1.Node
	for _, n := range m.nodes {
		if m.feasible(pod, n) {
			feasible = append(feasible, n)
		}
	}
	scores := make(map[string]int64)
	preferNo, preferred := make(map[string]int64), make(map[string]int64)
	var maxPreferNo, maxPreferred int64
	for _, n := range feasible {
		for _, t := range n.Spec.Taints {
			if t.Effect == corev1.TaintEffectPreferNoSchedule && !modelTolerates(pod, t) {
				preferNo[n.Name]++
			}
		}
		if a := pod.Spec.Affinity; a != nil {
			for _, t := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
				if modelMatches(t.Preference, n) {
					preferred[n.Name] += int64(t.Weight)
				}
			}
		}
		maxPreferNo, maxPreferred = max(maxPreferNo, preferNo[n.Name]), max(maxPreferred, preferred[n.Name])
	}
	anyPreferNo := false
	for _, n := range m.nodes {
		anyPreferNo = anyPreferNo || slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectPreferNoSchedule })
	}
	for _, n := range feasible {
		var s int64
		if anyPreferNo {
			part := int64(100)
			if maxPreferNo > 0 {
				part -= 100 * preferNo[n.Name] / maxPreferNo
			}
			s += 3 * part
		}
		if maxPreferred > 0 {
			s += 2 * (100 * preferred[n.Name] / maxPreferred)
		}
		s += m.leastAllocated(pod, n) + m.balanced(pod, n) + m.images(pod, n)
		scores[n.Name] = s
	}
	return scores
}

func modelTolerates(pod *corev1.Pod, t corev1.Taint) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(o corev1.Toleration) bool {
		return (o.Effect == "" || o.Effect == t.Effect) && (o.Key == "" || o.Key == t.Key) &&
			(o.Operator == corev1.TolerationOpExists || o.Value == t.Value)
	})
}

func modelMatches(term corev1.NodeSelectorTerm, n *corev1.Node) bool {
	for _, e := range term.MatchExpressions {
		v, ok := n.Labels[e.Key]
		switch e.Operator {
		case corev1.NodeSelectorOpIn:
			if !ok || !slices.Contains(e.Values, v) {
				return false
			}
		case corev1.NodeSelectorOpNotIn:
			if ok && slices.Contains(e.Values, v) {
				return false
			}
		case corev1.NodeSelectorOpExists:
			if !ok {
				return false
			}
		}
	}
	return len(term.MatchExpressions) > 0
}

func modelRequest(pod *corev1.Pod, name corev1.ResourceName, missing int64) int64 {
	q, ok := pod.Spec.Containers[0].Resources.Requests[name]
	if !ok {
		return missing
	}
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func (m *model) sum(n *corev1.Node, name corev1.ResourceName, missing int64) (sum int64) {
	for _, p := range m.pods[n.Name] {
		sum += modelRequest(p, name, missing)
	}
	return sum
}

func allocatable(n *corev1.Node, name corev1.ResourceName) int64 {
	q := n.Status.Allocatable[name]
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func (m *model) feasible(pod *corev1.Pod, n *corev1.Node) bool {
	if n.Spec.Unschedulable {
		return false // no pod of the test tolerates that
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !modelTolerates(pod, t) {
			return false
		}
	}
	for k, v := range pod.Spec.NodeSelector {
		if n.Labels[k] != v {
			return false
		}
	}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		if !slices.ContainsFunc(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool { return modelMatches(t, n) }) {
			return false
		}
	}
	for _, p := range m.pods[n.Name] {
		for _, used := range p.Spec.Containers[0].Ports {
			for _, want := range pod.Spec.Containers[0].Ports {
				if used.HostPort != 0 && used.HostPort == want.HostPort && used.Protocol == want.Protocol && (used.HostIP == want.HostIP || used.HostIP == "" || want.HostIP == "") {
					return false
				}
			}
		}
	}
	for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, "example.com/gpu"} {
		if want := modelRequest(pod, r, 0); want > 0 && m.sum(n, r, 0)+want > allocatable(n, r) {
			return false
		}
	}
	return int64(len(m.pods[n.Name])) < allocatable(n, corev1.ResourcePods)
}

func (m *model) leastAllocated(pod *corev1.Pod, n *corev1.Node) int64 {
	part := func(r corev1.ResourceName, missing int64) int64 {
		a, taken := allocatable(n, r), m.sum(n, r, missing)+modelRequest(pod, r, missing)
		if taken > a {
			return 0
		}
		return (a - taken) * 100 / a
	}
	return (part(corev1.ResourceCPU, 100) + part(corev1.ResourceMemory, 200<<20)) / 2
}

func (m *model) balanced(pod *corev1.Pod, n *corev1.Node) int64 {
	if modelRequest(pod, corev1.ResourceCPU, 0) == 0 && modelRequest(pod, corev1.ResourceMemory, 0) == 0 {
		return 0
	}
	part := func(r corev1.ResourceName) float64 {
		return math.Min(1, float64(m.sum(n, r, 0)+modelRequest(pod, r, 0))/float64(allocatable(n, r)))
	}
	return int64((1 - math.Abs((part(corev1.ResourceCPU)-part(corev1.ResourceMemory))/2)) * 100)
}

func (m *model) images(pod *corev1.Pod, n *corev1.Node) int64 {
	has := func(n *corev1.Node) (int64, bool) {
		for _, im := range n.Status.Images {
			if slices.Contains(im.Names, pod.Spec.Containers[0].Image) {
				return im.SizeBytes, true
			}
		}
		return 0, false
	}
	with := 0
	for _, o := range m.nodes {
		if _, ok := has(o); ok {
			with++
		}
	}
	var sum int64
	if size, ok := has(n); ok {
		sum = int64(float64(size) * float64(with) / float64(len(m.nodes)))
	}
	const low, high = 23 << 20, 1000 << 20
	return 100 * (min(max(sum, low), high) - low) / (high - low)
}

// Random clusters and pods, small enough that everything happens.

func randomNode(r *rand.Rand, name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{}}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(1000*(1+r.IntN(4))), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(1+r.IntN(8))<<30, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(2+r.IntN(6)), resource.DecimalSI),
	}
	if r.IntN(3) == 0 {
		n.Status.Allocatable["example.com/gpu"] = *resource.NewQuantity(2, resource.DecimalSI)
	}
	if r.IntN(2) == 0 {
		n.Labels["zone"] = string(rune('a' + r.IntN(3)))
	}
	if r.IntN(3) == 0 {
		n.Labels["disk"] = "ssd"
	}
	for _, e := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute} {
		if r.IntN(6) == 0 {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "k" + string(rune('0'+r.IntN(2))), Value: "v", Effect: e})
		}
	}
	n.Spec.Unschedulable = r.IntN(10) == 0
	for i := range 2 {
		if r.IntN(3) == 0 {
			n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("image:%d", i)}, SizeBytes: int64(1+r.IntN(2000)) << 20})
		}
	}
	return n
}

func randomTemplate(r *rand.Rand) corev1.PodSpec {
	c := corev1.Container{Name: "c", Image: fmt.Sprintf("image:%d", r.IntN(3)), Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{}}}
	if r.IntN(4) > 0 {
		c.Resources.Requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(r.IntN(8))*125, resource.DecimalSI)
	}
	if r.IntN(4) > 0 {
		c.Resources.Requests[corev1.ResourceMemory] = *resource.NewQuantity(int64(r.IntN(8))<<27, resource.BinarySI)
	}
	if r.IntN(6) == 0 {
		c.Resources.Requests["example.com/gpu"] = *resource.NewQuantity(1, resource.DecimalSI)
	}
	if r.IntN(5) == 0 {
		p := corev1.ContainerPort{HostPort: int32(80 + r.IntN(2)), Protocol: corev1.ProtocolTCP}
		if r.IntN(2) == 0 {
			p.HostIP = "127.0.0.1"
		}
		c.Ports = append(c.Ports, p)
	}
	spec := corev1.PodSpec{Containers: []corev1.Container{c}}
	if r.IntN(4) == 0 {
		spec.NodeSelector = map[string]string{"disk": "ssd"}
	}
	if r.IntN(2) == 0 {
		t := corev1.Toleration{Key: "k" + string(rune('0'+r.IntN(2))), Operator: corev1.TolerationOpExists}
		if r.IntN(2) == 0 {
			t = corev1.Toleration{Key: t.Key, Value: "v", Effect: corev1.TaintEffectNoSchedule}
		}
		spec.Tolerations = append(spec.Tolerations, t)
	}
	if r.IntN(3) == 0 {
		spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
		term := func() corev1.NodeSelectorTerm {
			op := []corev1.NodeSelectorOperator{corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists}[r.IntN(3)]
			e := corev1.NodeSelectorRequirement{Key: "zone", Operator: op}
			if op != corev1.NodeSelectorOpExists {
				e.Values = []string{string(rune('a' + r.IntN(3)))}
			}
			return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{e}}
		}
		if r.IntN(2) == 0 {
			spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term(), term()}}
		}
		for range r.IntN(3) {
			spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = append(spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution,
				corev1.PreferredSchedulingTerm{Weight: int32(1 + r.IntN(10)), Preference: term()})
		}
	}
	return spec
}

func defaultProfile(t testing.TB, extra ...framework.Weighted) *profile {
	t.Helper()
	p, err := newProfile("default-scheduler", append(plugins.Default(), extra...), defaultbinder.NewBatch(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAgainstModel lets clusters live for a while, and compares what the shared,
// repaired evaluations say with the model at every step.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			p := defaultProfile(t)
			m := &model{nodes: map[string]*corev1.Node{}, pods: map[string][]*corev1.Pod{}}
			snapshot := framework.NewSnapshot()
			shared := newSharedEvaluations(p)
			setNode := func(name string) {
				n := randomNode(r, name)
				m.nodes[name] = n
				snapshot.SetNode(n)
			}
			for i := range 3 + r.IntN(10) {
				setNode(fmt.Sprint("n", i))
			}
			templates := make([]corev1.PodSpec, 4)
			for i := range templates {
				templates[i] = randomTemplate(r)
			}
			for step := range 150 {
				pod := &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", step), UID: types.UID(fmt.Sprint("p", step))},
					Spec:       *templates[r.IntN(len(templates))].DeepCopy(),
				}
				info := framework.NewPodInfo(pod)
				e, err := shared.of(snapshot, info)
				if err != nil {
					t.Fatal(err)
				}
				want := m.scores(pod)
				if diff := cmp.Diff(want, totals(e)); diff != "" {
					t.Fatalf("step %d: feasible nodes and scores (-model +got):\n%s", step, diff)
				}
				if diff := cmp.Diff(best(want), topNames(e)); diff != "" {
					t.Fatalf("step %d: best nodes (-model +got):\n%s", step, diff)
				}
				switch k := r.IntN(12); {
				case k < 8 && len(want) > 0:
					name := e.nodes[e.choose(r)].Name()
					snapshot.AddPod(info, name)
					m.pods[name] = append(m.pods[name], pod)
				case k == 8:
					setNode(fmt.Sprint("n", r.IntN(14)))
				case k == 9 && len(m.nodes) > 1:
					name := e.nodes[r.IntN(len(e.nodes))].Name()
					delete(m.nodes, name)
					snapshot.RemoveNode(name)
				default:
					name := fmt.Sprint("n", r.IntN(14))
					if pods := m.pods[name]; len(pods) > 0 {
						snapshot.RemovePod(pods[0].UID)
						m.pods[name] = pods[1:]
					}
				}
			}
		})
	}
}

func totals(e *evaluation) map[string]int64 {
	got := make(map[string]int64)
	for i, n := range e.nodes {
		if e.rejected[i].status == nil {
			got[n.Name()] = e.rank.at[i].in.score
		}
	}
	return got
}

func topNames(e *evaluation) []string {
	var names []string
	for _, i := range e.rank.top() {
		names = append(names, e.nodes[i].Name())
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

func best(scores map[string]int64) []string {
	var names []string
	top := int64(-1)
	for n, s := range scores {
		switch {
		case s > top:
			top, names = s, []string{n}
		case s == top:
			names = append(names, n)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

func TestTiesAreDrawnEvenly(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	p := defaultProfile(t)
	snapshot := framework.NewSnapshot()
	for i := range 10 {
		n := randomNode(rand.New(rand.NewPCG(3, 3)), fmt.Sprint("n", i))
		n.Spec = corev1.NodeSpec{}
		snapshot.SetNode(n)
	}
	shared := newSharedEvaluations(p)
	pod := framework.NewPodInfo(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}})
	const draws = 20000
	count := make(map[string]int)
	for range draws {
		e, err := shared.of(snapshot, pod)
		if err != nil {
			t.Fatal(err)
		}
		name := e.nodes[e.choose(r)].Name()
		count[name]++
		// Moving through the ranking must not favour anyone.
		snapshot.AddPod(pod, name)
		if _, err := shared.of(snapshot, pod); err != nil {
			t.Fatal(err)
		}
		snapshot.RemovePod("p")
	}
	var chi float64
	for i := range 10 {
		d := float64(count[fmt.Sprint("n", i)]) - draws/10
		chi += d * d / (draws / 10)
	}
	if chi > 33.7 { // 9 degrees of freedom, one in ten thousand
		t.Errorf("draws are uneven (chi squared %.1f): %v", chi, count)
	}
}
