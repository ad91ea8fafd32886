package scheduler_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/scheduler"
)

func TestPodsAreBoundAndSpread(t *testing.T) {
	objects := []runtime.Object{node("n1", "4", "8Gi"), node("n2", "4", "8Gi"), node("n3", "4", "8Gi")}
	inCluster(t, scheduler.Config{}, objects, func(c *testCluster) {
		for i := range 9 {
			c.create(pod(fmt.Sprintf("p%d", i), "500m", "512Mi"))
		}
		settle()
		per := map[string]int{}
		for i := range 9 {
			per[c.pod(fmt.Sprintf("p%d", i)).Spec.NodeName]++
		}
		if diff := cmp.Diff(map[string]int{"n1": 3, "n2": 3, "n3": 3}, per); diff != "" {
			t.Errorf("pods per node (-want +got):\n%s", diff)
		}
		want := []string{"Normal Scheduled: Successfully assigned default/p0 to " + c.pod("p0").Spec.NodeName}
		if diff := cmp.Diff(want, c.events("p0")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestUnschedulablePodIsToldWhyAndRunsWhenItFits(t *testing.T) {
	objects := []runtime.Object{node("small", "1", "2Gi")}
	inCluster(t, scheduler.Config{}, objects, func(c *testCluster) {
		c.create(pod("big", "3", "1Gi"))
		settle()
		p := c.pod("big")
		const message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
		if len(p.Status.Conditions) != 1 {
			t.Fatalf("conditions are %v", p.Status.Conditions)
		}
		cond := p.Status.Conditions[0]
		if cond.Type != corev1.PodScheduled || cond.Status != corev1.ConditionFalse || cond.Reason != "Unschedulable" || cond.Message != message || cond.ObservedGeneration != 1 {
			t.Errorf("condition is %+v", cond)
		}
		if diff := cmp.Diff([]string{"Warning FailedScheduling: " + message}, c.events("big")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		c.create(node("large", "8", "16Gi"))
		after(2 * time.Second)
		if got := c.pod("big").Spec.NodeName; got != "large" {
			t.Errorf("pod is on %q, want large", got)
		}
	})
}

func TestNoNodes(t *testing.T) {
	inCluster(t, scheduler.Config{}, nil, func(c *testCluster) {
		c.create(pod("p", "1", "1Gi"))
		settle()
		if diff := cmp.Diff([]string{"Warning FailedScheduling: no nodes available to schedule pods"}, c.events("p")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		c.create(node("n", "4", "4Gi"))
		settle()
		if got := c.pod("p").Spec.NodeName; got != "n" {
			t.Errorf("pod is on %q, want n", got)
		}
	})
}

func TestOnlyEventsThatMayHelpWakeAPod(t *testing.T) {
	objects := []runtime.Object{
		node("n1", "1", "4Gi"), pod("tenant", "800m", "1Gi", onNode("n1")),
		node("n2", "8", "8Gi", taint("team", "a", corev1.TaintEffectNoSchedule)),
	}
	inCluster(t, scheduler.Config{}, objects, func(c *testCluster) {
		c.create(pod("p", "900m", "1Gi"))
		settle()
		// A label, a heartbeat, another taint, a small node: none of them can help.
		n := node("n1", "1", "4Gi", label("zone", "x"))
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		c.update(n)
		c.update(node("n2", "8", "8Gi", taint("team", "b", corev1.TaintEffectNoSchedule)))
		c.create(node("n3", "500m", "1Gi"))
		after(time.Minute)
		if c.requests() != 0 || len(c.events("p")) != 1 {
			t.Errorf("the pod was tried again: %v", c.events("p"))
		}
		c.deletePod("tenant")
		settle()
		if got := c.pod("p").Spec.NodeName; got != "n1" {
			t.Errorf("pod is on %q, want n1", got)
		}
	})
}

func TestUnschedulablePodIsTriedAgainAfterLong(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		c.create(pod("p", "2", ""))
		after(5*time.Minute - time.Second)
		before := len(seriesCounts(c, "p"))
		after(time.Minute)
		got := seriesCounts(c, "p")
		if before != 1 || len(got) != 1 || got[0] != 2 {
			t.Errorf("event series %v, want one event seen twice", got)
		}
	})
}

func TestGatedPod(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		p := pod("p", "100m", "")
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}}
		c.create(p)
		after(10 * time.Minute)
		if got := c.pod("p"); got.Spec.NodeName != "" || len(c.events("p")) != 0 {
			t.Fatalf("gated pod is on %q, events %v", got.Spec.NodeName, c.events("p"))
		}
		p = p.DeepCopy()
		p.Spec.SchedulingGates = nil
		p.Generation = 2
		c.update(p)
		settle()
		if got := c.pod("p").Spec.NodeName; got != "n" {
			t.Errorf("pod is on %q, want n", got)
		}
	})
}

