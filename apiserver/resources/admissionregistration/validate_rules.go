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
)

var (
	operations = []admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Connect, admissionv1.Create, admissionv1.Delete, admissionv1.Update}
	scopes     = []admissionv1.ScopeType{admissionv1.AllScopes, admissionv1.ClusterScope, admissionv1.NamespacedScope}
)

func validateRule(r *admissionv1.RuleWithOperations, at *field.Path) errorList {
	var errs errorList
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(at.Child("operations"), ""))
	}
	errs = append(errs, onlyWildcard(r.Operations, at.Child("operations"), "operations")...)
	for i, op := range r.Operations {
		if !slices.Contains(operations, op) {
			errs = append(errs, field.NotSupported(at.Child("operations").Index(i), op, operations))
		}
	}
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(at.Child("apiGroups"), ""))
	}
	errs = append(errs, onlyWildcard(r.APIGroups, at.Child("apiGroups"), "API groups")...)
	if len(r.APIVersions) == 0 {
		errs = append(errs, field.Required(at.Child("apiVersions"), ""))
	}
	errs = append(errs, onlyWildcard(r.APIVersions, at.Child("apiVersions"), "API versions")...)
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(at.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, at.Child("resources"))...)
	return append(errs, optional(r.Scope, at.Child("scope"), scopes)...)
}

// validateResources checks names of the forms r, r/s, r/*, */s, * and */*.
func validateResources(resources []string, at *field.Path) errorList {
	var errs errorList
	if len(resources) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	// allBelow are the r of r/*, belowAll the s of */s.
	allBelow, belowAll := sets.New[string](), sets.New[string]()
	plain := false
	for i, r := range resources {
		if r == "" {
			errs = append(errs, field.Required(at.Index(i), ""))
			continue
		}
		name, sub, below := strings.Cut(r, "/")
		if !below {
			plain = r != "*"
			continue
		}
		if allBelow.Has(name) {
			errs = append(errs, field.Invalid(at.Index(i), r, fmt.Sprintf("if '%s/*' is present, must not specify %s", name, r)))
		}
		if belowAll.Has(sub) {
			errs = append(errs, field.Invalid(at.Index(i), r, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, r)))
		}
		if sub == "*" {
			allBelow.Insert(name)
		}
		if name == "*" {
			belowAll.Insert(sub)
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(at, resources, "if '*/*' is present, must not specify other resources"))
	}
	if slices.Contains(resources, "*") && plain {
		errs = append(errs, field.Invalid(at, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}

func validateMatch(m *admissionv1.MatchResources, at *field.Path) errorList {
	if m == nil {
		return nil
	}
	errs := required(m.MatchPolicy, at.Child("matchPolicy"), matchPolicies)
	strict := metavalidation.LabelSelectorValidationOptions{}
	if m.NamespaceSelector == nil {
		errs = append(errs, field.Required(at.Child("namespaceSelector"), ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(m.NamespaceSelector, strict, at.Child("namespaceSelector"))...)
	}
	if m.ObjectSelector == nil {
		errs = append(errs, field.Required(at.Child("objectSelector"), ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(m.ObjectSelector, strict, at.Child("objectSelector"))...)
	}
	for i := range m.ResourceRules {
		errs = append(errs, validateNamedRule(&m.ResourceRules[i], at.Child("resourceRules").Index(i))...)
	}
	for i := range m.ExcludeResourceRules {
		errs = append(errs, validateNamedRule(&m.ExcludeResourceRules[i], at.Child("excludeResourceRules").Index(i))...)
	}
	return errs
}

func validateNamedRule(r *admissionv1.NamedRuleWithOperations, at *field.Path) errorList {
	var errs errorList
	seen := sets.New[string]()
	for i, name := range r.ResourceNames {
		for _, m := range path.ValidatePathSegmentName(name, false) {
			errs = append(errs, field.Invalid(at.Child("resourceNames").Index(i), name, m))
		}
		if seen.Has(name) {
			errs = append(errs, field.Duplicate(at.Child("resourceNames").Index(i), name))
		}
		seen.Insert(name)
	}
	return append(errs, validateRule(&r.RuleWithOperations, at)...)
}
