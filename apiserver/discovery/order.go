package discovery

import (
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

// Priority of a group version: where its group stands among the groups, and it
// among the group's versions. Clients look for what is in two groups in the first,
// and speak a group's first version where they have no other reason.
type Priority struct{ Group, Version int32 }

// builtIn are the priorities of Kubernetes' own groups, upstream's.
var builtIn = map[string]int32{
	"": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
	"autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
	"rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "admissionregistration.k8s.io": 16700,
	"apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "internal.apiserver.k8s.io": 16000,
	"storagemigration.k8s.io": 15800,
	// It has no APIService of its own; nothing stands before it.
	"apiregistration.k8s.io": 20001,
}

// odd are the versions whose priority among those of their group is not 15.
var odd = map[schema.GroupVersion]int32{
	{Version: "v1"}:                                        1,
	{Group: "autoscaling", Version: "v2"}:                  30,
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: 21,
	{Group: "resource.k8s.io", Version: "v1"}:              21,
}

// PriorityOf a group version that this server serves: upstream's for those of
// Kubernetes, that of custom resources for all others.
func PriorityOf(gv schema.GroupVersion) Priority {
	group, known := builtIn[gv.Group]
	if !known {
		return Priority{Group: 1000, Version: 100}
	}
	if version, is := odd[gv]; is {
		return Priority{group, version}
	}
	return Priority{group, 15}
}

// CompareVersions orders the versions of a group by preference: v2 before v1, v1
// before v1beta1, and what has no such form last, by name.
func CompareVersions(a, b string) int { return -kversion.CompareKubeAwareVersionStrings(a, b) }