func TestUpdateOfPodMakesItFit(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi", taint("k", "v", corev1.TaintEffectNoSchedule))}, func(c *testCluster) {
		p := pod("p", "100m", "")
		c.create(p)
		settle()
		p = c.pod("p").DeepCopy()
		p.Generation = 2
		p.Spec.Tolerations = []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}}
		c.update(p)
		after(2 * time.Second)
		if got := c.pod("p").Spec.NodeName; got != "n" {
			t.Errorf("pod is on %q, want n", got)
		}
	})
}

func TestHigherPriorityGoesFirst(t *testing.T) {
	inCluster(t, scheduler.Config{BindWorkers: 1}, nil, func(c *testCluster) {
		for i, v := range []int32{0, 5, 10, 1} {
			c.create(pod(fmt.Sprintf("p%d", i), "1", "", priority(v)))
		}
		settle()
		c.create(node("n", "2", "1Gi"))
		settle()
		if diff := cmp.Diff([]string{"p2 n", "p1 n"}, c.placements()); diff != "" {
			t.Errorf("bound (-want +got):\n%s", diff)
		}
	})
}

func TestOtherSchedulersPodsAndEndedPods(t *testing.T) {
	ended := pod("ended", "1", "", onNode("n"))
	ended.Status.Phase = corev1.PodSucceeded
	foreign := pod("foreign", "100m", "")
	foreign.Spec.SchedulerName = "another"
	objects := []runtime.Object{node("n", "1", "1Gi"), ended, foreign}
	inCluster(t, scheduler.Config{}, objects, func(c *testCluster) {
		c.create(pod("p", "1", ""))
		settle()
		if got := c.pod("p").Spec.NodeName; got != "n" {
			t.Errorf("pod is on %q: a pod that ended takes nothing", got)
		}
		if got := c.pod("foreign").Spec.NodeName; got != "" {
			t.Errorf("the pod of another scheduler is on %q", got)
		}
	})
}

func TestLostAnswerIsNoSecondBinding(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		c.answer = func(string) error { return errors.New("connection reset by peer") }
		c.create(pod("p", "1", ""))
		after(time.Minute)
		if c.requests() != 1 {
			t.Errorf("%d binding requests, want 1", c.requests())
		}
		for _, e := range c.events("p") {
			if strings.Contains(e, "FailedScheduling") {
				t.Errorf("event %q for a pod that is bound", e)
			}
		}
	})
}

func TestFailedBindingIsTriedAgainAndRoomIsGivenBack(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		failures := 2
		c.refuse = func(string) error {
			if failures == 0 {
				return nil
			}
			failures--
			return apierrors.NewForbidden(corev1.Resource("pods/binding"), "p", errors.New("not now"))
		}
		c.create(pod("p", "1", ""))
		after(500 * time.Millisecond)
		if c.requests() != 1 {
			t.Errorf("%d bindings before the back-off ends, want 1", c.requests())
		}
		after(4 * time.Second)
		if got := c.pod("p").Spec.NodeName; got != "n" || c.requests() != 3 {
			t.Errorf("pod is on %q after %d bindings, want n after 3", got, c.requests())
		}
		if !slices.ContainsFunc(c.events("p"), func(e string) bool {
			return strings.HasPrefix(e, `Warning FailedScheduling: running Bind plugin "DefaultBinder": `)
		}) {
			t.Errorf("events: %v", c.events("p"))
		}
	})
}

func TestBoundBySomeoneElse(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n1", "1", "1Gi"), node("n2", "8", "8Gi")}, func(c *testCluster) {
		c.refuse = func(name string) error {
			if name != "p" {
				return nil
			}
			p := pod("p", "1", "", onNode("n1"))
			if err := c.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), p, "default"); err != nil {
				return err
			}
			return apierrors.NewConflict(corev1.Resource("pods/binding"), "p", errors.New("already assigned"))
		}
		c.create(pod("p", "1", ""))
		after(time.Minute)
		if c.requests() != 1 {
			t.Errorf("%d bindings, want 1", c.requests())
		}
		c.create(pod("q", "7500m", ""))
		settle()
		if got := c.pod("q").Spec.NodeName; got != "n2" {
			t.Errorf("q is on %q: the room on n2 was not given back", got)
		}
	})
}

func TestPodDeletedAtEveryStage(t *testing.T) {
	inCluster(t, scheduler.Config{}, []runtime.Object{node("n", "1", "1Gi")}, func(c *testCluster) {
		c.create(pod("waiting", "4", ""))
		settle()
		c.deletePod("waiting")
		c.create(pod("a", "1", ""))
		settle()
		c.create(pod("b", "1", ""))
		settle()
		c.deletePod("a")
		after(2 * time.Second)
		if got := c.pod("b").Spec.NodeName; got != "n" {
			t.Errorf("b is on %q, want n", got)
		}
	})
}

// seriesCounts are how often each event about a pod was seen.
func seriesCounts(c *testCluster, name string) []int32 {
	var counts []int32
	for _, e := range c.eventObjects(name) {
		n := int32(1)
		if e.Series != nil {
			n = e.Series.Count
		}
		counts = append(counts, n)
	}
	return counts
}
