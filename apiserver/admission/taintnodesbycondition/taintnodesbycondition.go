// Package taintnodesbycondition is the admission plugin that taints new nodes as not
// ready, so that no pod is placed on one before the node lifecycle controller has
// seen it ready and taken the taint away.
package taintnodesbycondition

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "TaintNodesByCondition" }

// Admit implements admission.Mutator.
func (Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	node, ok := a.Object.(*corev1.Node)
	if !ok || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	for _, t := range node.Spec.Taints {
		if t.MatchTaint(&notReady) {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, notReady)
	return nil
}
