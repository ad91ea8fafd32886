package podgc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/podgc"
)

var epoch = time.Unix(1_000_000, 0)

func pod(name, node string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(epoch)},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func ended(p *corev1.Pod)   { p.Status.Phase = corev1.PodSucceeded }
func older(p *corev1.Pod)   { p.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Hour)) }
func leaving(p *corev1.Pod) { now := metav1.NewTime(epoch); p.DeletionTimestamp = &now }

func node(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, c := range change {
		c(n)
	}
	return n
}

func outOfService(n *corev1.Node) {
	n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}}
}

func ready(n *corev1.Node) {
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
}

func TestReconcile(t *testing.T) {
	for _, test := range []struct {
		name      string
		pods      []*corev1.Pod
		nodes     []*corev1.Node
		gone      string
		threshold int
		want      string
	}{
		{name: "all is well", pods: []*corev1.Pod{pod("a", "n"), pod("b", "")}, nodes: []*corev1.Node{node("n")}},
		{name: "a missing node may come back", pods: []*corev1.Pod{pod("a", "n")}},
		{name: "of a node that is gone", pods: []*corev1.Pod{pod("a", "n"), pod("b", "n", ended)}, gone: "n", want: "mark and delete a, delete b"},
		{name: "deleted before it had a node", pods: []*corev1.Pod{pod("a", "", leaving)}, want: "delete a"},
		{name: "a kubelet will confirm", pods: []*corev1.Pod{pod("a", "n", leaving)}, nodes: []*corev1.Node{node("n")}},
		{name: "leaving a node out of service", pods: []*corev1.Pod{pod("a", "n", leaving), pod("b", "n")}, nodes: []*corev1.Node{node("n", outOfService)}, want: "mark and delete a"},
		{name: "the node works again", pods: []*corev1.Pod{pod("a", "n", leaving)}, nodes: []*corev1.Node{node("n", outOfService, ready)}},
		{name: "too many ended", pods: []*corev1.Pod{pod("a", "n", ended), pod("b", "n", ended, older), pod("c", "n", ended), pod("d", "n")}, nodes: []*corev1.Node{node("n")}, threshold: 2, want: "delete b"},
		{name: "no limit", pods: []*corev1.Pod{pod("a", "n", ended), pod("b", "n", ended)}, nodes: []*corev1.Node{node("n")}, threshold: -1},
	} {
		v := podgc.View{Pods: test.pods, Nodes: map[string]*corev1.Node{}, Threshold: test.threshold, Gone: map[string]bool{test.gone: test.gone != ""}}
		for _, n := range test.nodes {
			v.Nodes[n.Name] = n
		}
		var got []string
		for _, step := range podgc.Reconcile(v, epoch).Steps {
			for _, w := range step.Writes {
				line := string(w.Verb) + " " + w.Object.GetName()
				if grace := w.DeleteOptions.GracePeriodSeconds; grace == nil || *grace != 0 {
					line += " with grace"
				}
				if w.First != nil {
					line = "mark and " + line
				}
				got = append(got, line)
			}
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func left(t *testing.T, api *fakeapi.API) string {
	t.Helper()
	list, err := api.Client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestPodsOfANodeThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(node("n"), pod("a", "n"), pod("b", "gone"), pod("c", "gone"))
		api.Deny = func(verb string, _ schema.GroupVersionResource, o runtime.Object) error {
			if p, ok := o.(*corev1.Pod); ok && verb == "patch" && p.Name == "b" {
				return errors.New("no")
			}
			return nil
		}
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{podgc.New(podgc.Config{})}})
		time.Sleep(39 * time.Second)
		if got := left(t, api); got != "a b c" {
			t.Errorf("within the quarantine: %q", got)
		}
		time.Sleep(time.Minute)
		// b cannot be marked, so it stays; c has nothing to do with that.
		if got := left(t, api); got != "a b" {
			t.Errorf("after it: %q", got)
		}
		if writes := strings.Join(api.Writes(), "\n"); !strings.Contains(writes, "patch status of pods ns/c") {
			t.Errorf("c was never marked as failed: %s", writes)
		}
	})
}

func TestANodeThatComesBackFindsItsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(pod("a", "n"))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{podgc.New(podgc.Config{})}})
		time.Sleep(30 * time.Second)
		nodes := api.Client.CoreV1().Nodes()
		if _, err := nodes.Create(t.Context(), node("n"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := nodes.Delete(context.Background(), "n", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(39 * time.Second) // a new quarantine
		if got := left(t, api); got != "a" {
			t.Errorf("left: %q", got)
		}
		time.Sleep(time.Minute)
		if got := left(t, api); got != "" {
			t.Errorf("left: %q", got)
		}
	})
}
