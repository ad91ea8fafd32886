package flowcontrol

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

const all = "*"

// validateRule checks which requests of whom a flow schema says that it matches.
func validateRule(r *flowcontrolv1.PolicyRulesWithSubjects, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, validateSubject(&r.Subjects[i], path.Child("subjects").Index(i))...)
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateResourceRule(&r.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validateNonResourceRule(&r.NonResourceRules[i], path.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

// validateSubject: the member that the kind names is there and right, the others are
// not there.
func validateSubject(s *flowcontrolv1.Subject, path *field.Path) field.ErrorList {
	members := []struct {
		kind  flowcontrolv1.SubjectKind
		name  string
		set   bool
		check func(*field.Path) field.ErrorList
	}{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil, func(at *field.Path) field.ErrorList {
			return validateServiceAccount(s.ServiceAccount, at)
		}},
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil, func(at *field.Path) field.ErrorList { return named(s.User.Name, at) }},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil, func(at *field.Path) field.ErrorList { return named(s.Group.Name, at) }},
	}
	var errs, others field.ErrorList
	known := false
	for _, m := range members {
		at := path.Child(m.name)
		switch {
		case m.kind == s.Kind && m.set:
			known, errs = true, append(errs, m.check(at)...)
		case m.kind == s.Kind:
			known, errs = true, append(errs, field.Required(at, m.name+" is required when subject kind is '"+string(m.kind)+"'"))
		case m.set:
			others = append(others, field.Forbidden(at, m.name+" is forbidden when subject kind is not '"+string(m.kind)+"'"))
		}
	}
	if !known {
		return field.ErrorList{field.NotSupported(path.Child("kind"), s.Kind, []flowcontrolv1.SubjectKind{
			flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser,
		})}
	}
	return append(errs, others...)
}

func named(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "")}
	}
	return nil
}

func validateServiceAccount(s *flowcontrolv1.ServiceAccountSubject, path *field.Path) field.ErrorList {
	errs := named(s.Name, path)
	if s.Name != "" && s.Name != all {
		errs = append(errs, rules.Matches(s.Name, path.Child("name"), apivalidation.ValidateServiceAccountName(s.Name, false))...)
	}
	at := path.Child("namespace")
	if s.Namespace == "" {
		return append(errs, field.Required(at, "must specify namespace for service account"))
	}
	return append(errs, rules.Matches(s.Namespace, at, apivalidation.ValidateNamespaceName(s.Namespace, false))...)
}

// alone reports a list in which "*" stands beside other things.
func alone(list []string, things string, path *field.Path) field.ErrorList {
	if len(list) > 1 && slices.Contains(list, all) {
		return field.ErrorList{field.Invalid(path, list, "if '*' is present, must not specify other "+things)}
	}
	return nil
}

func validateVerbs(verbs []string, path *field.Path) field.ErrorList {
	if len(verbs) == 0 {
		return field.ErrorList{field.Required(path, "verbs must contain at least one value")}
	}
	if slices.Contains(verbs, all) {
		return alone(verbs, "verbs", path)
	}
	known := []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}
	for _, v := range verbs {
		if !slices.Contains(known, v) {
			return field.ErrorList{field.NotSupported(path, verbs, known)}
		}
	}
	return nil
}

func validateNonResourceRule(r *flowcontrolv1.NonResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, path.Child("verbs"))
	at := path.Child("nonResourceURLs")
	switch {
	case len(r.NonResourceURLs) == 0:
		return append(errs, field.Required(at, "nonResourceURLs must contain at least one value"))
	case slices.Contains(r.NonResourceURLs, all):
		return append(errs, alone(r.NonResourceURLs, "non-resource URLs", at)...)
	}
	for i, u := range r.NonResourceURLs {
		if wrong := urlError(u); wrong != "" {
			errs = append(errs, field.Invalid(at.Index(i), u, wrong))
		}
	}
	return errs
}

// urlError is what is wrong with a path, which may end in "/*".
func urlError(u string) string {
	switch stars := strings.Count(u, all); {
	case u == "":
		return "must not be empty"
	case u[0] != '/':
		return "must start with slash"
	case strings.Contains(u, " "):
		return "must not contain white-space"
	case strings.Contains(u, "//"):
		return "must not contain double slash"
	case stars > 1, stars == 1 && !strings.HasSuffix(u, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}

func validateResourceRule(r *flowcontrolv1.ResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, path.Child("verbs"))
	for _, one := range []struct {
		name, what, others string
		list               []string
	}{
		{"apiGroups", "api group", "api groups", r.APIGroups},
		{"resources", "resource", "resources", r.Resources},
	} {
		at := path.Child(one.name)
		if len(one.list) == 0 {
			errs = append(errs, field.Required(at, "resource rules must supply at least one "+one.what))
		}
		errs = append(errs, alone(one.list, one.others, at)...)
	}
	at := path.Child("namespaces")
	switch {
	case len(r.Namespaces) == 0 && !r.ClusterScope:
		return append(errs, field.Required(at, "resource rules that are not cluster scoped must supply at least one namespace"))
	case slices.Contains(r.Namespaces, all):
		return append(errs, alone(r.Namespaces, "namespaces", at)...)
	}
	for i, ns := range r.Namespaces {
		for _, message := range apivalidation.ValidateNamespaceName(ns, false) {
			errs = append(errs, field.Invalid(at.Index(i), ns, "each member of this list must be '*' or a DNS-1123 label; "+message))
		}
	}
	return errs
}
