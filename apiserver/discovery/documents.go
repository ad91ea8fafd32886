// Package discovery tells clients what is served: the groups, versions and
// resources, one document each, and all of them in one (aggregated discovery).
// The documents are made once from the declared resources.
package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
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
	priority int32
	versions []version
}

// version is one version of a group. Those that another server serves have their
// resources in remote.
type version struct {
	name      string
	priority  int32
	resources []*resource.Resource
	remote    *Remote
}

// Remote is a group version that another server serves, with what that one says of
// it.
type Remote struct {
	GroupVersion schema.GroupVersion
	Priority     Priority
	// Described is that server's own discovery: its resources, and whether they are
	// those of now (Freshness).
	Described apidiscovery.APIVersionDiscovery
}

// collect sorts resources into groups, groups and versions by priority, resources
// by name. What is remote is not local.
func collect(resources []*resource.Resource, remote []Remote) []group {
	var groups []group
	at := func(gv schema.GroupVersion, p Priority) *version {
		g := find(&groups, func(g group) bool { return g.name == gv.Group }, group{name: gv.Group})
		g.priority = max(g.priority, p.Group)
		return find(&g.versions, func(v version) bool { return v.name == gv.Version }, version{name: gv.Version, priority: p.Version})
	}
	for i := range remote {
		at(remote[i].GroupVersion, remote[i].Priority).remote = &remote[i]
	}
	for _, r := range resources {
		gv := r.GVK.GroupVersion()
		if v := at(gv, PriorityOf(gv)); v.remote == nil {
			v.resources = append(v.resources, r)
		}
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.name, b.name))
	})
	for _, g := range groups {
		slices.SortFunc(g.versions, func(a, b version) int {
			return cmp.Or(cmp.Compare(b.priority, a.priority), CompareVersions(a.name, b.name))
		})
		for _, v := range g.versions {
			slices.SortFunc(v.resources, func(a, b *resource.Resource) int { return cmp.Compare(a.Plural, b.Plural) })
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

// document lists the resources of a version. stored are the kinds as which those of
// this server are stored.
func (v version) document(group string, stored storedKinds) *metav1.APIResourceList {
	gv := schema.GroupVersion{Group: group, Version: v.name}
	list := &metav1.APIResourceList{GroupVersion: gv.String(), APIResources: []metav1.APIResource{}}
	list.Kind = "APIResourceList"
	if group != "" { // as upstream, whose oldest documents have none
		list.APIVersion = "v1"
	}
	for _, r := range v.resources {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: r.Plural, SingularName: Singular(r), Namespaced: r.Namespaced, Kind: r.GVK.Kind,
			Verbs: Verbs(r), ShortNames: r.ShortNames, Categories: r.Categories, StorageVersionHash: stored.hash(r),
		})
		for _, s := range subresources(r) {
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

// subresources of a resource, by name.
func subresources(r *resource.Resource) []*resource.Subresource {
	out := make([]*resource.Subresource, len(r.Subresources))
	for i := range r.Subresources {
		out[i] = &r.Subresources[i]
	}
	slices.SortFunc(out, func(a, b *resource.Subresource) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// storedKinds are the kinds of the resources that are stored, by resource.
type storedKinds map[schema.GroupVersionResource]schema.GroupVersionKind

func kindsStored(resources []*resource.Resource) storedKinds {
	stored := storedKinds{}
	for _, r := range resources {
		if r.StoredAs == nil && r.Create == nil && r.Computed == nil {
			kind := r.GVK
			if r.StoredForm != nil {
				kind.Version = r.StoredForm.Version
			}
			stored[r.GroupVersionResource()] = kind
		}
	}
	return stored
}

// hash tells clients whether objects have to be stored anew, in upstream's form;
// "" for what is not stored.
func (s storedKinds) hash(r *resource.Resource) string {
	of := r.GroupVersionResource()
	if r.StoredAs != nil {
		of = r.StoredAs.Of
	}
	kind, is := s[of]
	if !is {
		return ""
	}
	sum := sha256.Sum256([]byte(kind.Group + "/" + kind.Version + "/" + kind.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
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
			if v.remote != nil {
				item.Versions = append(item.Versions, v.remote.Described)
				continue
			}
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
		for _, s := range subresources(r) {
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
