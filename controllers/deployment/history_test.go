package deployment_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/deployment"
)

// world is a deployment with its replica sets, where time passes and pods start
// as the dice fall.
type world struct {
	d    *appsv1.Deployment
	sets []*appsv1.ReplicaSet
	now  time.Time
	dice *rand.Rand
	made int
}

func (w *world) plan() controllers.Plan {
	selector, _ := metav1.LabelSelectorAsSelector(w.d.Spec.Selector)
	return deployment.Reconcile(deployment.View{
		Deployment: w.d, Selector: selector, Sets: w.sets,
		Named: func(name string) *appsv1.ReplicaSet {
			for _, rs := range w.sets {
				if rs.Name == name {
					return rs
				}
			}
			return nil
		},
		OldPods: func([]*appsv1.ReplicaSet) []*corev1.Pod { return nil }, // the statuses count them
	}, w.now)
}

// apply carries out the plan and reports whether it wrote anything.
func (w *world) apply(p controllers.Plan) bool {
	var writes []controllers.Write
	for _, s := range p.Steps {
		writes = append(writes, s.Writes...)
	}
	if p.Then != nil {
		writes = append(writes, p.Then(controllers.Outcome{})...)
	}
	for _, write := range writes {
		switch o := write.Object.(type) {
		case *appsv1.Deployment:
			w.d = o
		case *appsv1.ReplicaSet:
			w.applySet(write.Verb, o)
		}
	}
	return len(writes) > 0
}

func (w *world) applySet(verb controllers.Verb, rs *appsv1.ReplicaSet) {
	if verb == controllers.Create {
		w.made++
		rs.UID = types.UID(fmt.Sprint("rs", w.made))
		rs.CreationTimestamp = metav1.NewTime(w.now)
		w.sets = append(w.sets, rs)
		return
	}
	for i := range w.sets {
		if w.sets[i].UID != rs.UID {
			continue
		}
		if verb == controllers.Delete {
			w.sets = append(w.sets[:i:i], w.sets[i+1:]...)
			return
		}
		w.sets[i] = rs
	}
}

// step lets some replica sets act: they start and stop pods at once, unready
// ones first, and some of the pods become available.
func (w *world) step() {
	w.now = w.now.Add(time.Second)
	for i, rs := range w.sets {
		if w.dice.IntN(3) == 0 {
			continue // its controller is slow today, the status old
		}
		rs = rs.DeepCopy()
		size := *rs.Spec.Replicas
		rs.Status.Replicas = size
		rs.Status.AvailableReplicas = min(rs.Status.AvailableReplicas, size)
		if room := size - rs.Status.AvailableReplicas; room > 0 {
			rs.Status.AvailableReplicas += w.dice.Int32N(room + 1)
		}
		rs.Status.ReadyReplicas = rs.Status.AvailableReplicas
		rs.Status.ObservedGeneration = rs.Generation
		w.sets[i] = rs
	}
}

func (w *world) total() (size, available int32) {
	for _, rs := range w.sets {
		size += *rs.Spec.Replicas
		available += min(rs.Status.AvailableReplicas, *rs.Spec.Replicas)
	}
	return size, available
}

func TestRandomHistoriesKeepTheBounds(t *testing.T) {
	for seed := range uint64(100) {
		dice := rand.New(rand.NewPCG(seed, 1))
		replicas := 1 + dice.Int32N(20)
		surge, unavailable := dice.Int32N(5), dice.Int32N(5)
		if surge == 0 && unavailable == 0 {
			surge = 1
		}
		d := web(replicas, "v0")
		s, u := intstr.FromInt32(surge), intstr.FromInt32(unavailable)
		d.UID = "d"
		d.CreationTimestamp = metav1.NewTime(time.Unix(1, 0))
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u}
		w := &world{d: d, now: time.Unix(1000, 0), dice: dice}
		w.settle(t, seed)
		least := max(0, replicas-unavailable)
		for change := range 8 {
			w.d = w.d.DeepCopy()
			w.d.Spec.Template.Spec.Containers[0].Image = fmt.Sprint("v", dice.IntN(4))
			w.d.Generation++
			for range dice.IntN(30) { // the next change may come in the middle of this one
				w.apply(w.plan())
				if size, available := w.total(); size > replicas+surge || available < least {
					t.Fatalf("seed %d change %d: %d pods (at most %d), %d available (at least %d)", seed, change, size, replicas+surge, available, least)
				}
				w.step()
			}
		}
		w.settle(t, seed)
	}
}

