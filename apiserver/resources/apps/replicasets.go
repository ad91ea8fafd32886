package apps

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/scale"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func replicaSets() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ReplicaSet"), Plural: "replicasets", Singular: "replicaset", ShortNames: []string{"rs"},
		Categories: []string{"all"}, Namespaced: true, StoragePrefix: "replicasets",
		New:     func() runtime.Object { return &appsv1.ReplicaSet{} },
		NewList: func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) {
				rs := obj.(*appsv1.ReplicaSet)
				podspec.DefaultTemplate(&rs.Spec.Template)
				if rs.Spec.Replicas == nil {
					rs.Spec.Replicas = ptr.To(int32(1))
				}
			},
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				rs := obj.(*appsv1.ReplicaSet)
				rs.Status, rs.Generation = appsv1.ReplicaSetStatus{}, 1
				podspec.DropDisabledTemplate(&rs.Spec.Template, nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				rs, was := obj.(*appsv1.ReplicaSet), old.(*appsv1.ReplicaSet)
				rs.Status, rs.Generation = was.Status, was.Generation
				podspec.DropDisabledTemplate(&rs.Spec.Template, &was.Spec.Template)
				if !apiequality.Semantic.DeepEqual(rs.Spec, was.Spec) {
					rs.Generation++
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				rs, path := obj.(*appsv1.ReplicaSet), field.NewPath("spec")
				errs := rules.NonNegative(int64(ptr.Deref(rs.Spec.Replicas, 0)), path.Child("replicas"))
				errs = append(errs, rules.NonNegative(int64(rs.Spec.MinReadySeconds), path.Child("minReadySeconds"))...)
				return append(errs, validateSelectorAndTemplate(rs.Spec.Selector, &rs.Spec.Template, path)...)
			},
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				return rules.Immutable(obj.(*appsv1.ReplicaSet).Spec.Selector, old.(*appsv1.ReplicaSet).Spec.Selector, field.NewPath("spec", "selector"))
			},
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(rs, old *appsv1.ReplicaSet) []string {
				if old != nil && rs.Generation == old.Generation {
					return nil
				}
				return podspec.TemplateWarnings(&rs.Spec.Template, field.NewPath("spec", "template"))
			}),
			AllowUnconditionalUpdate: true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{Columns: replicaSetColumns(), Cells: replicaSetCells},
		Subresources: []resource.Subresource{
			scale.Subresource(replicaSetScale),
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					obj.(*appsv1.ReplicaSet).Spec = old.(*appsv1.ReplicaSet).Spec
				},
				Validate: func(obj, _ runtime.Object) field.ErrorList {
					path, s := field.NewPath("status"), &obj.(*appsv1.ReplicaSet).Status
					errs := validateCounts(path, count{"replicas", s.Replicas}, count{"fullyLabeledReplicas", s.FullyLabeledReplicas},
						count{"readyReplicas", s.ReadyReplicas}, count{"availableReplicas", s.AvailableReplicas})
					errs = append(errs, validateTerminating(s.TerminatingReplicas, path)...)
					if s.AvailableReplicas > s.ReadyReplicas {
						errs = append(errs, field.Invalid(path.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas"))
					}
					return append(errs, rules.NonNegative(s.ObservedGeneration, path.Child("observedGeneration"))...)
				},
				ResetFields: specReset(),
			}},
		},
	}
}

func replicaSetScale(obj runtime.Object) (scale.View, error) {
	rs, ok := obj.(*appsv1.ReplicaSet)
	if !ok {
		return scale.View{}, fmt.Errorf("expected a ReplicaSet, got %T", obj)
	}
	text, err := selectorText(rs.Spec.Selector)
	return scale.View{
		Meta: &rs.ObjectMeta, Desired: ptr.Deref(rs.Spec.Replicas, 0), Current: rs.Status.Replicas,
		Set: func(n int32) { rs.Spec.Replicas = &n }, Selector: text,
	}, err
}

func replicaSetColumns() []metav1.TableColumnDefinition {
	return columns.Replicas(appsv1.ReplicaSetSpec{}.SwaggerDoc(), appsv1.ReplicaSetStatus{}.SwaggerDoc())
}

func replicaSetCells(obj runtime.Object, now time.Time) []any {
	rs := obj.(*appsv1.ReplicaSet)
	names, images := columns.Containers(rs.Spec.Template.Spec.Containers)
	return []any{
		rs.Name, int64(ptr.Deref(rs.Spec.Replicas, 0)), int64(rs.Status.Replicas), int64(rs.Status.ReadyReplicas),
		columns.Age(rs.CreationTimestamp, now), names, images, columns.Selector(rs.Spec.Selector),
	}
}
