// Package defaultbinder binds pods through the API: one Binding each, or many at
// once where the program has a shorter way to the store.
package defaultbinder

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/scheduler/framework"
)

// Name of the plugin.
const Name = "DefaultBinder"

// BatchFunc binds many pods and returns one error for each, in order; nil where
// the pod is bound. It has the semantics of that many calls of the binding
// sub-resource: the UID in a Binding is a precondition, and a pod that is bound
// already is a conflict.
type BatchFunc func(ctx context.Context, bindings []*corev1.Binding) []error

// Plugin is the Bind plugin that posts Bindings.
type Plugin struct{ client kubernetes.Interface }

// Batch is the Bind plugin that binds many pods in one call.
type Batch struct{ bind BatchFunc }

var (
	_ framework.BindPlugin      = Plugin{}
	_ framework.BatchBindPlugin = Batch{}
)

// New returns a plugin that posts Bindings with client.
func New(client kubernetes.Interface) Plugin { return Plugin{client} }

// NewBatch returns a plugin that binds with f.
func NewBatch(f BatchFunc) Batch { return Batch{f} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// Name is [Name].
func (Batch) Name() string { return Name }

// Bind posts a Binding.
func (p Plugin) Bind(ctx context.Context, c *framework.Cycle, node string) *framework.Status {
	b := binding(c, node)
	return framework.AsStatus(p.client.CoreV1().Pods(b.Namespace).Bind(ctx, b, metav1.CreateOptions{}))
}

// Bind binds one pod.
func (p Batch) Bind(ctx context.Context, c *framework.Cycle, node string) *framework.Status {
	return p.BindBatch(ctx, []framework.Placement{{Cycle: c, Node: node}})[0]
}

// BindBatch binds all.
func (p Batch) BindBatch(ctx context.Context, placements []framework.Placement) []*framework.Status {
	bindings := make([]*corev1.Binding, len(placements))
	for i, pl := range placements {
		bindings[i] = binding(pl.Cycle, pl.Node)
	}
	errs := p.bind(ctx, bindings)
	statuses := make([]*framework.Status, len(placements))
	for i := range statuses {
		if i < len(errs) {
			statuses[i] = framework.AsStatus(errs[i])
		} else {
			statuses[i] = framework.AsStatus(errTooFew)
		}
	}
	return statuses
}

var errTooFew = errors.New("the bind function returned fewer answers than it got bindings")

func binding(c *framework.Cycle, node string) *corev1.Binding {
	pod := c.Pod.Pod
	return &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
}
