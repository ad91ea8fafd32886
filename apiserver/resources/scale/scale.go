// Package scale declares the scale sub-resource of the kinds that count
// replicas of a pod template: an autoscaling/v1 Scale shown and written in
// their place.
package scale

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// View is what a scale shows of an object, and where to write.
type View struct {
	Meta *metav1.ObjectMeta
	// Desired is the object's spec.replicas; Set changes it.
	Desired int32
	Set     func(int32)
	// Current is status.replicas, Selector the string form of the selector.
	Current  int32
	Selector string
}

// Subresource makes the scale of a resource; view must know its Go type.
func Subresource(view func(obj runtime.Object) (View, error)) resource.Subresource {
	return resource.Subresource{
		Name: "scale",
		GVK:  schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"},
		New:  func() runtime.Object { return &autoscalingv1.Scale{} },
		Projection: &resource.Projection{
			Read: func(obj runtime.Object) (runtime.Object, error) {
				v, err := view(obj)
				if err != nil {
					return nil, err
				}
				return &autoscalingv1.Scale{
					TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
					ObjectMeta: metav1.ObjectMeta{
						Name:              v.Meta.Name,
						Namespace:         v.Meta.Namespace,
						UID:               v.Meta.UID,
						ResourceVersion:   v.Meta.ResourceVersion,
						CreationTimestamp: v.Meta.CreationTimestamp,
					},
					Spec:   autoscalingv1.ScaleSpec{Replicas: v.Desired},
					Status: autoscalingv1.ScaleStatus{Replicas: v.Current, Selector: v.Selector},
				}, nil
			},
			Write: func(obj, projected runtime.Object) error {
				s, ok := projected.(*autoscalingv1.Scale)
				if !ok {
					return fmt.Errorf("expected a Scale, got %T", projected)
				}
				v, err := view(obj)
				if err != nil {
					return err
				}
				v.Set(s.Spec.Replicas)
				return nil
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
