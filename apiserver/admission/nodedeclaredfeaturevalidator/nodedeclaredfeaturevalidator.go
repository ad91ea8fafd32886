// Package nodedeclaredfeaturevalidator is the admission plugin that refuses a change
// of a running pod which takes a feature that its node does not declare. Source:
// KEP-5328.
package nodedeclaredfeaturevalidator

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
	features "k8s.io/component-helpers/nodedeclaredfeatures"

	"github.com/strake-io/strake/apiserver/admission"
)

// release is the Kubernetes that features are asked about: those that every node has
// by then need no declaration.
var release = version.MajorMinor(1, 37)

// Plugin implements admission.Validator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "NodeDeclaredFeatureValidator" }

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Update || a.Subresource != "" && a.Subresource != "resize" || pod.Spec.NodeName == "" {
		return nil
	}
	old, ok := a.Old.(*corev1.Pod)
	if !ok || old.Generation == pod.Generation {
		return nil // the spec is as it was
	}
	needed, err := features.DefaultFramework.InferForPodUpdate(
		&features.PodInfo{Spec: &old.Spec, Status: &old.Status}, &features.PodInfo{Spec: &pod.Spec, Status: &pod.Status}, release)
	if err != nil {
		return a.Forbidden(fmt.Errorf("failed to infer pod capability requirements: %w", err))
	}
	if needed.IsEmpty() {
		return nil
	}
	obj, err := a.Objects.Get(ctx, corev1.Resource("nodes"), "", pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return a.Forbidden(fmt.Errorf("node %q not found", pod.Spec.NodeName))
	}
	if err != nil {
		return a.Forbidden(fmt.Errorf("failed to get node %q: %w", pod.Spec.NodeName, err))
	}
	match, err := features.DefaultFramework.MatchNode(needed, obj.(*corev1.Node))
	if err != nil {
		return a.Forbidden(fmt.Errorf("failed to match pod requirements against node %q: %w", pod.Spec.NodeName, err))
	}
	if !match.IsMatch {
		return a.Forbidden(fmt.Errorf("pod update requires features %s which are not available on node %q", strings.Join(match.UnsatisfiedRequirements, ", "), pod.Spec.NodeName))
	}
	return nil
}
