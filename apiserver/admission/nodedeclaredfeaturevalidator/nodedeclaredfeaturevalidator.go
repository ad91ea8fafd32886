// Package nodedeclaredfeaturevalidator is the admission plugin that refuses a change
// of a running pod which takes a feature that its node does not declare. Source:
// KEP-5328.
package nodedeclaredfeaturevalidator

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	features "k8s.io/component-helpers/nodedeclaredfeatures"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/placedpod"
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
	pod, old := placedpod.Changed(a)
	if pod == nil || a.Subresource != "" && a.Subresource != "resize" {
		return nil
	}
	needed, err := features.DefaultFramework.InferForPodUpdate(
		&features.PodInfo{Spec: &old.Spec, Status: &old.Status}, &features.PodInfo{Spec: &pod.Spec, Status: &pod.Status}, release)
	if err != nil {
		return a.Forbidden(fmt.Errorf("failed to infer pod capability requirements: %w", err))
	}
	if needed.IsEmpty() {
		return nil
	}
	node, err := placedpod.Node(ctx, a, pod)
	if err != nil {
		return err
	}
	match, err := features.DefaultFramework.MatchNode(needed, node)
	if err != nil {
		return a.Forbidden(fmt.Errorf("failed to match pod requirements against node %q: %w", pod.Spec.NodeName, err))
	}
	if !match.IsMatch {
		return a.Forbidden(fmt.Errorf("pod update requires features %s which are not available on node %q", strings.Join(match.UnsatisfiedRequirements, ", "), pod.Spec.NodeName))
	}
	return nil
}
