package strake

import (
	"context"
	"errors"
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
		w := waitingNodes{left: map[string]string{}, none: ready}
		for _, node := range c.nodes {
			w.left[node.Name()] = "it has not registered"
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
				c.plane.config.Logger.Error(errNodesNotReady, "The cluster waits for its nodes", "nodes", w.reasons())
			case <-ctx.Done():
				return nil
			}
		}
	}}
}

var errNodesNotReady = errors.New("nodes are not ready")

// waitingNodes are the nodes that are not ready so far, and why.
type waitingNodes struct {
	mu   sync.Mutex
	left map[string]string
	none chan struct{} // closed once none is left
}

func (w *waitingNodes) see(o any) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return
	}
	why := notReady(node)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waited := w.left[node.Name]; !waited {
		return
	}
	if why != "" {
		w.left[node.Name] = why
		return
	}
	delete(w.left, node.Name)
	if len(w.left) == 0 {
		close(w.none)
	}
}

// reasons of the first few.
func (w *waitingNodes) reasons() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.left)) {
		if out = append(out, name+": "+w.left[name]); len(out) == 10 {
			break
		}
	}
	return out
}

// notReady says why a node takes no pods: it is not Ready, or a controller keeps them
// away because it was not; "" where it takes them.
func notReady(node *corev1.Node) string {
	i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	switch {
	case i < 0:
		return "it has not reported"
	case node.Status.Conditions[i].Status != corev1.ConditionTrue:
		return node.Status.Conditions[i].Message
	}
	for _, t := range node.Spec.Taints {
		switch t.Key {
		case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeNetworkUnavailable:
			return "it has the taint " + t.Key
		}
	}
	return ""
}
