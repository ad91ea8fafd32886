package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins/noderesources"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

func queued(name string, priority int32) *framework.PodInfo {
	return framework.NewPodInfo(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec:       corev1.PodSpec{Priority: &priority},
	})
}

func testQueue(t *testing.T) *queue {
	return newQueue(defaultProfile(t), time.Second, 10*time.Second, 5*time.Minute)
}

func popAll(q *queue, now time.Time) (names []string) {
	for e := q.pop(now); e != nil; e = q.pop(now) {
		names = append(names, e.Pod.Name)
	}
	return names
}

func TestQueueOrder(t *testing.T) {
	q := testQueue(t)
	q.add(queued("old", 0), at(0))
	q.add(queued("important", 9), at(3))
	q.add(queued("young", 0), at(2))
	q.add(queued("same time, later", 0), at(2))
	if diff := cmp.Diff([]string{"important", "old", "young", "same time, later"}, popAll(q, at(4))); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestQueueBackoffDoubles(t *testing.T) {
	q := testQueue(t)
	q.add(queued("p", 0), at(0))
	now := at(0)
	var waits []string
	for range 6 {
		e := q.pop(now)
		if e == nil {
			t.Fatalf("no pod at %v", now)
		}
		q.fail(e, now)
		if e := q.pop(now); e != nil {
			t.Fatal("a failed pod is tried again before its back-off ends")
		}
		next, ok := q.next()
		if !ok {
			t.Fatal("nothing is due, though a pod backs off")
		}
		waits = append(waits, next.Sub(now).String())
		now = next
		q.advance(now)
	}
	if diff := cmp.Diff([]string{"1s", "2s", "4s", "8s", "10s", "10s"}, waits); diff != "" {
		t.Errorf("back-offs (-want +got):\n%s", diff)
	}
}

func TestQueueWakesByHint(t *testing.T) {
	q := testQueue(t)
	q.add(queued("p", 0), at(0))
	q.reject(q.pop(at(0)), []string{noderesources.FitName}, at(0))
	if q.pop(at(100)) != nil {
		t.Fatal("an unschedulable pod is tried without an event")
	}
	q.happened(&framework.ClusterEvent{Event: framework.NodeUpdateLabel}, at(1))
	if len(q.waiting) != 1 {
		t.Error("a label woke a pod that lacks room")
	}
	q.happened(&framework.ClusterEvent{Event: framework.AssignedPodDelete, OldPod: queued("gone", 0)}, at(0.5))
	e := q.entries["p"]
	if e.place != backingOff {
		t.Errorf("woken within its back-off, the pod is at place %d", e.place)
	}
	// Nothing else waits, so it is tried at once.
	if got := q.pop(at(0.5)); got != e {
		t.Error("the woken pod is not tried")
	}
}

// A node comes that would not take the pod, and so causes no attempt; later what
// was in the way goes. The pod must not sleep until its long wait ends.
func TestQueueRemembersWhoRefusedANewNode(t *testing.T) {
	tainted := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NodeSpec{
		Taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}},
	}}
	tainted.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}
	ready := tainted.DeepCopy()
	ready.Spec.Taints = nil

	q := testQueue(t)
	rejectedBy := []string{noderesources.FitName}
	for _, name := range []string{"p", "alike"} {
		q.add(queued(name, 0), at(0))
		q.reject(q.pop(at(0)), rejectedBy, at(0))
	}
	q.happened(&framework.ClusterEvent{Event: framework.NodeAdd, Node: tainted}, at(100))
	if len(q.waiting) != 2 {
		t.Fatal("a node with a taint woke the pods")
	}
	if len(rejectedBy) != 1 || len(rejectedBy[:cap(rejectedBy)]) != 1 {
		t.Error("the list that pods alike share was changed")
	}
	q.happened(&framework.ClusterEvent{Event: framework.NodeUpdateTaint, OldNode: tainted, Node: ready}, at(101))
	if got := len(popAll(q, at(101))); got != 2 {
		t.Errorf("%d pods are tried once the taint is gone, want 2", got)
	}
}

func TestQueueFlushesLongWaits(t *testing.T) {
	q := testQueue(t)
	q.add(queued("p", 0), at(0))
	q.reject(q.pop(at(0)), []string{noderesources.FitName}, at(0))
	tries := 0
	for now := at(0); now.Before(at(601)); {
		q.advance(now)
		if e := q.pop(now); e != nil {
			tries++
			q.reject(e, []string{noderesources.FitName}, now)
			q.advance(now)
		}
		next, ok := q.next()
		if !ok || !next.After(now) {
			t.Fatalf("at %v the next thing is due at %v", now, next)
		}
		now = next
	}
	if tries != 2 {
		t.Errorf("tried %d times in ten minutes, want 2", tries)
	}
}

func TestQueueUpdatesAndRemovals(t *testing.T) {
	q := testQueue(t)
	for i := range 4 {
		q.add(queued(fmt.Sprint("p", i), 0), at(float64(i)))
	}
	q.update(q.entries["p3"], queued("p3", 5), true, at(5))
	q.remove("p1")
	q.reject(q.pop(at(5)), []string{noderesources.FitName}, at(5)) // p3
	q.remove("p3")
	if diff := cmp.Diff([]string{"p0", "p2"}, popAll(q, at(6))); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if len(q.waiting) != 0 || len(q.entries) != 2 {
		t.Errorf("%d waiting, %d entries; want 0 and the 2 in hand", len(q.waiting), len(q.entries))
	}
}
