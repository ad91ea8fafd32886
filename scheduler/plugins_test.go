package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/strake-io/strake/scheduler"
	"github.com/strake-io/strake/scheduler/framework"
)

// favourite is a score plugin from outside.
type favourite struct{ node string }

func (favourite) Name() string { return "Favourite" }

func (f favourite) Score(_ *framework.Cycle, n *framework.NodeInfo) (int64, *framework.Status) {
	if n.Name() == f.node {
		return framework.MaxNodeScore, nil
	}
	return 0, nil
}

func TestScorePluginFromOutside(t *testing.T) {
	objects := []runtime.Object{node("n1", "64", "64Gi"), node("n2", "4", "4Gi"), node("n3", "64", "64Gi")}
	config := scheduler.Config{ScorePlugins: []framework.Weighted{{Plugin: favourite{"n2"}, Weight: 100}}}
	inCluster(t, config, objects, func(c *testCluster) {
		for i := range 4 {
			c.create(pod(fmt.Sprint("p", i), "1", "1Gi"))
		}
		settle()
		for i := range 4 {
			if got := c.pod(fmt.Sprint("p", i)).Spec.NodeName; got != "n2" {
				t.Errorf("p%d is on %q, want n2", i, got)
			}
		}
	})
}

// outOfRange breaks the contract of scores.
type outOfRange struct{}

func (outOfRange) Name() string { return "Broken" }

func (outOfRange) Score(*framework.Cycle, *framework.NodeInfo) (int64, *framework.Status) {
	return 101, nil
}

func TestPluginThatBreaksItsContract(t *testing.T) {
	config := scheduler.Config{ScorePlugins: []framework.Weighted{{Plugin: outOfRange{}}}}
	inCluster(t, config, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		c.create(pod("p", "1", ""))
		settle()
		p := c.pod("p")
		if len(p.Status.Conditions) != 1 || p.Status.Conditions[0].Reason != "SchedulerError" || !strings.Contains(p.Status.Conditions[0].Message, `plugin "Broken" returns an invalid score 101`) {
			t.Errorf("conditions are %+v", p.Status.Conditions)
		}
	})
}

// recording implements the extension points of a placement and notes the calls.
type recording struct {
	mu     sync.Mutex
	calls  []string
	permit func(ctx context.Context) *framework.Status
	pre    *framework.Status
}

func (r *recording) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, s)
}

func (r *recording) Name() string { return "Recording" }
func (r *recording) Reserve(c *framework.Cycle, node string) *framework.Status {
	r.note("Reserve " + node)
	return nil
}
func (r *recording) Unreserve(c *framework.Cycle, node string) { r.note("Unreserve " + node) }
func (r *recording) Permit(ctx context.Context, c *framework.Cycle, node string) *framework.Status {
	r.note("Permit " + node)
	if r.permit != nil {
		return r.permit(ctx)
	}
	return nil
}
func (r *recording) PreBind(ctx context.Context, c *framework.Cycle, node string) *framework.Status {
	r.note("PreBind " + node)
	return r.pre
}
func (r *recording) PostBind(ctx context.Context, c *framework.Cycle, node string) {
	r.note("PostBind " + node)
}

func TestExtensionPointsOfAPlacement(t *testing.T) {
	for _, test := range []struct {
		name   string
		plugin *recording
		want   []string
		bound  bool
		event  string
	}{
		{"bound", &recording{}, []string{"Reserve n", "Permit n", "PreBind n", "PostBind n"}, true, "Normal Scheduled: "},
		{"not permitted", &recording{permit: func(context.Context) *framework.Status {
			return framework.NewStatus(framework.Unschedulable, "quota is used up")
		}}, []string{"Reserve n", "Permit n", "Unreserve n"}, false, "Warning FailedScheduling: 0/1 nodes are available: 1 quota is used up."},
		{"not prepared", &recording{pre: framework.AsStatus(errors.New("no disk"))},
			[]string{"Reserve n", "Permit n", "PreBind n", "Unreserve n"}, false, `Warning FailedScheduling: running PreBind plugin "Recording": no disk`},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := scheduler.Config{ScorePlugins: []framework.Weighted{{Plugin: test.plugin}}, InitialBackoff: time.Hour, MaxBackoff: time.Hour}
			inCluster(t, config, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
				c.create(pod("p", "1", ""))
				settle()
				test.plugin.mu.Lock()
				calls := append([]string(nil), test.plugin.calls[:min(len(test.plugin.calls), len(test.want))]...)
				test.plugin.mu.Unlock()
				if diff := cmp.Diff(test.want, calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				if got := c.pod("p").Spec.NodeName != ""; got != test.bound {
					t.Errorf("bound: %v, want %v", got, test.bound)
				}
				if e := c.events("p"); len(e) == 0 || !strings.HasPrefix(e[0], test.event) {
					t.Errorf("events %v, want %q", e, test.event)
				}
			})
		})
	}
}

