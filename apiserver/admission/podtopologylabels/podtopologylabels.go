// Package podtopologylabels is the admission plugin that gives pods the zone and
// region of their node as labels: with the binding, or at once where a pod is
// created for a node. Source: KEP-4742.
package podtopologylabels

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
)

// copied are the labels of nodes that their pods get.
var copied = [...]string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "PodTopologyLabels" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.Resource.Group != "" || a.Resource.Resource != "pods" {
		return nil
	}
	switch obj := a.Object.(type) {
	case *corev1.Pod:
		if a.Subresource == "" {
			return label(ctx, a.Objects, obj.Spec.NodeName, &obj.Labels)
		}
	case *corev1.Binding:
		if a.Subresource == "binding" {
			return Label(ctx, a.Objects, obj)
		}
	}
	return nil
}

// Label gives a binding the labels of its node. It is exported for a scheduler in
// the same process, whose bindings do not come by here.
func Label(ctx context.Context, objects resource.Objects, b *corev1.Binding) error {
	if b.Target.Kind != "Node" {
		return nil
	}
	return label(ctx, objects, b.Target.Name, &b.Labels)
}

func label(ctx context.Context, objects resource.Objects, name string, labels *map[string]string) error {
	if name == "" {
		return nil
	}
	obj, err := objects.Get(ctx, corev1.Resource("nodes"), "", name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	node := obj.(*corev1.Node)
	for _, key := range copied {
		value, has := node.Labels[key]
		if !has {
			continue
		}
		if *labels == nil {
			*labels = map[string]string{}
		}
		(*labels)[key] = value
	}
	return nil
}
