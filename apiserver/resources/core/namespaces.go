package core

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

func namespaces() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Namespace"), Plural: "namespaces", Singular: "namespace", ShortNames: []string{"ns"},
		StoragePrefix: "namespaces",
		New:           func() runtime.Object { return &corev1.Namespace{} },
		NewList:       func() runtime.Object { return &corev1.NamespaceList{} },
		// Namespaces are deleted one by one: deleting a collection of them would
		// be too easy an accident.
		Verbs: []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { defaultNamespace(obj.(*corev1.Namespace)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				ns := obj.(*corev1.Namespace)
				ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
				// What holds a namespace until its content is gone.
				if !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
					ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
				}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				ns, was := obj.(*corev1.Namespace), old.(*corev1.Namespace)
				ns.Spec.Finalizers, ns.Status = was.Spec.Finalizers, was.Status
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				path := field.NewPath("spec", "finalizers")
				return validateFinalizers(obj.(*corev1.Namespace), func(int) *field.Path { return path })
			},
			// What an update says of finalizers is not heeded.
			ValidateChange:           func(_, _ runtime.Object) field.ErrorList { return nil },
			NameError:                apivalidation.NameIsDNSLabel,
			AllowUnconditionalUpdate: true,
			PrepareForDelete: func(obj runtime.Object) {
				ns := obj.(*corev1.Namespace)
				ns.Status.Phase, ns.DeletionGracePeriodSeconds = corev1.NamespaceTerminating, nil
			},
			Held:        func(obj runtime.Object) bool { return len(obj.(*corev1.Namespace).Spec.Finalizers) > 0 },
			ResetFields: statusReset(),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Status", "The status of the namespace"), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				ns := obj.(*corev1.Namespace)
				return []any{ns.Name, string(ns.Status.Phase), columns.Age(ns.CreationTimestamp, now)}
			},
		},
		SelectableFields: func(obj runtime.Object) fields.Set {
			ns := obj.(*corev1.Namespace)
			return fields.Set{"status.phase": string(ns.Status.Phase)}
		},
		Subresources: []resource.Subresource{
			{Name: "finalize", Verbs: []string{"update"}, View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					obj.(*corev1.Namespace).Status = old.(*corev1.Namespace).Status
				},
				Validate: func(obj, _ runtime.Object) field.ErrorList {
					path := field.NewPath("spec", "finalizers")
					return validateFinalizers(obj.(*corev1.Namespace), path.Index)
				},
				ResetFields: statusReset(),
			}},
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					obj.(*corev1.Namespace).Spec = old.(*corev1.Namespace).Spec
				},
				Validate:    func(obj, _ runtime.Object) field.ErrorList { return validateNamespaceStatus(obj.(*corev1.Namespace)) },
				ResetFields: specReset(),
			}},
		},
	}
}

// defaultNamespace keeps the label by which selectors find a namespace by name.
func defaultNamespace(ns *corev1.Namespace) {
	if ns.Name == "" {
		return
	}
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

func validateNamespaceStatus(ns *corev1.Namespace) field.ErrorList {
	path := field.NewPath("status", "Phase")
	if ns.DeletionTimestamp.IsZero() {
		if ns.Status.Phase != corev1.NamespaceActive {
			return field.ErrorList{field.Invalid(path, ns.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
		}
		return nil
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		return field.ErrorList{field.Invalid(path, ns.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}

func validateFinalizers(ns *corev1.Namespace, at func(int) *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, f := range ns.Spec.Finalizers {
		name, path := string(f), at(i)
		errs = append(errs, apivalidation.ValidateFinalizerName(name, path)...)
		if !strings.Contains(name, "/") && !slices.Contains(plainFinalizers, name) {
			errs = append(errs, field.Invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// plainFinalizers are those whose names have no domain.
var plainFinalizers = []string{string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents}
