package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/util/jsonpath"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

var actions = []admissionv1.ValidationAction{admissionv1.Audit, admissionv1.Deny, admissionv1.Warn}

func validateBinding(policy string, ref *admissionv1.ParamRef, match *admissionv1.MatchResources) errorList {
	at := field.NewPath("spec")
	var errs errorList
	if policy == "" {
		errs = append(errs, field.Required(at.Child("policyName"), ""))
	} else {
		errs = append(errs, rules.Subdomain(policy, at.Child("policyName"))...)
	}
	errs = append(errs, validateParamRef(ref, at.Child("paramRef"))...)
	return append(errs, validateMatch(match, at.Child("matchResources"))...)
}

func validateParamRef(ref *admissionv1.ParamRef, at *field.Path) errorList {
	if ref == nil {
		return nil
	}
	var errs errorList
	const exclusive = "name and selector are mutually exclusive"
	if ref.Name != "" {
		errs = append(errs, rules.Matches(ref.Name, at.Child("name"), path.ValidatePathSegmentName(ref.Name, false))...)
		if ref.Selector != nil {
			errs = append(errs, field.Forbidden(at.Child("name"), exclusive))
		}
	}
	if ref.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(ref.Selector, metavalidation.LabelSelectorValidationOptions{}, at.Child("selector"))...)
		if ref.Name != "" {
			errs = append(errs, field.Forbidden(at.Child("selector"), exclusive))
		}
	}
	if ref.Name == "" && ref.Selector == nil {
		errs = append(errs, field.Required(at, "one of name or selector must be specified"))
	}
	if ref.ParameterNotFoundAction == nil || *ref.ParameterNotFoundAction == "" {
		return append(errs, field.Required(at.Child("parameterNotFoundAction"), ""))
	}
	return append(errs, optional(ref.ParameterNotFoundAction, at.Child("parameterNotFoundAction"),
		[]admissionv1.ParameterNotFoundActionType{admissionv1.DenyAction, admissionv1.AllowAction})...)
}

func validateActions(given []admissionv1.ValidationAction) errorList {
	at := field.NewPath("spec", "validationActions")
	var errs errorList
	seen := sets.New[admissionv1.ValidationAction]()
	for i, a := range given {
		if !slices.Contains(actions, a) {
			errs = append(errs, field.NotSupported(at.Index(i), a, actions))
		}
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(at.Index(i), a))
		}
		seen.Insert(a)
	}
	if seen.HasAll(admissionv1.Deny, admissionv1.Warn) {
		errs = append(errs, field.Invalid(at, given,
			"must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	if len(seen) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	return errs
}

func validatePolicyStatus(s *admissionv1.ValidatingAdmissionPolicyStatus) errorList {
	at := field.NewPath("status")
	var errs errorList
	if s.TypeChecking != nil {
		for i, w := range s.TypeChecking.ExpressionWarnings {
			at := at.Child("typeChecking", "expressionWarnings").Index(i)
			if w.Warning == "" {
				errs = append(errs, field.Required(at.Child("warning"), ""))
			}
			errs = append(errs, validateFieldRef(strings.TrimSpace(w.FieldRef), at.Child("fieldRef"))...)
		}
	}
	return append(errs, metavalidation.ValidateConditions(s.Conditions, at.Child("conditions"))...)
}

func validateFieldRef(ref string, at *field.Path) errorList {
	if ref == "" {
		return errorList{field.Required(at, "")}
	}
	if err := jsonpath.New("spec").Parse("{" + ref + "}"); err != nil {
		return errorList{field.Invalid(at, ref, fmt.Sprintf("invalid JSONPath: %v", err))}
	}
	return nil
}
