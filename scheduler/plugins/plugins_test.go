package plugins_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins"
	"github.com/strake-io/strake/scheduler/plugins/imagelocality"
	"github.com/strake-io/strake/scheduler/plugins/nodeaffinity"
	"github.com/strake-io/strake/scheduler/plugins/nodename"
	"github.com/strake-io/strake/scheduler/plugins/nodeports"
	"github.com/strake-io/strake/scheduler/plugins/noderesources"
	"github.com/strake-io/strake/scheduler/plugins/nodeunschedulable"
	"github.com/strake-io/strake/scheduler/plugins/prioritysort"
	"github.com/strake-io/strake/scheduler/plugins/schedulinggates"
	"github.com/strake-io/strake/scheduler/plugins/tainttoleration"
)

func makeNode(name, cpu, memory string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourcePods: resource.MustParse("2"),
		}},
	}
	for _, f := range change {
		f(n)
	}
	return n
}

func makePod(name string, requests map[corev1.ResourceName]string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "app"}}}}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{}
	for k, v := range requests {
		p.Spec.Containers[0].Resources.Requests[k] = resource.MustParse(v)
	}
	for _, f := range change {
		f(p)
	}
	return p
}

type r = map[corev1.ResourceName]string

func hostPort(port int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: port}} }
}

func tolerate(t corev1.Toleration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, t) }
}

func tainted(effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "team", Value: "a", Effect: effect})
	}
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

func require(terms ...corev1.NodeSelectorTerm) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
	}
}

