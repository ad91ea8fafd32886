package openapi

import (
	"strings"
	"unicode"

	"github.com/strake-io/strake/apiserver/resource"
)

// camel writes a name without what no identifier has: "rbac.authorization" is
// "rbacAuthorization".
func camel(s string, upper bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case !unicode.IsLetter(r) && r != '_' && (i == 0 || !unicode.IsDigit(r)):
			upper = true
		case upper:
			b.WriteRune(unicode.ToUpper(r))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func groupName(group string) string {
	if group == "" {
		return "core"
	}
	return strings.TrimSuffix(group, ".k8s.io")
}

// tag groups the operations of a group version.
func tag(group, version string) string {
	return camel(groupName(group), false) + "_" + camel(version, false)
}

// operationID is upstream's, from which generated clients name their methods:
// "list", "NamespacedPod" is listCoreV1NamespacedPod.
func operationID(verb, group, version, what string) string {
	return verb + camel(groupName(group), true) + camel(version, true) + camel(what, true)
}

// title writes a sub-resource's name with a capital.
func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// object names a resource's objects in an operation id, by themselves or those of a
// namespace.
func object(r *resource.Resource, sub string) string {
	scope := ""
	if r.Namespaced {
		scope = "Namespaced"
	}
	return scope + r.GVK.Kind + title(sub)
}

// article stands before a kind, with spaces: plurals have none.
func article(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s") && !strings.HasSuffix(kind, "ss"):
		return " "
	case strings.ContainsRune("aeiouAEIOU", rune(kind[0])):
		return " an "
	}
	return " a "
}
