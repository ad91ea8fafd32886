// Package defaulttolerationseconds is the admission plugin that lets pods stay for a
// while on a node that is not ready or cannot be reached, where they do not say
// themselves for how long.
package defaulttolerationseconds

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

// DefaultSeconds are upstream's five minutes.
const DefaultSeconds = 300

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct {
	// NotReady and Unreachable are seconds; nil means DefaultSeconds.
	NotReady, Unreachable *int64
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DefaultTolerationSeconds" }

// Admit implements admission.Mutator.
func (p Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	tolerate(pod, corev1.TaintNodeNotReady, p.NotReady)
	tolerate(pod, corev1.TaintNodeUnreachable, p.Unreachable)
	return nil
}

func tolerate(pod *corev1.Pod, taint string, seconds *int64) {
	for _, t := range pod.Spec.Tolerations {
		if (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return
		}
	}
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
		Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
		TolerationSeconds: ptr.To(ptr.Deref(seconds, DefaultSeconds)),
	})
}