func TestPermitHoldsAPodWhileOthersGoOn(t *testing.T) {
	var release chan struct{} // made in the bubble
	var held atomic.Int32
	plugin := &recording{permit: func(ctx context.Context) *framework.Status {
		if held.Add(1) > 1 {
			return nil
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return framework.AsStatus(ctx.Err())
		}
	}}
	config := scheduler.Config{ScorePlugins: []framework.Weighted{{Plugin: plugin}}}
	inCluster(t, config, []runtime.Object{node("n", "2", "1Gi")}, func(c *testCluster) {
		release = make(chan struct{})
		c.create(pod("first", "1", ""))
		settle()
		c.create(pod("second", "1", ""))
		settle()
		if a, b := c.pod("first").Spec.NodeName, c.pod("second").Spec.NodeName; a != "" || b != "n" {
			t.Errorf("first is on %q, second on %q; want only the second bound", a, b)
		}
		c.create(pod("third", "1", ""))
		settle()
		if got := c.pod("third").Spec.NodeName; got != "" {
			t.Errorf("third is on %q: the first must keep its place", got)
		}
		c.deletePod("first")
		after(2 * time.Second)
		if got := c.pod("third").Spec.NodeName; got != "n" {
			t.Errorf("third is on %q, want n", got)
		}
	})
}

func TestMessages(t *testing.T) {
	port := func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, Protocol: corev1.ProtocolTCP}}
	}
	few := func(n *corev1.Node) { n.Status.Allocatable[corev1.ResourcePods] = *resourceOne() }
	named := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}}},
			}}}
		}
	}
	never := corev1.PreemptNever
	for _, test := range []struct {
		name    string
		objects []runtime.Object
		pod     *corev1.Pod
		want    string
	}{
		{"taint and resources",
			[]runtime.Object{node("a", "1", "1Gi", taint("k", "v", corev1.TaintEffectNoSchedule)), node("b", "1", "1Gi"), node("c", "1", "1Gi")},
			pod("p", "2", "2Gi"),
			"0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."},
		{"full of pods of the same priority",
			[]runtime.Object{node("a", "1", "1Gi"), pod("t", "1", "", onNode("a")), node("b", "500m", "1Gi")},
			pod("p", "1", ""),
			"0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
		{"cordoned",
			[]runtime.Object{node("a", "1", "1Gi", func(n *corev1.Node) { n.Spec.Unschedulable = true })},
			pod("p", "1", ""),
			"0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{"selector",
			[]runtime.Object{node("a", "1", "1Gi")},
			pod("p", "1", "", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }),
			"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{"host port",
			[]runtime.Object{node("a", "4", "1Gi"), pod("t", "1", "", onNode("a"), port)},
			pod("p", "1", "", port),
			"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{"too many pods",
			[]runtime.Object{node("a", "4", "1Gi", few), pod("t", "1", "", onNode("a"))},
			pod("p", "1", ""),
			"0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{"a node by name that does not fit",
			[]runtime.Object{node("a", "1", "1Gi"), node("b", "1", "1Gi"), node("c", "1", "1Gi")},
			pod("p", "2", "", named("b")),
			"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."},
		{"never preempts",
			[]runtime.Object{node("a", "1", "1Gi")},
			pod("p", "2", "", func(p *corev1.Pod) { p.Spec.PreemptionPolicy = &never }),
			"0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."},
		{"victims, which are not evicted",
			[]runtime.Object{node("a", "1", "1Gi"), pod("t", "1", "", onNode("a"))},
			pod("p", "1", "", priority(10)),
			"0/1 nodes are available: 1 Insufficient cpu."},
		{"extended resource",
			[]runtime.Object{node("a", "1", "1Gi")},
			pod("p", "1", "", func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Requests["example.com/gpu"] = *resourceOne()
			}),
			"0/1 nodes are available: 1 Insufficient example.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
	} {
		t.Run(test.name, func(t *testing.T) {
			inCluster(t, scheduler.Config{}, test.objects, func(c *testCluster) {
				c.create(test.pod)
				settle()
				if diff := cmp.Diff([]string{"Warning FailedScheduling: " + test.want}, c.events("p")); diff != "" {
					t.Errorf("event (-want +got):\n%s", diff)
				}
				conditions := c.pod("p").Status.Conditions
				if len(conditions) != 1 || conditions[0].Message != test.want {
					t.Errorf("conditions are %+v", conditions)
				}
			})
		})
	}
}

