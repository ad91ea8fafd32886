package discovery

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	kversion "k8s.io/apimachinery/pkg/version"
)

// Root is the path of a group version.
func Root(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.Group + "/" + gv.Version
}

// builtIn are the groups of Kubernetes itself in the order in which clients are
// told of them, upstream's. What is in two groups, clients look for in the first.
var builtIn = []string{
	"", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
	"batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
	"admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
	"discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io",
}

// compareGroups orders groups: Kubernetes' own first, all others by name.
func compareGroups(a, b string) int {
	rank := func(group string) int {
		if i := slices.Index(builtIn, group); i >= 0 {
			return i
		}
		return len(builtIn)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// CompareVersions orders the versions of a group by preference: v2 before v1, v1
// before v1beta1, and what has no such form last, by name.
func CompareVersions(a, b string) int { return -kversion.CompareKubeAwareVersionStrings(a, b) }
