// Package priority is the admission plugin that turns the name of a pod's priority
// class into its priority, and keeps it to one default class.
package priority

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

var priorityClasses = schedulingv1.Resource("priorityclasses")

// Plugin implements admission.Mutator and admission.Validator. The zero value is
// ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "Priority" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || a.Resource.Resource != "pods" {
		return nil
	}
	switch a.Operation {
	case admission.Create:
		return resolve(ctx, a, pod)
	case admission.Update:
		keep(pod, a.Old)
	}
	return nil
}

// keep fills in what an update leaves out, from a client that knows the pod only as
// it once created it. Whatever else it changes, validation refuses.
func keep(pod *corev1.Pod, stored any) {
	old, ok := stored.(*corev1.Pod)
	if !ok {
		return
	}
	if pod.Spec.Priority == nil {
		pod.Spec.Priority = ptrTo(old.Spec.Priority)
	}
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = ptrTo(old.Spec.PreemptionPolicy)
	}
}

// ptrTo copies what p points to, which belongs to a shared object.
func ptrTo[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return ptr.To(*p)
}

func resolve(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) error {
	class, err := classOf(ctx, a, pod.Spec.PriorityClassName)
	if err != nil {
		return err
	}
	if given := pod.Spec.Priority; given != nil && *given != class.Value {
		return a.Forbidden(fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *given, class.Value))
	}
	pod.Spec.PriorityClassName, pod.Spec.Priority = class.Name, ptr.To(class.Value)
	if class.PreemptionPolicy == nil {
		return nil
	}
	if given := pod.Spec.PreemptionPolicy; given != nil && *given != *class.PreemptionPolicy {
		return a.Forbidden(fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *given, *class.PreemptionPolicy))
	}
	pod.Spec.PreemptionPolicy = ptr.To(*class.PreemptionPolicy)
	return nil
}

// none is the class of pods that name none where none is the default.
var none = &schedulingv1.PriorityClass{PreemptionPolicy: ptr.To(corev1.PreemptLowerPriority)}

func classOf(ctx context.Context, a *admission.Attributes, name string) (*schedulingv1.PriorityClass, error) {
	if name == "" {
		class, err := defaultClass(ctx, a)
		if class == nil {
			class = none
		}
		return class, err
	}
	obj, err := a.Objects.Get(ctx, priorityClasses, "", name)
	if apierrors.IsNotFound(err) {
		return nil, a.Forbidden(fmt.Errorf("no PriorityClass with name %v was found", name))
	}
	if err != nil {
		return nil, fmt.Errorf("failed to resolve PriorityClass with name %s: %w", name, err)
	}
	return obj.(*schedulingv1.PriorityClass), nil
}

// defaultClass is nil where there is none. Two writers at one instant can make two;
// the lower one counts.
func defaultClass(ctx context.Context, a *admission.Attributes) (*schedulingv1.PriorityClass, error) {
	all, err := a.Objects.List(ctx, priorityClasses, "")
	if err != nil {
		return nil, fmt.Errorf("error occurred while retrieving default priority class: %w", err)
	}
	var found *schedulingv1.PriorityClass
	for _, obj := range all {
		if class, ok := obj.(*schedulingv1.PriorityClass); ok && class.GlobalDefault && (found == nil || class.Value < found.Value) {
			found = class
		}
	}
	return found, nil
}

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	class, ok := a.Object.(*schedulingv1.PriorityClass)
	if !ok || a.Subresource != "" || !class.GlobalDefault || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	other, err := defaultClass(ctx, a)
	if err != nil {
		return err
	}
	if other != nil && (a.Operation == admission.Create || other.Name != class.Name) {
		return a.Forbidden(fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", other.Name))
	}
	return nil
}
