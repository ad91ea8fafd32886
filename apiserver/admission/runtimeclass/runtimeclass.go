// Package runtimeclass is the admission plugin that completes a pod by its runtime
// class: what the runtime costs beside the containers, and where it is to be found.
package runtimeclass

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/admission"
)

var (
	errOtherOverhead = errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
	errOwnOverhead   = errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
)

// Plugin implements admission.Mutator and admission.Validator. The zero value is
// ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "RuntimeClass" }

func podOf(a *admission.Attributes) *corev1.Pod {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	return pod
}

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod := podOf(a)
	if pod == nil {
		return nil
	}
	class, err := classOf(ctx, a, pod)
	if err != nil || class == nil {
		return err
	}
	if o := class.Overhead; o != nil {
		if len(pod.Spec.Overhead) > 0 && !apiequality.Semantic.DeepEqual(o.PodFixed, pod.Spec.Overhead) {
			return a.Forbidden(errOtherOverhead)
		}
		pod.Spec.Overhead = o.PodFixed.DeepCopy()
	}
	if s := class.Scheduling; s != nil {
		return place(a, pod, s)
	}
	return nil
}

// place restricts a pod to the nodes that have its runtime.
func place(a *admission.Attributes, pod *corev1.Pod, s *nodev1.Scheduling) error {
	for key, value := range s.NodeSelector {
		if own, has := pod.Spec.NodeSelector[key]; has && own != value {
			return a.Forbidden(fmt.Errorf("conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, own))
		}
	}
	if pod.Spec.NodeSelector == nil {
		pod.Spec.NodeSelector = maps.Clone(s.NodeSelector)
	} else {
		maps.Copy(pod.Spec.NodeSelector, s.NodeSelector)
	}
	pod.Spec.Tolerations = merge(pod.Spec.Tolerations, s.Tolerations)
	return nil
}

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod := podOf(a)
	if pod == nil || pod.Spec.RuntimeClassName == nil && pod.Spec.Overhead == nil {
		return nil
	}
	class, err := classOf(ctx, a, pod)
	switch {
	case err != nil:
		return err
	case class == nil || class.Overhead == nil:
		if pod.Spec.Overhead != nil {
			return a.Forbidden(errOwnOverhead)
		}
	case !apiequality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead):
		return a.Forbidden(errOtherOverhead)
	}
	return nil
}

// classOf is the class that a pod names; nil where it names none.
func classOf(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*nodev1.RuntimeClass, error) {
	name := pod.Spec.RuntimeClassName
	if name == nil {
		return nil, nil
	}
	obj, err := a.Objects.Get(ctx, nodev1.Resource("runtimeclasses"), "", *name)
	if apierrors.IsNotFound(err) {
		return nil, a.Forbidden(fmt.Errorf("pod rejected: RuntimeClass %q not found", *name))
	}
	if err != nil {
		return nil, err
	}
	return obj.(*nodev1.RuntimeClass), nil
}
