package authorization

import (
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

func validateSelf(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.SelfSubjectAccessReview)
	errs := validateQuestion(review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
	errs = append(errs, validateSelectors(review.Spec.ResourceAttributes)...)
	return append(errs, validateMeta(review.ObjectMeta, review.ObjectMeta, "must be empty")...)
}

func validateSubject(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.SubjectAccessReview)
	return append(validateSubjectSpec(&review.Spec), validateMeta(review.ObjectMeta, review.ObjectMeta, "must be empty")...)
}

func validateLocal(obj runtime.Object) field.ErrorList {
	review := obj.(*authorizationv1.LocalSubjectAccessReview)
	errs := validateSubjectSpec(&review.Spec)
	rest := review.ObjectMeta
	rest.Namespace = ""
	errs = append(errs, validateMeta(review.ObjectMeta, rest, "must be empty except for namespace")...)
	if r := review.Spec.ResourceAttributes; r != nil && r.Namespace != review.Namespace {
		errs = append(errs, field.Invalid(field.NewPath("spec.resourceAttributes.namespace"), r.Namespace, "must match metadata.namespace"))
	}
	if n := review.Spec.NonResourceAttributes; n != nil {
		errs = append(errs, field.Invalid(field.NewPath("spec.nonResourceAttributes"), rules.Internal(n), "disallowed on this kind of request"))
	}
	return errs
}

// validateMeta: a review has no metadata; rest is what of it must not be there.
func validateMeta(shown, rest metav1.ObjectMeta, message string) field.ErrorList {
	rest.ManagedFields = nil
	if apiequality.Semantic.DeepEqual(metav1.ObjectMeta{}, rest) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), shown, message)}
}

func validateSubjectSpec(s *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := validateQuestion(s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified"))
	}
	return append(errs, validateSelectors(s.ResourceAttributes)...)
}

func validateQuestion(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) field.ErrorList {
	if (r == nil) != (n == nil) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec"), rules.Internal(n), "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
}

func validateSelectors(r *authorizationv1.ResourceAttributes) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	// Who asks may be newer and know more operators.
	if s := r.FieldSelector; s != nil {
		at := field.NewPath("spec.resourceAttributes", "fieldSelector")
		errs = append(errs, validateSelector(s.RawSelector, len(s.Requirements), at)...)
		for i, requirement := range s.Requirements {
			opts := unversioned.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, unversioned.ValidateFieldSelectorRequirement(requirement, opts, at.Child("requirements").Index(i))...)
		}
	}
	if s := r.LabelSelector; s != nil {
		at := field.NewPath("spec.resourceAttributes", "labelSelector")
		errs = append(errs, validateSelector(s.RawSelector, len(s.Requirements), at)...)
		for i, requirement := range s.Requirements {
			opts := unversioned.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, unversioned.ValidateLabelSelectorRequirement(requirement, opts, at.Child("requirements").Index(i))...)
		}
	}
	return errs
}

func validateSelector(raw string, requirements int, path *field.Path) field.ErrorList {
	switch {
	case raw != "" && requirements > 0:
		return field.ErrorList{field.Invalid(path.Child("rawSelector"), raw, "may not specified at the same time as requirements")}
	case raw == "" && requirements == 0:
		return field.ErrorList{field.Required(path.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", path))}
	}
	return nil
}
