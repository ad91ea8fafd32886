// Command scoreplugin is a cluster whose scheduler has an opinion of its own: it
// prefers nodes whose label says that their power comes from the sun.
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/scheduler/framework"
)

// powerLabel says where a node's power comes from.
const powerLabel = "example.com/power"

// SunFirst is the plugin: one method that scores a node for a pod.
type SunFirst struct{}

// Name implements [framework.Plugin].
func (SunFirst) Name() string { return "SunFirst" }

// Score implements [framework.ScorePlugin].
func (SunFirst) Score(_ *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	if node.Node.Labels[powerLabel] == "solar" {
		return framework.MaxNodeScore, nil
	}
	return 0, nil
}

// Sign says that the score depends on nothing of the pod, so that equal pods share
// it. The plugin works without it, too, only slower.
func (SunFirst) Sign(*framework.PodInfo, *framework.Signature) bool { return true }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, framework.Weighted{Plugin: SunFirst{}, Weight: 10}); err != nil {
		fmt.Fprintln(os.Stderr, "scoreplugin:", err)
		os.Exit(1)
	}
}

// run schedules six pods on three simulated nodes, one of them on a roof, and says
// where they went.
func run(ctx context.Context, out io.Writer, plugins ...framework.Weighted) error {
	cluster, err := strake.New(strake.Config{
		ControlPlane: strake.ControlPlaneConfig{ScorePlugins: plugins},
		FakeNodes:    3,
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	select {
	case <-cluster.Ready():
	case err := <-ended:
		return err
	}
	placed, err := place(ctx, cluster.Client(), 6)
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(placed)) {
		fmt.Fprintf(out, "%s has %d pods\n", node, placed[node])
	}
	stop()
	return <-ended
}

// place labels a node, creates pods and counts them by node.
func place(ctx context.Context, client kubernetes.Interface, n int) (map[string]int, error) {
	label := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"solar"}}}`, powerLabel)
	if _, err := client.CoreV1().Nodes().Patch(ctx, "fake-1", types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		return nil, err
	}
	pods := client.CoreV1().Pods("default")
	watch, err := pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	defer watch.Stop()
	for range n {
		if _, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "work-"},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "main", Image: "work",
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}},
			}}},
		}, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	on := map[string]string{} // pod → node
	for event := range watch.ResultChan() {
		if pod, ok := event.Object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
			on[pod.Name] = pod.Spec.NodeName
		}
		if len(on) == n {
			counts := map[string]int{}
			for _, node := range on {
				counts[node]++
			}
			return counts, nil
		}
	}
	return nil, fmt.Errorf("not all pods were placed: %w", ctx.Err())
}
