package policy

import (
	"context"
	"errors"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
)

// maxParams bounds how many parameters one binding evaluates its policy with.
const maxParams = 10_000

// collect finds the parameters that a binding evaluates its policy with: a single
// nil where the policy or the binding has none. None at all means that the binding
// does not match, or lets everything pass.
func collect(ctx context.Context, a *admission.Attributes, b *binding, params *admission.Served) ([]runtime.Object, error) {
	if b.broken != nil {
		return nil, b.broken
	}
	if _, matched, err := b.criteria.Match(ctx, a); err != nil || !matched {
		return nil, err
	}
	if params == nil || b.ref == nil {
		return []runtime.Object{nil}, nil
	}
	namespace, err := paramNamespace(a, b.ref, params)
	if err != nil {
		return nil, err
	}
	found, err := findParams(ctx, a.Catalog, b.ref, params, namespace)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && b.ref.ParameterNotFoundAction != nil && *b.ref.ParameterNotFoundAction == admissionv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	return found, nil
}

func paramNamespace(a *admission.Attributes, ref *admissionv1.ParamRef, params *admission.Served) (string, error) {
	switch {
	case !params.Namespaced && ref.Namespace != "":
		return "", errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	case !params.Namespaced:
		return "", nil
	case ref.Namespace != "":
		return ref.Namespace, nil
	case a.Namespace == "":
		return "", errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
	}
	return a.Namespace, nil
}

func findParams(ctx context.Context, catalog admission.Catalog, ref *admissionv1.ParamRef, params *admission.Served, namespace string) ([]runtime.Object, error) {
	switch {
	case ref.Name != "" && ref.Selector != nil:
		return nil, errors.New("paramRef.name and paramRef.selector are mutually exclusive")
	case ref.Name != "":
		obj, err := catalog.Get(ctx, params.Kind, namespace, ref.Name)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []runtime.Object{codec.WithKind(obj, params.Kind)}, nil
	case ref.Selector == nil:
		return nil, errors.New("one of name or selector must be provided")
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return nil, err
	}
	all, err := catalog.List(ctx, params.Kind, namespace)
	if err != nil {
		return nil, err
	}
	var found []runtime.Object
	for _, obj := range all {
		m, err := meta.Accessor(obj)
		if err != nil || !selector.Matches(labels.Set(m.GetLabels())) {
			continue
		}
		if len(found) == maxParams {
			return nil, errors.New("the selector of paramRef selects more than 10000 params")
		}
		found = append(found, codec.WithKind(obj, params.Kind))
	}
	return found, nil
}
