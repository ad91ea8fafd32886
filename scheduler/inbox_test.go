package scheduler

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNodesOfTheStartAreInOrder(t *testing.T) {
	node := func(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	b := newInbox()
	for _, m := range []message{
		nodeMessage{node: node("b")}, podMessage{pod: queued("p", 0).Pod}, nodeMessage{node: node("c")}, podMessage{pod: queued("q", 0).Pod},
		nodeMessage{node: node("a")}, nodeMessage{old: node("c")}, nodeMessage{node: node("0")}, podMessage{pod: queued("r", 0).Pod},
	} {
		b.put(m)
	}
	b.orderNodes()
	var got []string
	for _, m := range b.take(nil) {
		switch m := m.(type) {
		case podMessage:
			got = append(got, m.pod.Name)
		case nodeMessage:
			if m.node == nil {
				got = append(got, fmt.Sprint("-", m.old.Name))
			} else {
				got = append(got, fmt.Sprint("+", m.node.Name))
			}
		}
	}
	if diff := cmp.Diff([]string{"+a", "+b", "+c", "p", "q", "-c", "+0", "r"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
