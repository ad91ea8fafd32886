package nodelifecycle_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/nodeipam"
	"github.com/strake-io/strake/controllers/nodelifecycle"
	"github.com/strake-io/strake/controllers/podgc"
	"github.com/strake-io/strake/controllers/tainteviction"
)

// renew keeps the leases of nodes alive until their time.
func renew(api *fakeapi.API, until map[string]time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		leases := api.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
		begin := time.Now()
		for {
			for name, d := range until {
				if time.Since(begin) > d {
					continue
				}
				now := metav1.NowMicro()
				l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &now}}
				if _, err := leases.Update(ctx, l, metav1.UpdateOptions{}); apierrors.IsNotFound(err) {
					_, _ = leases.Create(ctx, l, metav1.CreateOptions{})
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Second):
			}
		}
	}
}

func readyNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}},
	}
}

func podOn(name, node string, seconds *int64) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: seconds})
	}
	return p
}

func taints(t *testing.T, api *fakeapi.API, name string) string {
	t.Helper()
	n, err := api.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, taint := range n.Spec.Taints {
		out = append(out, strings.TrimPrefix(taint.Key, "node.kubernetes.io/")+":"+string(taint.Effect))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestANodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		five := int64(300)
		api := fakeapi.New(readyNode("a"), readyNode("b"), podOn("mortal", "b", &five), podOn("patient", "b", nil), podOn("other", "a", &five))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{
			nodelifecycle.New(nodelifecycle.Config{}), tainteviction.New(), podgc.New(podgc.Config{}),
			nodeipam.New(nodeipam.Config{ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}),
		}}, renew(api, map[string]time.Duration{"a": 1000 * time.Hour, "b": time.Hour}))
		core := api.Client.CoreV1()
		time.Sleep(time.Hour)
		if got := taints(t, api, "a") + taints(t, api, "b"); got != "" {
			t.Fatalf("living nodes have taints: %s", got)
		}
		time.Sleep(2 * time.Minute)
		n, _ := core.Nodes().Get(t.Context(), "b", metav1.GetOptions{})
		if c := n.Status.Conditions[0]; c.Status != corev1.ConditionUnknown || c.Reason != "NodeStatusUnknown" || c.Message != "Kubelet stopped posting node status." {
			t.Errorf("condition %+v", c)
		}
		if got := taints(t, api, "b"); got != "unreachable:NoExecute unreachable:NoSchedule" {
			t.Errorf("taints %q", got)
		}
		p, err := core.Pods("ns").Get(t.Context(), "mortal", metav1.GetOptions{})
		if err != nil || p.Status.Conditions[0].Status != corev1.ConditionFalse || p.DeletionTimestamp != nil {
			t.Errorf("pod %v %v", p, err)
		}
		time.Sleep(5 * time.Minute)
		p, err = core.Pods("ns").Get(t.Context(), "mortal", metav1.GetOptions{})
		if err != nil || p.DeletionTimestamp == nil || !strings.Contains(fmt.Sprint(p.Status.Conditions), "DeletionByTaintManager") {
			t.Errorf("the pod was not evicted: %v %v", p, err)
		}
		if p, err := core.Pods("ns").Get(t.Context(), "patient", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
			t.Errorf("a pod that tolerates the taint for ever went: %v", err)
		}
		events := strings.Join(append(api.Events(""), api.Events("default")...), "\n")
		for _, want := range []string{"Node NodeNotReady: Node b status is now: NodeNotReady", "Pod TaintManagerEviction: Marking for deletion Pod ns/mortal", "Node RegisteredNode: Node a event: Registered Node a in Controller"} {
			if !strings.Contains(events, want) {
				t.Errorf("no event %q in\n%s", want, events)
			}
		}
		// The node's object goes: its pods are lost.
		if err := core.Nodes().Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		list, _ := core.Pods("ns").List(t.Context(), metav1.ListOptions{})
		if len(list.Items) != 1 || list.Items[0].Name != "other" {
			t.Errorf("%d pods left", len(list.Items))
		}
		a, _ := core.Nodes().Get(t.Context(), "a", metav1.GetOptions{})
		if a.Spec.PodCIDR == "" || a.Spec.PodCIDR == n.Spec.PodCIDR {
			t.Errorf("ranges %q and %q", a.Spec.PodCIDR, n.Spec.PodCIDR)
		}
	})
}

func TestNoPodIsDrivenAwayWhenNoNodeIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := int64(0)
		api := fakeapi.New(readyNode("only"), podOn("p", "only", &zero))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{
			nodelifecycle.New(nodelifecycle.Config{}), tainteviction.New(),
		}})
		time.Sleep(time.Hour)
		if got := taints(t, api, "only"); got != "unreachable:NoSchedule" {
			t.Errorf("taints %q", got)
		}
		if p, err := api.Client.CoreV1().Pods("ns").Get(t.Context(), "p", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
			t.Error("the pod was driven away")
		}
	})
}

func TestTheOthersAreEmptiedWhenOneIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(readyNode("a"), readyNode("b"))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{nodelifecycle.New(nodelifecycle.Config{})}})
		// Not at a moment at which the controller looks at its nodes too.
		time.Sleep(time.Hour + time.Second)
		if got := taints(t, api, "a") + " " + taints(t, api, "b"); got != "unreachable:NoSchedule unreachable:NoSchedule" {
			t.Errorf("with no node ready: %q", got)
		}
		a, err := api.Client.CoreV1().Nodes().Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Status.Conditions {
			if c := &a.Status.Conditions[i]; c.Type == corev1.NodeReady {
				c.Status, c.LastHeartbeatTime = corev1.ConditionTrue, metav1.Now()
			}
		}
		if _, err := api.Client.CoreV1().Nodes().UpdateStatus(t.Context(), a, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if got := taints(t, api, "a"); got != "" {
			t.Errorf("the node that is back: %q", got)
		}
		if got := taints(t, api, "b"); got != "unreachable:NoExecute unreachable:NoSchedule" {
			t.Errorf("the other: %q", got)
		}
		time.Sleep(time.Hour) // and it is silent again
		if got := taints(t, api, "b"); got != "unreachable:NoSchedule" {
			t.Errorf("with no node ready again: %q", got)
		}
	})
}
