package strake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/internal/stages"
)

// tellWaiting is how often it is said which nodes are waited for.
const tellWaiting = 10 * time.Second

// nodesReady is a stage that is ready once all nodes of this process are Ready and
// take pods: they join with taints, which a controller takes off.
func (c *Cluster) nodesReady() stages.Stage {
	ready := make(chan struct{})
	return stages.Stage{Name: "ready nodes", Ready: ready, Run: func(ctx context.Context) error {
		w := waitingNodes{left: map[string]struct{}{}, none: ready}
		for _, node := range c.nodes {
			w.left[node.Name()] = struct{}{}
		}
		informer := c.plane.informers.Core().V1().Nodes().Informer()
		handle, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    w.see,
			UpdateFunc: func(_, o any) { w.see(o) },
		})
		if err != nil {
			return fmt.Errorf("watch nodes: %w", err)
		}
		for {
			select {
			case <-ready:
				if err := informer.RemoveEventHandler(handle); err != nil {
					return fmt.Errorf("stop watching nodes: %w", err)
				}
				<-ctx.Done()
				return nil
			case <-time.After(tellWaiting):
				c.plane.config.Logger.Info("Waiting for nodes to be ready", "nodes", w.names())
			case <-ctx.Done():
				return nil
			}
		}
	}}
}

// waitingNodes are the nodes that are not ready so far.
type waitingNodes struct {
	mu   sync.Mutex
	left map[string]struct{}
	none chan struct{} // closed once none is left
}

func (w *waitingNodes) see(o any) {
	node, ok := o.(*corev1.Node)
	if !ok || !takesPods(node) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waited := w.left[node.Name]; !waited {
		return
	}
	delete(w.left, node.Name)
	if len(w.left) == 0 {
		close(w.none)
	}
}

// names are those of the first few.
func (w *waitingNodes) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := slices.Sorted(maps.Keys(w.left))
	return names[:min(len(names), 10)]
}

// takesPods says that a node is Ready and that no controller keeps pods away from it
// because it was not.
func takesPods(node *corev1.Node) bool {
	kept := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeNetworkUnavailable
	})
	return !kept && slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
