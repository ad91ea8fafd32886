package scheduler_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/strake-io/strake/scheduler"
	"github.com/strake-io/strake/scheduler/framework"
)

// GreenFirst prefers nodes whose power comes from the sun, by their label.
type GreenFirst struct{}

func (GreenFirst) Name() string { return "GreenFirst" }

func (GreenFirst) Score(_ *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	if node.Node.Labels["example.com/power"] == "solar" {
		return framework.MaxNodeScore, nil
	}
	return 0, nil
}

// Sign says that GreenFirst looks at nothing of the pod, so that pods alike keep
// sharing their scores. Without it the plugin works too, only slower.
func (GreenFirst) Sign(*framework.PodInfo, *framework.Signature) bool { return true }

// A score plugin from outside takes part in every placement.
func Example_scorePlugin() {
	client := fake.NewClientset( // any Kubernetes API server, in a real program
		exampleNode("coal", nil),
		exampleNode("roof", map[string]string{"example.com/power": "solar"}),
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"},
			Spec:       corev1.PodSpec{SchedulerName: scheduler.DefaultSchedulerName, Containers: []corev1.Container{{Name: "web"}}},
		},
	)
	bound := make(chan string, 1)
	s, err := scheduler.New(scheduler.Config{
		Client:       client,
		ScorePlugins: []framework.Weighted{{Plugin: GreenFirst{}, Weight: 10}},
		Bind: func(_ context.Context, bindings []*corev1.Binding) []error {
			for _, b := range bindings {
				bound <- b.Name + " runs on " + b.Target.Name
			}
			return make([]error, len(bindings))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	fmt.Println(<-bound)
	cancel()
	fmt.Println(<-done)
	// Output:
	// web runs on roof
	// <nil>
}

func exampleNode(name string, labels map[string]string) *corev1.Node {
	return node(name, "4", "8Gi", func(n *corev1.Node) { n.Labels = labels })
}
