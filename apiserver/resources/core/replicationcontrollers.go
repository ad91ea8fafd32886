package core

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/scale"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func replicationControllers() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ReplicationController"), Plural: "replicationcontrollers", Singular: "replicationcontroller",
		ShortNames: []string{"rc"}, Categories: []string{"all"}, Namespaced: true, StoragePrefix: "controllers",
		New:     func() runtime.Object { return &corev1.ReplicationController{} },
		NewList: func() runtime.Object { return &corev1.ReplicationControllerList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { defaultController(obj.(*corev1.ReplicationController)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				rc := obj.(*corev1.ReplicationController)
				rc.Status, rc.Generation = corev1.ReplicationControllerStatus{}, 1
				podspec.DropDisabledTemplate(rc.Spec.Template, nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				rc, was := obj.(*corev1.ReplicationController), old.(*corev1.ReplicationController)
				rc.Status, rc.Generation = was.Status, was.Generation
				podspec.DropDisabledTemplate(rc.Spec.Template, was.Spec.Template)
				if !apiequality.Semantic.DeepEqual(rc.Spec, was.Spec) {
					rc.Generation++
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				return validateController(obj.(*corev1.ReplicationController))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			Warnings:                 typed.Warnings(controllerWarnings),
			AllowUnconditionalUpdate: true,
			// The oldest of the workloads leaves its pods behind, as it did before
			// garbage collection was known.
			DefaultPropagation: metav1.DeletePropagationOrphan,
			ResetFields:        statusReset(),
		},
		Table: resource.Table{Columns: controllerColumns(), Cells: controllerCells},
		SelectableFields: func(obj runtime.Object) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(obj.(*corev1.ReplicationController).Status.Replicas))}
		},
		Subresources: []resource.Subresource{
			scale.Subresource(controllerScale),
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					obj.(*corev1.ReplicationController).Spec = old.(*corev1.ReplicationController).Spec
				},
				Validate: func(obj, _ runtime.Object) field.ErrorList {
					return validateControllerStatus(obj.(*corev1.ReplicationController).Status, field.NewPath("status"))
				},
				ResetFields: specReset(),
			}},
		},
	}
}

func controllerWarnings(rc, old *corev1.ReplicationController) []string {
	var out []string
	if old == nil {
		if messages := validation.IsDNS1123Label(rc.Name); len(messages) > 0 {
			out = append(out, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages))
		}
	} else if rc.Generation == old.Generation {
		return nil
	}
	if rc.Spec.Template == nil {
		return out
	}
	return append(out, podspec.TemplateWarnings(rc.Spec.Template, field.NewPath("spec", "template"))...)
}

func defaultController(rc *corev1.ReplicationController) {
	if t := rc.Spec.Template; t != nil {
		podspec.DefaultTemplate(t)
		// The template's labels select and describe, unless others are given.
		if len(t.Labels) > 0 {
			if len(rc.Spec.Selector) == 0 {
				rc.Spec.Selector = copyLabels(t.Labels)
			}
			if len(rc.Labels) == 0 {
				rc.Labels = copyLabels(t.Labels)
			}
		}
	}
	if rc.Spec.Replicas == nil {
		rc.Spec.Replicas = ptr.To(int32(1))
	}
}

func copyLabels(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}

func validateController(rc *corev1.ReplicationController) field.ErrorList {
	path := field.NewPath("spec")
	errs := rules.NonNegative(int64(rc.Spec.MinReadySeconds), path.Child("minReadySeconds"))
	if len(rc.Spec.Selector) == 0 {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	errs = append(errs, rules.NonNegative(int64(ptr.Deref(rc.Spec.Replicas, 0)), path.Child("replicas"))...)
	if rc.Spec.Template == nil {
		return append(errs, field.Required(path.Child("template"), ""))
	}
	var selected func(map[string]string) bool
	if len(rc.Spec.Selector) > 0 {
		selector := labels.SelectorFromSet(rc.Spec.Selector)
		selected = func(l map[string]string) bool { return selector.Matches(labels.Set(l)) }
	}
	return append(errs, podspec.ValidateTemplateFor("ReplicationController", rc.Spec.Template, selected, path.Child("template"))...)
}

func validateControllerStatus(s corev1.ReplicationControllerStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const most = "cannot be greater than status.replicas"
	for _, f := range []struct {
		name  string
		value int32
	}{
		{"replicas", s.Replicas}, {"fullyLabeledReplicas", s.FullyLabeledReplicas},
		{"readyReplicas", s.ReadyReplicas}, {"availableReplicas", s.AvailableReplicas},
	} {
		errs = append(errs, rules.NonNegative(int64(f.value), path.Child(f.name))...)
		if f.value > s.Replicas {
			errs = append(errs, field.Invalid(path.Child(f.name), f.value, most))
		}
	}
	errs = append(errs, rules.NonNegative(s.ObservedGeneration, path.Child("observedGeneration"))...)
	if s.AvailableReplicas > s.ReadyReplicas {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas"))
	}
	return errs
}

func controllerScale(obj runtime.Object) (scale.View, error) {
	rc, ok := obj.(*corev1.ReplicationController)
	if !ok {
		return scale.View{}, fmt.Errorf("expected a ReplicationController, got %T", obj)
	}
	return scale.View{
		Meta: &rc.ObjectMeta, Desired: ptr.Deref(rc.Spec.Replicas, 0), Current: rc.Status.Replicas,
		Set:      func(n int32) { rc.Spec.Replicas = &n },
		Selector: labels.SelectorFromSet(rc.Spec.Selector).String(),
	}, nil
}

func controllerColumns() []metav1.TableColumnDefinition {
	return columns.Replicas(corev1.ReplicationControllerSpec{}.SwaggerDoc(), corev1.ReplicationControllerStatus{}.SwaggerDoc())
}

func controllerCells(obj runtime.Object, now time.Time) []any {
	rc := obj.(*corev1.ReplicationController)
	var names, images string
	if rc.Spec.Template != nil {
		names, images = columns.Containers(rc.Spec.Template.Spec.Containers)
	}
	return []any{
		rc.Name, int64(ptr.Deref(rc.Spec.Replicas, 0)), int64(rc.Status.Replicas), int64(rc.Status.ReadyReplicas),
		columns.Age(rc.CreationTimestamp, now), names, images, columns.Labels(rc.Spec.Selector),
	}
}
