// Package discovery tells clients what is served: the groups, versions and
// resources, one document each, and all of them in one (aggregated discovery).
// The documents are made once from the declared resources.
package discovery

import (
	"slices"
	"sort"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

var defaultVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// Verbs that a resource is served with, sorted.
func Verbs(r *resource.Resource) []string {
	if r.Verbs == nil {
		return defaultVerbs
	}
	return sorted(r.Verbs)
}

// SubresourceVerbs that a sub-resource is served with, sorted.
func SubresourceVerbs(s *resource.Subresource) []string {
	switch {
	case s.Verbs != nil:
		return sorted(s.Verbs)
	case s.Create != nil:
		return []string{"create"}
	case s.Connect != nil:
		return []string{"create", "get"}
	}
	return []string{"get", "patch", "update"}
}

func sorted(verbs []string) []string {
	verbs = append([]string(nil), verbs...)
	sort.Strings(verbs)
	return verbs
}

// SubresourceKind is the kind that travels through a sub-resource.
func SubresourceKind(r *resource.Resource, s *resource.Subresource) schema.GroupVersionKind {
	if s.GVK.Empty() {
		return r.GVK
	}
	return s.GVK
}

// Singular name of a resource.
func Singular(r *resource.Resource) string {
	if r.Singular != "" {
		return r.Singular
	}
	return strings.ToLower(r.GVK.Kind)
}

// group is one API group with its versions in order of preference.
type group struct {
	name     string
	versions []version
}

type version struct {
	name      string
	resources []*resource.Resource
}

// collect sorts resources into groups, groups and versions by preference, resources
// by name.
func collect(resources []*resource.Resource) []group {
	var groups []group
	for _, r := range resources {
		g := find(&groups, func(g group) bool { return g.name == r.GVK.Group }, group{name: r.GVK.Group})
		v := find(&g.versions, func(v version) bool { return v.name == r.GVK.Version }, version{name: r.GVK.Version})
		v.resources = append(v.resources, r)
	}
	slices.SortFunc(groups, func(a, b group) int { return compareGroups(a.name, b.name) })
	for _, g := range groups {
		slices.SortFunc(g.versions, func(a, b version) int { return CompareVersions(a.name, b.name) })
		for _, v := range g.versions {
			sort.SliceStable(v.resources, func(i, j int) bool { return v.resources[i].Plural < v.resources[j].Plural })
		}
	}
	return groups
}

func find[T any](items *[]T, is func(T) bool, otherwise T) *T {
	for i := range *items {
		if is((*items)[i]) {
			return &(*items)[i]
		}
	}
	*items = append(*items, otherwise)
	return &(*items)[len(*items)-1]
}

func (g group) document() metav1.APIGroup {
	doc := metav1.APIGroup{Name: g.name}
	for _, v := range g.versions {
		gv := schema.GroupVersion{Group: g.name, Version: v.name}
		doc.Versions = append(doc.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: v.name})
	}
	doc.PreferredVersion = doc.Versions[0]
	return doc
}

func (v version) document(group string) *metav1.APIResourceList {
	gv := schema.GroupVersion{Group: group, Version: v.name}
	list := &metav1.APIResourceList{GroupVersion: gv.String(), APIResources: []metav1.APIResource{}}
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "APIResourceList"})
	for _, r := range v.resources {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: r.Plural, SingularName: Singular(r), Namespaced: r.Namespaced, Kind: r.GVK.Kind,
			Verbs: Verbs(r), ShortNames: r.ShortNames, Categories: r.Categories,
		})
		for i := range r.Subresources {
			s := &r.Subresources[i]
			sub := metav1.APIResource{
				Name: r.Plural + "/" + s.Name, Namespaced: r.Namespaced,
				Kind: SubresourceKind(r, s).Kind, Verbs: SubresourceVerbs(s),
			}
			if kind := SubresourceKind(r, s); kind.GroupVersion() != gv {
				sub.Group, sub.Version = kind.Group, kind.Version
			}
			list.APIResources = append(list.APIResources, sub)
		}
	}
	return list
}

// aggregated is the document of all groups whose name is empty (core) or not.
func aggregated(groups []group, core bool) *apidiscovery.APIGroupDiscoveryList {
	list := &apidiscovery.APIGroupDiscoveryList{Items: []apidiscovery.APIGroupDiscovery{}}
	list.SetGroupVersionKind(apidiscovery.SchemeGroupVersion.WithKind("APIGroupDiscoveryList"))
	for _, g := range groups {
		if (g.name == "") != core {
			continue
		}
		item := apidiscovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.name}}
		for _, v := range g.versions {
			item.Versions = append(item.Versions, apidiscovery.APIVersionDiscovery{
				Version: v.name, Freshness: apidiscovery.DiscoveryFreshnessCurrent, Resources: v.aggregated(),
			})
		}
		list.Items = append(list.Items, item)
	}
	return list
}

func (v version) aggregated() []apidiscovery.APIResourceDiscovery {
	var out []apidiscovery.APIResourceDiscovery
	for _, r := range v.resources {
		scope := apidiscovery.ScopeCluster
		if r.Namespaced {
			scope = apidiscovery.ScopeNamespace
		}
		item := apidiscovery.APIResourceDiscovery{
			Resource: r.Plural, ResponseKind: kindOf(r.GVK), Scope: scope, SingularResource: Singular(r),
			Verbs: Verbs(r), ShortNames: r.ShortNames, Categories: r.Categories,
		}
		for i := range r.Subresources {
			s := &r.Subresources[i]
			item.Subresources = append(item.Subresources, apidiscovery.APISubresourceDiscovery{
				Subresource: s.Name, ResponseKind: kindOf(SubresourceKind(r, s)), Verbs: SubresourceVerbs(s),
			})
		}
		out = append(out, item)
	}
	return out
}

func kindOf(gvk schema.GroupVersionKind) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
}
