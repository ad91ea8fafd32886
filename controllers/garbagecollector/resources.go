package garbagecollector

import (
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// resource is a kind that the API serves.
type resource struct {
	gvr        schema.GroupVersionResource
	gvk        schema.GroupVersionKind
	namespaced bool
}

// ignored are not worth watching: there are many, they own nothing and live short.
var ignored = map[schema.GroupResource]bool{
	{Resource: "events"}:                         true,
	{Group: "events.k8s.io", Resource: "events"}: true,
}

// resources are the kinds of the last discovery.
type resources struct {
	mu     sync.Mutex // guards byKind
	byKind map[schema.GroupVersionKind]resource
}

// find knows the resource of an owner reference.
func (r *resources) find(ref metav1.OwnerReference) (resource, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.byKind[schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)]
	return found, ok
}

// discover asks the API what it serves, and returns what is to be watched. Some
// groups may fail; what is known of the others counts, and of the failed ones
// what was known before.
func (r *resources) discover(client discovery.DiscoveryInterface) (watch []resource, err error) {
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil && len(lists) == 0 {
		return nil, err
	}
	byKind := map[schema.GroupVersionKind]resource{}
	for _, l := range lists {
		gv, parseErr := schema.ParseGroupVersion(l.GroupVersion)
		if parseErr != nil {
			continue
		}
		for i := range l.APIResources {
			a := &l.APIResources[i]
			if strings.Contains(a.Name, "/") {
				continue // a sub-resource
			}
			found := resource{gvr: gv.WithResource(a.Name), gvk: gv.WithKind(a.Kind), namespaced: a.Namespaced}
			byKind[found.gvk] = found
		}
	}
	preferred, preferredErr := discovery.ServerPreferredResources(client)
	if err == nil {
		err = preferredErr
	}
	for _, l := range preferred {
		gv, parseErr := schema.ParseGroupVersion(l.GroupVersion)
		if parseErr != nil {
			continue
		}
		for i := range l.APIResources {
			a := &l.APIResources[i]
			found, ok := byKind[gv.WithKind(a.Kind)]
			if ok && !ignored[found.gvr.GroupResource()] && canCollect(a.Verbs) {
				watch = append(watch, found)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		for kind, old := range r.byKind {
			if _, ok := byKind[kind]; !ok {
				byKind[kind] = old
			}
		}
	}
	r.byKind = byKind
	return watch, err
}

func canCollect(verbs metav1.Verbs) bool {
	for _, v := range []string{"list", "watch", "delete"} {
		if !slices.Contains(verbs, v) {
			return false
		}
	}
	return true
}
