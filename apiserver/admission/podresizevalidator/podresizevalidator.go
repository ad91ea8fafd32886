// Package podresizevalidator is the admission plugin that refuses to make a running
// pod larger than its node. Source: KEP-1287.
package podresizevalidator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/placedpod"
)

// The causes by which clients tell why.
const (
	ReasonNodeCapacity        metav1.CauseType = "NodeCapacity"
	ReasonUnsupportedPlatform metav1.CauseType = "UnsupportedPlatform"
)

// Plugin implements admission.Validator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "PodResizeValidator" }

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, _ := placedpod.Changed(a)
	if pod == nil || a.Subresource != "resize" {
		return nil
	}
	node, err := placedpod.Node(ctx, a, pod)
	if err != nil {
		return err
	}
	if os, has := node.Labels[corev1.LabelOSStable]; has && os != "linux" {
		return refuse(a, ReasonUnsupportedPlatform, fmt.Errorf("pod resize is only supported on linux nodes, node %q is %q", node.Name, os))
	}
	if excess := excessOver(node, pod); len(excess) > 0 {
		return refuse(a, ReasonNodeCapacity, fmt.Errorf("node didn't have enough allocatable resources: %s", strings.Join(excess, "; ")))
	}
	return nil
}

// excessOver names what the pod alone wants more of than its node has.
func excessOver(node *corev1.Node, pod *corev1.Pod) []string {
	wanted := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	var excess []string
	if cpu, has := wanted.Cpu(), node.Status.Allocatable.Cpu(); cpu.Cmp(*has) > 0 {
		excess = append(excess, fmt.Sprintf("cpu, requested: %d, allocatable: %d", cpu.MilliValue(), has.MilliValue()))
	}
	if memory, has := wanted.Memory(), node.Status.Allocatable.Memory(); memory.Cmp(*has) > 0 {
		excess = append(excess, fmt.Sprintf("memory, requested: %d, allocatable: %d", memory.Value(), has.Value()))
	}
	return excess
}

func refuse(a *admission.Attributes, why metav1.CauseType, err error) error {
	refusal := a.Forbidden(err)
	var status *apierrors.StatusError
	if errors.As(refusal, &status) && status.ErrStatus.Details != nil {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: why})
	}
	return refusal
}
