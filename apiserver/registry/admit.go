package registry

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/strake-io/strake/apiserver/admission"
)

// Options are those that creates, updates and patches have in common, as the
// request gave them.
type Options struct {
	DryRun                        []string
	FieldManager, FieldValidation string
}

// For is the options object that admission sees: a patch has those of the create or
// update that it comes to. It is nil for other operations.
func (o Options) For(op admission.Operation) runtime.Object {
	kind := func(name string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: name}
	}
	switch op {
	case admission.Create:
		return &metav1.CreateOptions{
			TypeMeta: kind("CreateOptions"), DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation,
		}
	case admission.Update:
		return &metav1.UpdateOptions{
			TypeMeta: kind("UpdateOptions"), DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation,
		}
	}
	return nil
}

// deleteOptions are those of a delete as admission sees them.
func deleteOptions(opts *metav1.DeleteOptions) *metav1.DeleteOptions {
	o := *opts
	o.TypeMeta = metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "DeleteOptions"}
	return &o
}

// Attributes of a write of this resource, for admission. kind is that of obj; empty
// means the resource's own.
func (r *Registry) Attributes(w *Write, op admission.Operation, kind schema.GroupVersionKind, obj, old runtime.Object) *admission.Attributes {
	if kind.Empty() {
		kind = r.Resource.GVK
	}
	a := &admission.Attributes{
		Operation: op, Kind: kind, Resource: r.GroupVersionResource(), Subresource: w.Subresource,
		Namespace: w.Namespace, Name: w.Name, Object: obj, Old: old,
		User: w.User, DryRun: w.DryRun, Options: w.Options.For(op), Objects: r.set, Catalog: catalog{r.set}, Warn: w.Warn, Annotate: w.Annotate, Kept: w.kept,
	}
	if a.Resource.Group == "" && a.Resource.Resource == "namespaces" {
		a.Namespace = w.Name
	}
	if a.Warn == nil {
		a.Warn = func(string) {}
	}
	return a
}

func (r *Registry) attributes(w *Write, op admission.Operation, obj, old runtime.Object) *admission.Attributes {
	return r.Attributes(w, op, schema.GroupVersionKind{}, obj, old)
}

// AdmitShown runs the mutators on what a sub-resource shows of an object, and
// returns what they make of it.
func (r *Registry) AdmitShown(ctx context.Context, w Write, kind schema.GroupVersionKind, obj, old runtime.Object) (runtime.Object, error) {
	chain := r.set.config.Admission
	if w.Trusted || !chain.Mutates() {
		return obj, nil
	}
	a := r.Attributes(&w, admission.Update, kind, obj, old)
	if err := chain.Admit(ctx, a); err != nil {
		return nil, err
	}
	return a.Object, nil
}

// admitMutate runs the mutators and returns what they make of a.Object, with its
// defaults.
func (r *Registry) admitMutate(ctx context.Context, w *Write, a *admission.Attributes) (runtime.Object, error) {
	chain := r.set.config.Admission
	if w.Trusted || !chain.Mutates() {
		return a.Object, nil
	}
	was, err := meta.Accessor(a.Object)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	managed := was.GetManagedFields()
	if err := chain.Admit(ctx, a); err != nil {
		return nil, err
	}
	is, err := meta.Accessor(a.Object)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if err := brokenManagers(managed, is.GetManagedFields()); err != nil {
		is.SetManagedFields(managed)
		w.warn([]string{fmt.Sprintf(".metadata.managedFields was in an invalid state after admission; this could be caused by "+
			"an outdated mutating admission controller; please fix your requests: %v", err)})
	}
	w.dedupeOwners(is, true)
	if r.Resource.Default != nil {
		r.Resource.Default(a.Object)
	}
	return a.Object, nil
}

// brokenManagers says what is wrong with managed fields that mutators made of
// others. Those that they left alone are not looked at.
func brokenManagers(was, is []metav1.ManagedFieldsEntry) error {
	if len(is) == 0 || len(was) == len(is) && &was[0] == &is[0] {
		return nil
	}
	return managedfields.ValidateManagedFields(is)
}

func (r *Registry) admitValidate(ctx context.Context, w *Write, a *admission.Attributes) error {
	if w.Trusted {
		return nil
	}
	return r.set.config.Admission.Validate(ctx, a)
}
