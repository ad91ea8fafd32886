package strake

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestNotReady(t *testing.T) {
	node := func(status corev1.ConditionStatus, message string, taints ...string) *corev1.Node {
		n := &corev1.Node{}
		if status != "" {
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Message: message}}
		}
		for _, key := range taints {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key})
		}
		return n
	}
	for name, test := range map[string]struct {
		node *corev1.Node
		want string
	}{
		"new":           {node("", ""), "it has not reported"},
		"broken":        {node(corev1.ConditionFalse, "the network is not there"), "the network is not there"},
		"ready":         {node(corev1.ConditionTrue, "", "example.com/own"), ""},
		"still tainted": {node(corev1.ConditionTrue, "", corev1.TaintNodeNotReady), "it has the taint node.kubernetes.io/not-ready"},
	} {
		if got := notReady(test.node); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
