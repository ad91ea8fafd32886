package core

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
)

var podResource = schema.GroupResource{Resource: "pods"}

// bindings is the older place to POST a Binding to, beside pods/binding.
func bindings() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Binding"), Plural: "bindings", Singular: "binding", Namespaced: true,
		New:   func() runtime.Object { return &corev1.Binding{} },
		Verbs: []string{"create"},
		Create: func(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
			if req.Name = obj.(*corev1.Binding).Name; req.Name == "" {
				return nil, apierrors.NewBadRequest("Name parameter required.")
			}
			return bindPod(ctx, req, obj, objects)
		},
	}
}

// bindPod assigns a pod to a node: once, and not while it is being deleted.
func bindPod(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
	binding, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %#v", obj))
	}
	if binding.Name != req.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if err := Bind(ctx, req, binding, objects); err != nil {
		return nil, err
	}
	return created(), nil
}

// Bind assigns the pod that the request names to a node, as POST of the binding
// does. It is exported for a scheduler in the same process.
func Bind(ctx context.Context, req resource.Request, binding *corev1.Binding, objects resource.Objects) error {
	if errs := validateBinding(binding); len(errs) > 0 {
		// Upstream answers 500 here, without a reason.
		return errs.ToAggregate()
	}
	_, err := objects.Update(ctx, req, podResource, req.Namespace, req.Name, func(obj runtime.Object) error {
		pod := obj.(*corev1.Pod)
		if err := isMeant(pod, binding); err != nil {
			return apierrors.NewConflict(podResource, req.Name, err)
		}
		if err := assign(pod, binding, metav1.Now()); err != nil {
			return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, req.Name, err)
		}
		return nil
	})
	return err
}

// created is the answer of the sub-resources that only do something.
func created() *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusSuccess,
		Code:     http.StatusCreated,
	}
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("target")
	if k := b.Target.Kind; k != "" && k != "Node" {
		errs = append(errs, field.NotSupported(path.Child("kind"), k, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	return errs
}

// isMeant says whether a binding is for this pod, or for another of the name or for
// what it was.
func isMeant(pod *corev1.Pod, binding *corev1.Binding) error {
	refuse := func(of string, given, is any) error {
		return fmt.Errorf("StorageError: invalid object, Code: 4, Key: /registry/pods/%s/%s, ResourceVersion: 0, AdditionalErrorMsg: "+
			"Precondition failed: %s in precondition: %v, %s in object meta: %v", pod.Namespace, pod.Name, of, given, of, is)
	}
	switch {
	case binding.UID != "" && binding.UID != pod.UID:
		return refuse("UID", binding.UID, pod.UID)
	case binding.ResourceVersion != "" && binding.ResourceVersion != pod.ResourceVersion:
		return refuse("ResourceVersion", binding.ResourceVersion, pod.ResourceVersion)
	}
	return nil
}

// assign changes a pod as a binding says, or says why it may not.
func assign(pod *corev1.Pod, binding *corev1.Binding, now metav1.Time) error {
	switch {
	case pod.DeletionTimestamp != nil:
		return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return fmt.Errorf("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return fmt.Errorf("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = binding.Target.Name
	pod.Status.NominatedNodeName = ""
	for k, v := range binding.Annotations {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[k] = v
	}
	for k, v := range binding.Labels {
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[k] = v
	}
	setScheduled(pod, now)
	return nil
}

func setScheduled(pod *corev1.Pod, now metav1.Time) {
	setCondition(&pod.Status, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now})
}

// setCondition replaces the condition of that type; the time of the last
// transition stays where the status does.
func setCondition(status *corev1.PodStatus, c corev1.PodCondition) {
	for i := range status.Conditions {
		if have := &status.Conditions[i]; have.Type == c.Type {
			if have.Status == c.Status {
				c.LastTransitionTime = have.LastTransitionTime
			}
			*have = c
			return
		}
	}
	status.Conditions = append(status.Conditions, c)
}
