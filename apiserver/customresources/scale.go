package customresources

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// scaleSubresource shows the fields that the definition names as an
// autoscaling/v1 Scale.
func (v *version) scaleSubresource() resource.Subresource {
	where := v.scale()
	replicas := steps(where.SpecReplicasPath)
	return resource.Subresource{
		Name: "scale",
		GVK:  autoscalingv1.SchemeGroupVersion.WithKind("Scale"),
		New:  func() runtime.Object { return &autoscalingv1.Scale{} },
		Projection: &resource.Projection{
			ReplicasPath: replicas,
			Read: func(obj runtime.Object) (runtime.Object, error) {
				u, ok := obj.(*unstructured.Unstructured)
				if !ok {
					return nil, fmt.Errorf("expected an unstructured object, got %T", obj)
				}
				desired, found, err := unstructured.NestedInt64(u.Object, replicas...)
				if err != nil {
					return nil, err
				}
				if !found {
					return nil, apierrors.NewInternalError(fmt.Errorf("the spec replicas field %q does not exist", where.SpecReplicasPath))
				}
				current, _, err := unstructured.NestedInt64(u.Object, steps(where.StatusReplicasPath)...)
				if err != nil {
					return nil, err
				}
				selector := ""
				if p := where.LabelSelectorPath; p != nil && *p != "" {
					if selector, _, err = unstructured.NestedString(u.Object, steps(*p)...); err != nil {
						return nil, err
					}
				}
				return &autoscalingv1.Scale{
					TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
					ObjectMeta: metav1.ObjectMeta{
						Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(),
						ResourceVersion: u.GetResourceVersion(), CreationTimestamp: u.GetCreationTimestamp(),
					},
					Spec:   autoscalingv1.ScaleSpec{Replicas: int32(desired)},
					Status: autoscalingv1.ScaleStatus{Replicas: int32(current), Selector: selector},
				}, nil
			},
			Write: func(obj, projected runtime.Object) error {
				u, isObject := obj.(*unstructured.Unstructured)
				s, isScale := projected.(*autoscalingv1.Scale)
				if !isObject || !isScale {
					return fmt.Errorf("expected an unstructured object and a Scale, got %T and %T", obj, projected)
				}
				return unstructured.SetNestedField(u.Object, int64(s.Spec.Replicas), replicas...)
			},
			Validate: func(projected runtime.Object) field.ErrorList {
				s, ok := projected.(*autoscalingv1.Scale)
				if !ok {
					return field.ErrorList{field.InternalError(nil, fmt.Errorf("expected a Scale, got %T", projected))}
				}
				return rules.NonNegative(int64(s.Spec.Replicas), field.NewPath("spec", "replicas"))
			},
		},
	}
}