// settle runs until nothing is left to do, and checks that this is the goal.
func (w *world) settle(t *testing.T, seed uint64) {
	t.Helper()
	quiet := 0
	for range 2000 {
		if w.apply(w.plan()) {
			quiet = 0
		} else if quiet++; quiet > 20 {
			break
		}
		w.step()
	}
	size, available := w.total()
	status := w.d.Status
	if quiet <= 20 || size != *w.d.Spec.Replicas || available != size || status.UpdatedReplicas != size || status.UnavailableReplicas != 0 {
		t.Fatalf("seed %d: does not settle: %d pods, %d available, want %d; status %+v", seed, size, available, *w.d.Spec.Replicas, status)
	}
	if len(w.sets) > 1+int(*w.d.Spec.RevisionHistoryLimit) {
		t.Fatalf("seed %d: %d replica sets", seed, len(w.sets))
	}
}

func TestScalingInTheMiddleIsProportional(t *testing.T) {
	w := &world{d: web(10, "v0"), now: time.Unix(1000, 0), dice: rand.New(rand.NewPCG(1, 1))}
	w.d.UID = "d"
	three, two := intstr.FromInt32(3), intstr.FromInt32(2)
	w.d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &three, MaxUnavailable: &two}
	w.settle(t, 0)
	// A rollout that is stuck: 8 old pods, 5 new ones that never become available.
	w.d.Spec.Template.Spec.Containers[0].Image = "broken"
	for range 10 {
		w.apply(w.plan())
		for _, rs := range w.sets {
			rs.Status.Replicas = *rs.Spec.Replicas
			if rs.Spec.Template.Spec.Containers[0].Image == "v0" {
				rs.Status.AvailableReplicas = *rs.Spec.Replicas
			}
		}
		w.now = w.now.Add(time.Second)
	}
	sizes := func() (old, current int32) {
		for _, rs := range w.sets {
			if rs.Spec.Template.Spec.Containers[0].Image == "v0" {
				old = *rs.Spec.Replicas
			} else {
				current = *rs.Spec.Replicas
			}
		}
		return old, current
	}
	if old, current := sizes(); old != 8 || current != 5 {
		t.Fatalf("stuck at %d and %d, want 8 and 5", old, current)
	}
	fifteen := int32(15)
	w.d = w.d.DeepCopy()
	w.d.Spec.Replicas = &fifteen
	w.apply(w.plan())
	// The documented example: five more pods, three to the old set and two to the new.
	if old, current := sizes(); old != 11 || current != 7 {
		t.Errorf("after scaling to 15: %d and %d, want 11 and 7", old, current)
	}
}

func TestRecreateIsScaledWhileSeveralSetsHavePods(t *testing.T) {
	w := &world{d: web(4, "v0"), now: time.Unix(1000, 0), dice: rand.New(rand.NewPCG(1, 1))}
	w.d.UID = "d"
	w.settle(t, 0)
	// In the middle of a rolling update the strategy and the size change.
	w.d.Spec.Template.Spec.Containers[0].Image = "v1"
	for range 2 {
		w.apply(w.plan())
		w.step()
	}
	six := int32(6)
	w.d = w.d.DeepCopy()
	w.d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	w.d.Spec.Replicas = &six
	w.d.Generation++
	w.settle(t, 0)
}
