package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Allows says whether one of the rules allows what is asked.
func Allows(rules []rbacv1.PolicyRule, a authorizer.Attributes) bool {
	for i := range rules {
		if allows(&rules[i], a) {
			return true
		}
	}
	return false
}

func allows(r *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !has(r.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return matchesURL(r.NonResourceURLs, a.GetPath())
	}
	return has(r.APIGroups, a.GetAPIGroup()) && matchesResource(r.Resources, a.GetResource(), a.GetSubresource()) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.GetName()))
}

// has finds a value, or the star that stands for all.
func has(list []string, value string) bool {
	for _, v := range list {
		if v == value || v == rbacv1.VerbAll {
			return true
		}
	}
	return false
}

// matchesResource: "*" is every resource with its sub-resources, "pods" is none of
// them, "pods/log" one of them, and "*/scale" that of every resource.
func matchesResource(list []string, resource, sub string) bool {
	for _, v := range list {
		if v == rbacv1.ResourceAll {
			return true
		}
		if sub == "" {
			if v == resource {
				return true
			}
			continue
		}
		of, name, ok := strings.Cut(v, "/")
		if ok && name == sub && (of == resource || of == "*") {
			return true
		}
	}
	return false
}

// matchesURL: a star at the end stands for whatever follows.
func matchesURL(list []string, path string) bool {
	for _, v := range list {
		if v == rbacv1.NonResourceAll || v == path {
			return true
		}
		if prefix, ok := strings.CutSuffix(v, "*"); ok && strings.HasPrefix(path, strings.TrimRight(prefix, "*")) {
			return true
		}
	}
	return false
}

// Missing are those of the wanted rules that the rules held do not cover, each cut
// down to one verb, group, resource and name, in the order of the rules.
func Missing(held, wanted []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var missing []rbacv1.PolicyRule
	for i := range wanted {
		for _, single := range split(&wanted[i]) {
			if !slices.ContainsFunc(held, func(h rbacv1.PolicyRule) bool { return covers(&h, &single) }) {
				missing = append(missing, single)
			}
		}
	}
	return missing
}

// split cuts a rule into rules that each say one thing.
func split(r *rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				for _, name := range names {
					one := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
					if name != "" {
						one.ResourceNames = []string{name}
					}
					out = append(out, one)
				}
			}
		}
	}
	for _, url := range r.NonResourceURLs {
		for _, verb := range r.Verbs {
			out = append(out, rbacv1.PolicyRule{NonResourceURLs: []string{url}, Verbs: []string{verb}})
		}
	}
	return out
}

// covers: everything that the single rule allows, the other does too.
func covers(held, single *rbacv1.PolicyRule) bool {
	if !has(held.Verbs, single.Verbs[0]) {
		return false
	}
	if len(single.NonResourceURLs) > 0 {
		return matchesURL(held.NonResourceURLs, single.NonResourceURLs[0])
	}
	if !has(held.APIGroups, single.APIGroups[0]) {
		return false
	}
	resource, sub, _ := strings.Cut(single.Resources[0], "/")
	if !slices.Contains(held.Resources, single.Resources[0]) && !matchesResource(held.Resources, resource, sub) {
		return false
	}
	if len(held.ResourceNames) == 0 {
		return true
	}
	return len(single.ResourceNames) > 0 && slices.Contains(held.ResourceNames, single.ResourceNames[0])
}