func TestFilters(t *testing.T) {
	const (
		no    = framework.Unschedulable
		never = framework.UnschedulableAndUnresolvable
	)
	named := func(names ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: names}}}
	}
	for _, test := range []struct {
		name    string
		plugin  framework.FilterPlugin
		pod     *corev1.Pod
		node    *corev1.Node
		on      []*corev1.Pod
		code    framework.Code
		reasons []string
	}{
		{"fits exactly", noderesources.NewFit(), makePod("p", r{"cpu": "1", "memory": "1Gi"}), makeNode("n", "2", "2Gi"), []*corev1.Pod{makePod("o", r{"cpu": "1", "memory": "1Gi"})}, framework.Success, nil},
		{"too little left", noderesources.NewFit(), makePod("p", r{"cpu": "1001m", "memory": "1Gi"}), makeNode("n", "2", "2Gi"), []*corev1.Pod{makePod("o", r{"cpu": "1"})}, no, []string{"Insufficient cpu"}},
		{"too small a node", noderesources.NewFit(), makePod("p", r{"cpu": "1", "memory": "3Gi"}), makeNode("n", "2", "2Gi"), nil, never, []string{"Insufficient memory"}},
		{"everything short", noderesources.NewFit(), makePod("p", r{"cpu": "3", "memory": "3Gi", "ephemeral-storage": "1", "example.com/b": "1", "example.com/a": "1"}), makeNode("n", "2", "2Gi"),
			[]*corev1.Pod{makePod("o", nil), makePod("q", nil)}, never,
			[]string{"Too many pods", "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Insufficient example.com/a", "Insufficient example.com/b"}},
		{"no request needs no room", noderesources.NewFit(), makePod("p", nil), makeNode("n", "1", "1Gi"), []*corev1.Pod{makePod("o", r{"cpu": "4"})}, framework.Success, nil},
		{"too many pods", noderesources.NewFit(), makePod("p", nil), makeNode("n", "1", "1Gi"), []*corev1.Pod{makePod("o", nil), makePod("q", nil)}, no, []string{"Too many pods"}},

		{"another port", nodeports.New(), makePod("p", nil, hostPort(80)), makeNode("n", "1", "1Gi"), []*corev1.Pod{makePod("o", nil, hostPort(81))}, framework.Success, nil},
		{"port taken", nodeports.New(), makePod("p", nil, hostPort(80)), makeNode("n", "1", "1Gi"), []*corev1.Pod{makePod("o", nil, hostPort(80))}, no, []string{nodeports.ErrReason}},

		{"any node", nodename.New(), makePod("p", nil), makeNode("n", "1", "1Gi"), nil, framework.Success, nil},
		{"another node", nodename.New(), makePod("p", nil, func(p *corev1.Pod) { p.Spec.NodeName = "m" }), makeNode("n", "1", "1Gi"), nil, never, []string{nodename.ErrReason}},

		{"cordoned", nodeunschedulable.New(), makePod("p", nil), makeNode("n", "1", "1Gi", cordoned), nil, never, []string{nodeunschedulable.ErrReason}},
		{"cordon tolerated", nodeunschedulable.New(), makePod("p", nil, tolerate(corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists})), makeNode("n", "1", "1Gi", cordoned), nil, framework.Success, nil},

		{"NoSchedule", tainttoleration.New(), makePod("p", nil), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectNoSchedule)), nil, never, []string{tainttoleration.ErrReason}},
		{"NoExecute", tainttoleration.New(), makePod("p", nil), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectNoExecute)), nil, never, []string{tainttoleration.ErrReason}},
		{"PreferNoSchedule", tainttoleration.New(), makePod("p", nil), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectPreferNoSchedule)), nil, framework.Success, nil},
		{"tolerated by value", tainttoleration.New(), makePod("p", nil, tolerate(corev1.Toleration{Key: "team", Value: "a"})), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectNoSchedule)), nil, framework.Success, nil},
		{"another value", tainttoleration.New(), makePod("p", nil, tolerate(corev1.Toleration{Key: "team", Value: "b"})), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectNoSchedule)), nil, never, []string{tainttoleration.ErrReason}},
		{"another effect", tainttoleration.New(), makePod("p", nil, tolerate(corev1.Toleration{Key: "team", Value: "a", Effect: corev1.TaintEffectNoExecute})), makeNode("n", "1", "1Gi", tainted(corev1.TaintEffectNoSchedule)), nil, never, []string{tainttoleration.ErrReason}},

		{"selector matches", nodeaffinity.New(), makePod("p", nil, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }), makeNode("n", "1", "1Gi", func(n *corev1.Node) { n.Labels["disk"] = "ssd" }), nil, framework.Success, nil},
		{"selector does not", nodeaffinity.New(), makePod("p", nil, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }), makeNode("n", "1", "1Gi"), nil, never, []string{nodeaffinity.ErrReason}},
		{"one of the terms", nodeaffinity.New(), makePod("p", nil, require(named("m"), named("n"))), makeNode("n", "1", "1Gi"), nil, framework.Success, nil},
		{"no term at all", nodeaffinity.New(), makePod("p", nil, require()), makeNode("n", "1", "1Gi"), nil, never, []string{nodeaffinity.ErrReason}},
	} {
		t.Run(test.plugin.Name()+"/"+test.name, func(t *testing.T) {
			c := &framework.Cycle{Pod: framework.NewPodInfo(test.pod)}
			if x, ok := test.plugin.(framework.PreFilterPlugin); ok {
				if _, s := x.PreFilter(c); s.IsSkip() {
					return
				}
			}
			s := test.plugin.Filter(c, framework.NewNodeInfo(test.node, test.on...))
			if s == nil {
				s = &framework.Status{}
			}
			if s.Code != test.code {
				t.Errorf("code %v, want %v", s.Code, test.code)
			}
			if diff := cmp.Diff(test.reasons, s.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScores(t *testing.T) {
	images := func(size int64) func(*corev1.Node) {
		return func(n *corev1.Node) {
			n.Status.Images = []corev1.ContainerImage{{Names: []string{"app:latest"}, SizeBytes: size}}
		}
	}
	zone := func(v string) func(*corev1.Node) { return func(n *corev1.Node) { n.Labels["zone"] = v } }
	prefer := func(p *corev1.Pod) {
		term := func(w int32, v string) corev1.PreferredSchedulingTerm {
			return corev1.PreferredSchedulingTerm{Weight: w, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{v}}}}}
		}
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{term(10, "a"), term(5, "b")}}}
	}
	for _, test := range []struct {
		name   string
		plugin framework.ScorePlugin
		pod    *corev1.Pod
		nodes  []*corev1.Node
		want   []int64 // nil: skipped
	}{
		{"least allocated", noderesources.NewFit(), makePod("p", r{"cpu": "1", "memory": "1Gi"}), []*corev1.Node{makeNode("a", "2", "2Gi"), makeNode("b", "4", "8Gi"), makeNode("c", "500m", "4Gi")}, []int64{50, 81, 37}},
		{"no request counts a little", noderesources.NewFit(), makePod("p", nil), []*corev1.Node{makeNode("a", "1", "1000Mi")}, []int64{85}},
		{"balanced", noderesources.NewBalanced(), makePod("p", r{"cpu": "1", "memory": "1Gi"}), []*corev1.Node{makeNode("a", "2", "2Gi"), makeNode("b", "2", "4Gi"), makeNode("c", "1", "100Gi")}, []int64{100, 87, 50}},
		{"balanced, no request", noderesources.NewBalanced(), makePod("p", nil), []*corev1.Node{makeNode("a", "2", "2Gi")}, nil},
		{"taints", tainttoleration.New(), makePod("p", nil), []*corev1.Node{
			makeNode("a", "1", "1Gi"), makeNode("b", "1", "1Gi", tainted(corev1.TaintEffectPreferNoSchedule)),
			makeNode("c", "1", "1Gi", tainted(corev1.TaintEffectPreferNoSchedule), tainted(corev1.TaintEffectPreferNoSchedule))}, []int64{100, 50, 0}},
		{"no taints", tainttoleration.New(), makePod("p", nil), []*corev1.Node{makeNode("a", "1", "1Gi")}, nil},
		{"affinity", nodeaffinity.New(), makePod("p", nil, prefer), []*corev1.Node{makeNode("a", "1", "1Gi", zone("a")), makeNode("b", "1", "1Gi", zone("b")), makeNode("c", "1", "1Gi")}, []int64{100, 50, 0}},
		{"no affinity", nodeaffinity.New(), makePod("p", nil), []*corev1.Node{makeNode("a", "1", "1Gi")}, nil},
		// 600 MiB on one of two nodes count half: (300-23)/(1000-23).
		{"images", imagelocality.New(), makePod("p", nil), []*corev1.Node{makeNode("a", "1", "1Gi", images(600<<20)), makeNode("b", "1", "1Gi")}, []int64{28, 0}},
		{"images nowhere", imagelocality.New(), makePod("p", nil), []*corev1.Node{makeNode("a", "1", "1Gi")}, nil},
	} {
		t.Run(test.plugin.Name()+"/"+test.name, func(t *testing.T) {
			snapshot := framework.NewSnapshot()
			for _, n := range test.nodes {
				snapshot.SetNode(n)
			}
			c := &framework.Cycle{Pod: framework.NewPodInfo(test.pod), Snapshot: snapshot}
			if x, ok := test.plugin.(framework.PreScorePlugin); ok {
				if s := x.PreScore(c, snapshot.Nodes()); s.IsSkip() {
					if test.want != nil {
						t.Fatal("skipped")
					}
					return
				} else if !s.IsSuccess() {
					t.Fatal(s.Message())
				}
			}
			var scores []framework.NodeScore
			for _, n := range snapshot.Nodes() {
				score, s := test.plugin.Score(c, n)
				if !s.IsSuccess() {
					t.Fatal(s.Message())
				}
				scores = append(scores, framework.NodeScore{Node: n, Score: score})
			}
			if x, ok := test.plugin.(framework.NormalizeScorePlugin); ok {
				x.NormalizeScore(c, scores)
			}
			var got []int64
			for _, s := range scores {
				got = append(got, s.Score)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamedNodesAreTheOnlyOnesLookedAt(t *testing.T) {
	in := func(names ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: names}
	}
	for _, test := range []struct {
		name  string
		terms []corev1.NodeSelectorTerm
		want  []string // nil: all
		code  framework.Code
	}{
		{"one", []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{in("a")}}}, []string{"a"}, framework.Success},
		{"terms add up", []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{in("a")}}, {MatchFields: []corev1.NodeSelectorRequirement{in("b")}}}, []string{"a", "b"}, framework.Success},
		{"an open term", []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{in("a")}}, {}}, nil, framework.Success},
		{"a term that contradicts itself", []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{in("a"), in("b")}}}, nil, framework.UnschedulableAndUnresolvable},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &framework.Cycle{Pod: framework.NewPodInfo(makePod("p", nil, require(test.terms...)))}
			result, s := nodeaffinity.New().PreFilter(c)
			if s == nil {
				s = &framework.Status{}
			}
			if s.Code != test.code {
				t.Errorf("code %v, want %v", s.Code, test.code)
			}
			if (result == nil) != (test.want == nil) {
				t.Fatalf("result %v, want %v", result, test.want)
			}
			for _, n := range test.want {
				if _, ok := result.NodeNames[n]; !ok || len(result.NodeNames) != len(test.want) {
					t.Errorf("nodes %v, want %v", result.NodeNames, test.want)
				}
			}
		})
	}
}

func TestGates(t *testing.T) {
	p := makePod("p", nil)
	if s := schedulinggates.New().PreEnqueue(p); s != nil {
		t.Errorf("a pod without gates: %v", s.Message())
	}
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a"}, {Name: "b"}}
	if s := schedulinggates.New().PreEnqueue(p); !s.IsRejected() || s.Message() != "waiting for scheduling gates: [a b]" {
		t.Errorf("a pod with gates: %v", s)
	}
}

func TestDefaultWeights(t *testing.T) {
	got := map[string]int64{}
	for _, w := range plugins.Default() {
		if _, ok := w.Plugin.(framework.ScorePlugin); ok {
			got[w.Plugin.Name()] = w.Weight
		}
	}
	want := map[string]int64{"TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("weights (-want +got):\n%s", diff)
	}
	if prioritysort.New().Name() != "PrioritySort" {
		t.Error("the queue sort plugin lost its name")
	}
}
