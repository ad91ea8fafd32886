// Package apiextensions declares the resource customresourcedefinitions: its
// defaults, its validation with all rules for schemas and their CEL rules, and how
// kubectl prints it. What a definition defines is served by package
// apiserver/customresources.
//
// What a definition may cost is bounded: one CEL rule an estimate of
// [MaxRuleCost], the rules of a version together [MaxSchemaCost], both checked
// when the definition is written; the size of a schema by that of a request.
package apiextensions

import (
	"slices"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK:    apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"),
		Plural: "customresourcedefinitions", ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"},
		StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions", StoredForm: storedForm(),
		New:     func() runtime.Object { return &apiextensionsv1.CustomResourceDefinition{} },
		NewList: func() runtime.Object { return &apiextensionsv1.CustomResourceDefinitionList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { setDefaults(obj.(*apiextensionsv1.CustomResourceDefinition)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				prepareForCreate(obj.(*apiextensionsv1.CustomResourceDefinition))
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				prepareForUpdate(obj.(*apiextensionsv1.CustomResourceDefinition), old.(*apiextensionsv1.CustomResourceDefinition))
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				return Validate(obj.(*apiextensionsv1.CustomResourceDefinition))
			},
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				return ValidateUpdate(obj.(*apiextensionsv1.CustomResourceDefinition), old.(*apiextensionsv1.CustomResourceDefinition))
			},
			Warnings: func(obj, old runtime.Object) []string {
				was, _ := old.(*apiextensionsv1.CustomResourceDefinition)
				return warnings(obj.(*apiextensionsv1.CustomResourceDefinition), was)
			},
			// A definition stays until its objects are gone.
			Held: func(obj runtime.Object) bool {
				return obj.(*apiextensionsv1.CustomResourceDefinition).DeletionTimestamp == nil
			},
			PrepareForDelete: func(obj runtime.Object) {
				prepareForDelete(obj.(*apiextensionsv1.CustomResourceDefinition), time.Now())
			},
			ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("status")),
		},
		Table: table(),
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				prepareForStatus(obj.(*apiextensionsv1.CustomResourceDefinition), old.(*apiextensionsv1.CustomResourceDefinition))
			},
			Validate: func(obj, _ runtime.Object) field.ErrorList {
				return validateStatus(internal(obj.(*apiextensionsv1.CustomResourceDefinition)))
			},
			ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("spec")),
		}}},
	}}
}

func setDefaults(crd *apiextensionsv1.CustomResourceDefinition) {
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	if crd.Status.Conditions == nil {
		crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{}
	}
	if crd.Status.StoredVersions == nil {
		crd.Status.StoredVersions = []string{}
	}
}

func prepareForCreate(crd *apiextensionsv1.CustomResourceDefinition) {
	crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	crd.Generation = 1
	addStoredVersion(crd)
}

func prepareForUpdate(crd, old *apiextensionsv1.CustomResourceDefinition) {
	old.Status.DeepCopyInto(&crd.Status)
	if !apiequality.Semantic.DeepEqual(crd.Spec, old.Spec) {
		crd.Generation = old.Generation + 1
	}
	addStoredVersion(crd)
}

// addStoredVersion records that objects may be stored in the storage version now.
func addStoredVersion(crd *apiextensionsv1.CustomResourceDefinition) {
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			if !slices.Contains(crd.Status.StoredVersions, v.Name) {
				crd.Status.StoredVersions = append(crd.Status.StoredVersions, v.Name)
			}
			return
		}
	}
}

func prepareForStatus(crd, old *apiextensionsv1.CustomResourceDefinition) {
	// Metadata may change this way, as upstream: finalizers are taken away by it.
	old.Spec.DeepCopyInto(&crd.Spec)
}

// prepareForDelete lets the definition stay until its objects are deleted.
func prepareForDelete(crd *apiextensionsv1.CustomResourceDefinition, now time.Time) {
	if !slices.Contains(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) {
		crd.Finalizers = append(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer)
	}
	apihelpers.SetCRDCondition(crd, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionPending",
		Message:            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
		LastTransitionTime: metav1.NewTime(now),
	})
}

// internal is a definition in the form in which upstream validates it: what all
// versions have in common stands outside of them, which the paths of errors show.
// The result shares memory with crd and is read-only.
func internal(crd *apiextensionsv1.CustomResourceDefinition) *apiextensions.CustomResourceDefinition {
	out := &apiextensions.CustomResourceDefinition{}
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd.DeepCopy(), out, nil); err != nil {
		// Raw values are JSON by then: they have been decoded.
		return &apiextensions.CustomResourceDefinition{ObjectMeta: crd.ObjectMeta}
	}
	return out
}
