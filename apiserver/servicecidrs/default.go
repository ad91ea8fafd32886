package servicecidrs

import (
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Default is the name of the ServiceCIDR that has the cluster's own ranges.
const Default = "kubernetes"

// readyMessage is what the default one says until the controller has looked at it.
const readyMessage = "Kubernetes default Service CIDR is ready"

// step is what the default ServiceCIDR needs.
type step int

const (
	nothing step = iota
	// create it.
	create
	// extend it by the range of a second family.
	extend
	// approve it: say that it is ready.
	approve
)

// complaint is what the operator should know of the default ServiceCIDR. Each kind is
// told once.
type complaint struct {
	kind            string
	reason, message string
}

const (
	mismatch = "mismatch"
	notReady = "not ready"
)

// decide compares the default ServiceCIDR, nil if there is none, with the ranges that
// the server is configured for. It leaves to the controller what the controller has
// begun: one that is being deleted, and one that is not ready.
func decide(found *networkingv1.ServiceCIDR, configured []string) (step, *complaint) {
	if found == nil {
		return create, nil
	}
	has := found.Spec.CIDRs
	if len(configured) == 2 && len(has) == 1 && has[0] == configured[0] {
		return extend, nil
	}
	if found.DeletionTimestamp != nil {
		return nothing, nil
	}
	if !slices.Equal(has, configured) {
		return nothing, &complaint{mismatch, "KubernetesDefaultServiceCIDRInconsistent",
			fmt.Sprintf("The default ServiceCIDR %v does not match the controller flag configurations %s", has, configured)}
	}
	ready := meta.FindStatusCondition(found.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	switch {
	case ready == nil || ready.Status == metav1.ConditionUnknown:
		return approve, nil
	case ready.Status == metav1.ConditionFalse:
		return nothing, &complaint{notReady, ready.Reason, "Configuration matches, but " + ready.Message}
	}
	return nothing, nil
}
