package authorization

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// attributes is the question that a review asks the authorizer.
func attributes(who user.Info, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizer.AttributesRecord {
	if r == nil {
		a := authorizer.AttributesRecord{User: who}
		if n != nil {
			a.Verb, a.Path = n.Verb, n.Path
		}
		return a
	}
	a := authorizer.AttributesRecord{
		User: who, Verb: r.Verb, Namespace: r.Namespace, APIGroup: r.Group, APIVersion: matchAll(r.Version),
		Resource: r.Resource, Subresource: r.Subresource, Name: r.Name, ResourceRequest: true,
	}
	if s := r.LabelSelector; s != nil {
		a.LabelSelectorRequirements, a.LabelSelectorParsingErr = labelRequirements(s)
	}
	if s := r.FieldSelector; s != nil {
		a.FieldSelectorRequirements, a.FieldSelectorParsingErr = fieldRequirements(s)
	}
	return a
}

// matchAll: a review that names no version asks about all.
func matchAll(version string) string {
	if version == "" {
		return "*"
	}
	return version
}

func labelRequirements(s *authorizationv1.LabelSelectorAttributes) (labels.Requirements, error) {
	if s.RawSelector != "" {
		return labels.ParseToRequirements(s.RawSelector)
	}
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: s.Requirements})
	if err != nil {
		return nil, err
	}
	requirements, _ := selector.Requirements()
	return requirements, nil
}

func fieldRequirements(s *authorizationv1.FieldSelectorAttributes) (fields.Requirements, error) {
	if s.RawSelector != "" {
		selector, err := fields.ParseSelector(s.RawSelector)
		if err != nil {
			return nil, err
		}
		return selector.Requirements(), nil
	}
	var out fields.Requirements
	for _, r := range s.Requirements {
		// Only equality with one value narrows a list of objects.
		if len(r.Values) != 1 {
			continue
		}
		switch r.Operator {
		case metav1.FieldSelectorOpIn:
			out = append(out, fields.Requirement{Operator: selection.Equals, Field: r.Key, Value: r.Values[0]})
		case metav1.FieldSelectorOpNotIn:
			out = append(out, fields.Requirement{Operator: selection.NotEquals, Field: r.Key, Value: r.Values[0]})
		}
	}
	return out, nil
}

func validateSelf(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.SelfSubjectAccessReview)
	errs := validateOneOf(review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
	return append(errs, noMetadata(review.ObjectMeta, "must be empty")...)
}

func validateSubject(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.SubjectAccessReview)
	return append(validateSubjectSpec(&review.Spec), noMetadata(review.ObjectMeta, "must be empty")...)
}

func validateLocal(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.LocalSubjectAccessReview)
	errs := validateSubjectSpec(&review.Spec)
	if m := review.ObjectMeta; len(noMetadata(withoutNamespace(m), "")) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), m, "must be empty except for namespace"))
	}
	path := field.NewPath("spec", "resourceAttributes", "namespace")
	if r := review.Spec.ResourceAttributes; r != nil && r.Namespace != review.Namespace {
		errs = append(errs, field.Invalid(path, r.Namespace, "must match metadata.namespace"))
	}
	if review.Spec.NonResourceAttributes != nil {
		errs = append(errs, field.Invalid(field.NewPath("spec", "nonResourceAttributes"), review.Spec.NonResourceAttributes, "disallowed on this kind of request"))
	}
	return errs
}

// noMetadata: a question has no name and no labels. Who asked it the server says.
func noMetadata(m metav1.ObjectMeta, message string) field.ErrorList {
	says := m
	says.ManagedFields = nil
	if apiequality.Semantic.DeepEqual(metav1.ObjectMeta{}, says) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), m, message)}
}

func withoutNamespace(m metav1.ObjectMeta) metav1.ObjectMeta {
	m.Namespace = ""
	return m
}

func validateSubjectSpec(s *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := validateOneOf(s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified"))
	}
	return errs
}

func validateOneOf(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) field.ErrorList {
	path := field.NewPath("spec")
	switch {
	case r != nil && n != nil:
		return field.ErrorList{field.Invalid(path.Child("nonResourceAttributes"), n, "cannot be specified in combination with resourceAttributes")}
	case r == nil && n == nil:
		return field.ErrorList{field.Invalid(path.Child("resourceAttributes"), n, "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	case r == nil:
		return nil
	}
	var errs field.ErrorList
	at := path.Child("resourceAttributes")
	if s := r.FieldSelector; s != nil && strings.TrimSpace(s.RawSelector) != "" && len(s.Requirements) > 0 {
		errs = append(errs, field.Invalid(at.Child("fieldSelector", "rawSelector"), s.RawSelector, "may not specified at the same time as requirements"))
	}
	if s := r.LabelSelector; s != nil && strings.TrimSpace(s.RawSelector) != "" && len(s.Requirements) > 0 {
		errs = append(errs, field.Invalid(at.Child("labelSelector", "rawSelector"), s.RawSelector, "may not specified at the same time as requirements"))
	}
	return errs
}
