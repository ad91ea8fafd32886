package policy

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
)

// authorise asks whether who writes a policy or a binding may read its parameters:
// the messages of a policy can tell what is in them. Its error is that of a check of
// the object, as upstream's is.
func (c Config) authorise(ctx context.Context, a *admission.Attributes) error {
	if a.Resource.Group != admissionv1.GroupName || a.Subresource != "" || a.Object == nil || a.User == nil ||
		slices.Contains(a.User.GetGroups(), user.SystemPrivilegedGroup) {
		return nil
	}
	if kind := paramKindOf(a.Object); kind != nil && !apiequality.Semantic.DeepEqual(kind, paramKindOf(a.Old)) {
		what := c.paramResource(a, kind)
		what.Verb, what.Name, what.Namespace = "get", "*", "*"
		return c.require(ctx, a, what, field.NewPath("spec", "paramKind"), fmt.Sprintf(
			`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`, a.User, kind.Kind, kind.APIVersion))
	}
	policy, ref := paramRefOf(a.Object)
	wasPolicy, was := paramRefOf(a.Old)
	if ref == nil || was != nil && policy == wasPolicy && apiequality.Semantic.DeepEqual(ref, was) {
		return nil
	}
	// The resource of the policy's parameters, or any where that is not known yet.
	of := group("validatingadmissionpolicies")
	if _, ok := a.Object.(*admissionv1.MutatingAdmissionPolicyBinding); ok {
		of = group("mutatingadmissionpolicies")
	}
	var kind *admissionv1.ParamKind
	if obj, err := a.Objects.Get(ctx, of, "", policy); err == nil {
		kind = paramKindOf(obj)
	}
	what := c.paramResource(a, kind)
	what.Verb, what.Name, what.Namespace = "get", ref.Name, ref.Namespace
	if ref.Name == "" {
		what.Verb = "list"
	}
	// Upstream says it in this order.
	return c.require(ctx, a, what, field.NewPath("spec", "paramRef"), fmt.Sprintf(
		`user %v does not have "%v" permission on the object referenced by paramRef`, what.Verb, a.User))
}

func (c Config) paramResource(a *admission.Attributes, kind *admissionv1.ParamKind) authorizer.AttributesRecord {
	what := authorizer.AttributesRecord{User: a.User, ResourceRequest: true, APIGroup: "*", APIVersion: "*", Resource: "*"}
	if kind == nil {
		return what
	}
	gv, err := schema.ParseGroupVersion(kind.APIVersion)
	if err != nil {
		return what
	}
	what.APIGroup, what.APIVersion = gv.Group, gv.Version
	if served, ok := a.Catalog.ForKind(gv.WithKind(kind.Kind)); ok {
		what.Resource = served.Resource.Resource
	}
	return what
}

func (c Config) require(ctx context.Context, a *admission.Attributes, what authorizer.Attributes, path *field.Path, message string) error {
	decision, _, err := c.Authorizer.Authorize(ctx, what)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		message = err.Error()
	}
	return apierrors.NewInvalid(a.Kind.GroupKind(), a.Name, field.ErrorList{field.Forbidden(path, message)})
}

// paramKindOf is the kind of a policy's parameters; nil where it has none.
func paramKindOf(obj runtime.Object) *admissionv1.ParamKind {
	switch p := obj.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		return p.Spec.ParamKind
	case *admissionv1.MutatingAdmissionPolicy:
		return p.Spec.ParamKind
	}
	return nil
}

func paramRefOf(obj runtime.Object) (policy string, ref *admissionv1.ParamRef) {
	switch b := obj.(type) {
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		return b.Spec.PolicyName, b.Spec.ParamRef
	case *admissionv1.MutatingAdmissionPolicyBinding:
		return b.Spec.PolicyName, b.Spec.ParamRef
	}
	return "", nil
}