func TestSeedRepeats(t *testing.T) {
	run := func(seed uint64) (bound []string) {
		var objects []runtime.Object
		for i := range 20 {
			objects = append(objects, node(fmt.Sprint("n", i), "4", "4Gi"))
		}
		inCluster(t, scheduler.Config{Rand: rand.NewPCG(seed, 0), BindWorkers: 1}, objects, func(c *testCluster) {
			for i := range 10 {
				c.create(pod(fmt.Sprintf("p%02d", i), "100m", "100Mi"))
				settle()
			}
			bound = c.placements()
		})
		return bound
	}
	first := run(1)
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Errorf("the same seed chose differently:\n%s", diff)
	}
	if cmp.Equal(first, run(2)) {
		t.Errorf("another seed chose the same nodes: %v", first)
	}
}

func TestDirectBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(node("n", "64", "64Gi"))
		for i := range 50 {
			if err := client.Tracker().Add(pod(fmt.Sprint("p", i), "100m", "")); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		bound, calls := 0, 0
		factory := informers.NewSharedInformerFactory(client, 0)
		registry := prometheus.NewRegistry()
		s, err := scheduler.New(scheduler.Config{
			Client: client, Informers: factory, Registerer: registry, BindWorkers: 2,
			Bind: func(_ context.Context, bindings []*corev1.Binding) []error {
				mu.Lock()
				defer mu.Unlock()
				bound += len(bindings)
				calls++
				return make([]error, len(bindings))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		factory.Start(ctx.Done())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		mu.Lock()
		if bound != 50 {
			t.Errorf("%d pods bound, want 50", bound)
		}
		t.Logf("50 pods in %d calls", calls)
		mu.Unlock()
		metrics, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range metrics {
			for _, m := range f.GetMetric() {
				if f.GetName() == "scheduler_schedule_attempts_total" {
					got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		if diff := cmp.Diff(map[string]float64{"default-scheduler scheduled": 50}, got); diff != "" {
			t.Errorf("scheduler_schedule_attempts_total (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		factory.Shutdown()
	})
}

func TestOneOfTwoLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(node("n", "64", "64Gi"))
		bound := map[string]int{}
		var mu sync.Mutex
		start := func(id string) (stop func()) {
			s, err := scheduler.New(scheduler.Config{
				Client: client, LeaderElection: &scheduler.LeaderElection{Identity: id},
				Bind: func(_ context.Context, bindings []*corev1.Binding) []error {
					mu.Lock()
					defer mu.Unlock()
					bound[id] += len(bindings)
					return make([]error, len(bindings))
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
		stopA := start("a")
		synctest.Wait()
		stopB := start("b")
		if err := client.Tracker().Add(pod("p", "1", "")); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		mu.Lock()
		if diff := cmp.Diff(map[string]int{"a": 1}, bound); diff != "" {
			t.Errorf("bound (-want +got):\n%s", diff)
		}
		mu.Unlock()
		stopA()
		after(time.Minute)
		if err := client.Tracker().Add(pod("q", "1", "")); err != nil {
			t.Fatal(err)
		}
		settle()
		mu.Lock()
		if bound["b"] == 0 {
			t.Error("b did not take over")
		}
		mu.Unlock()
		stopB()
	})
}

func TestConfigIsChecked(t *testing.T) {
	client := fake.NewClientset()
	for _, test := range []struct {
		name   string
		config scheduler.Config
		want   string
	}{
		{"no client", scheduler.Config{}, "Client is required"},
		{"back-off", scheduler.Config{Client: client, InitialBackoff: time.Minute}, "MaxBackoff 10s is less than InitialBackoff 1m0s"},
		{"twice", scheduler.Config{Client: client, ScorePlugins: []framework.Weighted{{Plugin: favourite{}}, {Plugin: favourite{}}}}, `plugin "Favourite" is twice`},
		{"weight", scheduler.Config{Client: client, ScorePlugins: []framework.Weighted{{Plugin: favourite{}, Weight: -1}}}, "negative weight"},
		{"nil plugin", scheduler.Config{Client: client, ScorePlugins: []framework.Weighted{{}}}, "is nil"},
		{"identity", scheduler.Config{Client: client, LeaderElection: &scheduler.LeaderElection{}}, "Identity is required"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := scheduler.New(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
