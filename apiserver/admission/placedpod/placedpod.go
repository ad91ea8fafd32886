// Package placedpod is what two admission plugins share that hold a change of a pod
// to the node which it is on.
package placedpod

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/admission"
)

// Changed is a pod on a node whose spec an update changes, and what it was; now is nil
// for every other write.
func Changed(a *admission.Attributes) (now, was *corev1.Pod) {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Update || pod.Spec.NodeName == "" {
		return nil, nil
	}
	// The generation tells: it counts the changes of the spec.
	if old, ok := a.Old.(*corev1.Pod); ok && old.Generation != pod.Generation {
		return pod, old
	}
	return nil, nil
}

// Node is the one that a pod is on, or the error that refuses the write.
func Node(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*corev1.Node, error) {
	obj, err := a.Objects.Get(ctx, corev1.Resource("nodes"), "", pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return nil, a.Forbidden(fmt.Errorf("node %q not found", pod.Spec.NodeName))
	}
	if err != nil {
		return nil, a.Forbidden(fmt.Errorf("failed to get node %q: %w", pod.Spec.NodeName, err))
	}
	return obj.(*corev1.Node), nil
}
