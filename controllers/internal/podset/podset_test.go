package podset_test

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podset"
)

var (
	kind  = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
	owner = &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rs", UID: "rs"}}
	epoch = time.Unix(1_000_000, 0)
)

// pod is a running and ready pod of the set on a node; change makes it another.
func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}, CreationTimestamp: metav1.NewTime(epoch),
		},
		Spec: corev1.PodSpec{NodeName: "node-" + name},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch)},
		}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func unassigned(p *corev1.Pod) { p.Spec.NodeName = ""; pending(p) }
func pending(p *corev1.Pod)    { p.Status.Phase = corev1.PodPending; unready(p) }
func unready(p *corev1.Pod)    { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func cheap(p *corev1.Pod)      { p.Annotations = map[string]string{corev1.PodDeletionCost: "-5"} }
func crowded(p *corev1.Pod)    { p.Spec.NodeName = "full" }
func young(p *corev1.Pod) {
	p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(epoch.Add(59 * time.Minute))
}
func restarted(p *corev1.Pod) {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 3}}
}
func orphan(p *corev1.Pod)    { p.OwnerReferences = nil }
func foreign(p *corev1.Pod)   { p.OwnerReferences[0].UID = "other" }
func relabeled(p *corev1.Pod) { p.Labels = map[string]string{"app": "else"} }
func ended(p *corev1.Pod)     { p.Status.Phase = corev1.PodFailed }
func leaving(p *corev1.Pod)   { now := metav1.NewTime(epoch); p.DeletionTimestamp = &now }

func decide(replicas int, pods ...*corev1.Pod) podset.Decision {
	return podset.Decide(podset.Set{
		Owner: owner, Kind: kind, Replicas: replicas, Selector: labels.SelectorFromSet(labels.Set{"app": "web"}),
		Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}, Pods: pods,
	}, epoch.Add(time.Hour))
}

func writes(d podset.Decision) string {
	var out []string
	for _, s := range d.Steps {
		for _, w := range s.Writes {
			out = append(out, string(w.Verb)+" "+w.Object.GetGenerateName()+w.Object.GetName())
		}
	}
	return strings.Join(out, ", ")
}

func TestDecide(t *testing.T) {
	for _, test := range []struct {
		name     string
		replicas int
		pods     []*corev1.Pod
		want     string
	}{
		{"enough", 1, []*corev1.Pod{pod("a")}, ""},
		{"none yet", 2, nil, "create rs-, create rs-"},
		{"ended and leaving ones do not count", 2, []*corev1.Pod{pod("a", ended), pod("b", leaving), pod("c")}, "create rs-"},
		{"another's do not count", 1, []*corev1.Pod{pod("a", foreign)}, "create rs-"},
		{"adopt first", 2, []*corev1.Pod{pod("a", orphan)}, "patch a"},
		{"release first", 1, []*corev1.Pod{pod("a", relabeled), pod("b"), pod("c")}, "patch a"},
		{"no adoption of what does not match", 1, []*corev1.Pod{pod("a", orphan, relabeled)}, "create rs-"},
		{"unassigned before pending", 1, []*corev1.Pod{pod("a", pending), pod("b", unassigned)}, "delete b"},
		{"pending before running", 1, []*corev1.Pod{pod("a", unready), pod("b", pending)}, "delete b"},
		{"unready before ready", 1, []*corev1.Pod{pod("a", cheap), pod("b", unready)}, "delete b"},
		{"cheap before dear", 1, []*corev1.Pod{pod("a"), pod("b", cheap)}, "delete b"},
		{"from the full node", 2, []*corev1.Pod{pod("a"), pod("b", crowded), pod("c", crowded, young)}, "delete c"},
		{"the younger", 1, []*corev1.Pod{pod("a"), pod("b", young)}, "delete b"},
		{"the restarted", 1, []*corev1.Pod{pod("a"), pod("b", restarted)}, "delete b"},
	} {
		if got := writes(decide(test.replicas, test.pods...)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestModesAndCounts(t *testing.T) {
	d := decide(600, pod("a"), pod("b", unready), pod("c", leaving))
	if d.Steps[0].Mode != controllers.SlowStart || len(d.Steps[0].Writes) != 500 {
		t.Errorf("mode %v, %d writes", d.Steps[0].Mode, len(d.Steps[0].Writes))
	}
	if s := d.Status; s.Replicas != 2 || s.Ready != 1 || s.Available != 1 || s.Terminating != 1 || s.FullyLabeled != 2 {
		t.Errorf("status %+v", s)
	}
}
