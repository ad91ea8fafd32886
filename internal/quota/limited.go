package quota

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	limited "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"
)

// ignored are not counted: reviews and bindings are not stored, and events never were.
var ignored = map[schema.GroupResource]bool{
	{Resource: "bindings"}:                                                 true,
	{Resource: "componentstatuses"}:                                        true,
	{Resource: "events"}:                                                   true,
	{Group: "events.k8s.io", Resource: "events"}:                           true,
	{Group: "authentication.k8s.io", Resource: "tokenreviews"}:             true,
	{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"}:       true,
	{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}:      true,
	{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"}:  true,
	{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}: true,
	{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"}:   true,
}

// Ignored says that objects of a resource never count.
func Ignored(of schema.GroupResource) bool { return ignored[of] }

// Negative are the names of what an object wants less than nothing of, in order.
func Negative(usage corev1.ResourceList) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name, quantity := range usage {
		if quantity.Sign() < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Uncovered is what an object consumes, and the scopes that it is in, of those which
// may only be where there is a quota for them, and for which none of the quotas is.
func Uncovered(limits []limited.LimitedResource, all []*corev1.ResourceQuota, of schema.GroupResource, obj runtime.Object, usage corev1.ResourceList) (names []corev1.ResourceName, scopes []corev1.ScopedResourceSelectorRequirement) {
	covered := map[corev1.ResourceName]bool{}
	scoped := map[corev1.ResourceQuotaScope]bool{}
	for _, q := range all {
		if Covers(q, q.Status.Hard, of, obj) {
			for _, name := range Names(of, q.Status.Hard) {
				covered[name] = true
			}
		}
		for _, s := range scopesOf(q) {
			scoped[s.ScopeName] = scoped[s.ScopeName] || inScope(s, obj)
		}
	}
	bare := map[corev1.ResourceName]bool{}
	for _, l := range limits {
		for _, s := range l.MatchScopes {
			if inScope(s, obj) && !scoped[s.ScopeName] {
				scopes = append(scopes, s)
			}
		}
		if l.APIGroup != of.Group || l.Resource != of.Resource {
			continue
		}
		for name, quantity := range usage {
			contains := func(part string) bool { return strings.Contains(string(name), part) }
			if quantity.Sign() > 0 && !covered[name] && slices.ContainsFunc(l.MatchContains, contains) {
				bare[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(bare)), scopes
}

// scopesOf are the scopes of a quota, whichever way they are written.
func scopesOf(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var scopes []corev1.ScopedResourceSelectorRequirement
	for _, name := range q.Spec.Scopes {
		scopes = append(scopes, corev1.ScopedResourceSelectorRequirement{ScopeName: name, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		scopes = append(scopes, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return scopes
}
