package validatingadmissionpolicystatus

import (
	"cmp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxKinds is after how many kinds of one rule a policy is checked against no more.
const maxKinds = 10

// Kinds are those that a policy is about, sorted. Rules that are about any group,
// version or resource tell of none; kindsOf finds those of a resource.
func Kinds(policy *admissionv1.ValidatingAdmissionPolicy, kindsOf func(schema.GroupVersionResource) []schema.GroupVersionKind) []schema.GroupVersionKind {
	if policy.Spec.MatchConstraints == nil {
		return nil
	}
	var kinds []schema.GroupVersionKind
	for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
		found := 0
		for _, resource := range named(rule.Rule) {
			for _, kind := range kindsOf(resource) {
				kinds = append(kinds, kind)
				if found++; found == maxKinds {
					return sorted(kinds)
				}
			}
		}
	}
	return sorted(kinds)
}

// named are the resources that a rule names in full, sorted.
func named(rule admissionv1.Rule) (resources []schema.GroupVersionResource) {
	wild := func(s string) bool { return strings.Contains(s, "*") }
	if slices.ContainsFunc(rule.APIGroups, wild) || slices.ContainsFunc(rule.APIVersions, wild) {
		return nil
	}
	for _, group := range rule.APIGroups {
		for _, version := range rule.APIVersions {
			for _, resource := range rule.Resources {
				if !strings.ContainsAny(resource, "*/") {
					resources = append(resources, schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
				}
			}
		}
	}
	slices.SortFunc(resources, func(a, b schema.GroupVersionResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Resource, b.Resource))
	})
	return resources
}

func sorted(kinds []schema.GroupVersionKind) []schema.GroupVersionKind {
	slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.Compact(kinds)
}

// paramKind is the kind of a policy's parameters, if it has any that can be named.
func paramKind(policy *admissionv1.ValidatingAdmissionPolicy) (schema.GroupVersionKind, bool) {
	of := policy.Spec.ParamKind
	if of == nil {
		return schema.GroupVersionKind{}, false
	}
	gv, err := schema.ParseGroupVersion(of.APIVersion)
	kind := gv.WithKind(of.Kind)
	return kind, err == nil && !kind.Empty()
}
