// Package ownerreferencespermissionenforcement is the admission plugin that lets owners
// be set only on what one may delete, and to hold an owner's deletion back only by who
// may change the owner's finalizers. It is off unless a program adds it.
// See https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#ownerreferencespermissionenforcement.
package ownerreferencespermissionenforcement

import (
	"context"
	"fmt"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Validator.
type Plugin struct {
	Authorizer authorizer.UnconditionalAuthorizer
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "OwnerReferencesPermissionEnforcement" }

// Validate implements admission.Validator.
func (p Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	// The status of a pod cannot change its owners.
	if a.Subresource == "status" && a.Resource.Group == "" && a.Resource.Resource == "pods" {
		return nil
	}
	now, was, changed := owners(a)
	if !changed {
		return nil
	}
	// Who creates an object could have left it, and so may say when it goes.
	if a.Operation == admission.Update {
		decision, reason, err := p.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: a.User, Verb: "delete", Namespace: a.Namespace, Name: a.Name, APIGroup: a.Resource.Group, APIVersion: a.Resource.Version,
			Resource: a.Resource.Resource, Subresource: a.Subresource, ResourceRequest: true,
		})
		if decision != authorizer.DecisionAllow {
			return a.Forbidden(fmt.Errorf("cannot set an ownerRef on a resource you can't delete: %v, %v", reason, err))
		}
	}
	blocking := newlyBlocking(now, was)
	if len(blocking) == 0 {
		return nil
	}
	anything := finalizers(a, schema.GroupVersionResource{Group: "*", Version: "*", Resource: "*"}, "*")
	if decision, _, _ := p.Authorizer.Authorize(ctx, anything); decision == authorizer.DecisionAllow {
		return nil
	}
	for _, ref := range blocking {
		what, err := ownerOf(a, ref)
		if err != nil {
			return a.Forbidden(fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s: %w", ref.APIVersion, ref.Kind, err))
		}
		if decision, reason, err := p.Authorizer.Authorize(ctx, what); decision != authorizer.DecisionAllow {
			return a.Forbidden(fmt.Errorf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %v, %v", reason, err))
		}
	}
	return nil
}

// owners are those that the object is to have and those that it has.
func owners(a *admission.Attributes) (now, was []metav1.OwnerReference, changed bool) {
	object, err := meta.Accessor(a.Object)
	if err != nil {
		return nil, nil, false
	}
	now = object.GetOwnerReferences()
	if a.Old == nil {
		return now, nil, len(now) > 0
	}
	old, err := meta.Accessor(a.Old)
	if err != nil {
		return nil, nil, false
	}
	was = old.GetOwnerReferences()
	return now, was, !slices.EqualFunc(now, was, func(a, b metav1.OwnerReference) bool { return apiequality.Semantic.DeepEqual(a, b) })
}

// newlyBlocking are the owners that the object holds back and did not before.
func newlyBlocking(now, was []metav1.OwnerReference) (refs []metav1.OwnerReference) {
	blocked := map[string]bool{}
	for _, ref := range was {
		blocked[string(ref.UID)] = ptr.Deref(ref.BlockOwnerDeletion, false) // the last of several, as upstream does it
	}
	for _, ref := range now {
		if ptr.Deref(ref.BlockOwnerDeletion, false) && !blocked[string(ref.UID)] {
			refs = append(refs, ref)
		}
	}
	return refs
}

func finalizers(a *admission.Attributes, of schema.GroupVersionResource, name string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: a.User, Verb: "update", APIGroup: of.Group, APIVersion: of.Version, Resource: of.Resource, Subresource: "finalizers",
		Name: name, ResourceRequest: true,
	}
}

// ownerOf is the request that would change the finalizers of an owner, which is in the
// namespace of what it owns if it is in any.
func ownerOf(a *admission.Attributes, ref metav1.OwnerReference) (authorizer.AttributesRecord, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return authorizer.AttributesRecord{}, err
	}
	served, ok := a.Catalog.ForKind(gv.WithKind(ref.Kind))
	if !ok {
		return authorizer.AttributesRecord{}, &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: gv.Group, Kind: ref.Kind}, SearchedVersions: []string{gv.Version}}
	}
	record := finalizers(a, served.Resource, ref.Name)
	if served.Namespaced {
		record.Namespace = a.Namespace
	}
	return record, nil
}
