package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Covers says whether an object counts against a quota: the quota limits something of
// its kind, and the object is in all of its scopes.
func Covers(q *corev1.ResourceQuota, hard corev1.ResourceList, of schema.GroupResource, obj runtime.Object) bool {
	for name := range hard {
		if counts(of, name) {
			return inScopes(q, obj)
		}
	}
	return false
}

func inScopes(q *corev1.ResourceQuota, obj runtime.Object) bool {
	for _, scope := range scopesOf(q) {
		if !inScope(scope, obj) {
			return false
		}
	}
	return true
}

func inScope(scope corev1.ScopedResourceSelectorRequirement, obj runtime.Object) bool {
	switch obj := obj.(type) {
	case *corev1.Pod:
		switch scope.ScopeName {
		case corev1.ResourceQuotaScopeTerminating:
			return Terminating(obj)
		case corev1.ResourceQuotaScopeNotTerminating:
			return !Terminating(obj)
		case corev1.ResourceQuotaScopeBestEffort:
			return bestEffort(obj)
		case corev1.ResourceQuotaScopeNotBestEffort:
			return !bestEffort(obj)
		case corev1.ResourceQuotaScopePriorityClass:
			return selects(scope, obj.Spec.PriorityClassName)
		case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			return crossesNamespaces(obj.Spec.Affinity)
		}
	case *corev1.PersistentVolumeClaim:
		if scope.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass {
			return selects(scope, attributesClasses(obj)...)
		}
	}
	return false
}

// selects says whether a scope selects any of the values, or the lack of any.
func selects(scope corev1.ScopedResourceSelectorRequirement, values ...string) bool {
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	if scope.Operator == corev1.ScopeSelectorOpExists {
		return len(values) > 0
	}
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: string(scope.ScopeName), Operator: metav1.LabelSelectorOperator(scope.Operator), Values: scope.Values,
	}}})
	if err != nil {
		return false
	}
	if len(values) == 0 {
		return selector.Matches(labels.Set{})
	}
	return slices.ContainsFunc(values, func(v string) bool { return selector.Matches(labels.Set{string(scope.ScopeName): v}) })
}

// attributesClasses are the classes that a claim has, had, and is to have.
func attributesClasses(c *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil {
			names = append(names, *name)
		}
	}
	if m := c.Status.ModifyVolumeStatus; m != nil {
		names = append(names, m.TargetVolumeAttributesClassName)
	}
	return names
}

// Rescoped says whether an update of an object moves it to other quotas.
func Rescoped(obj, old runtime.Object) bool {
	switch obj := obj.(type) {
	case *corev1.Pod:
		was, ok := old.(*corev1.Pod)
		return ok && Terminating(obj) != Terminating(was)
	case *corev1.PersistentVolumeClaim:
		was, ok := old.(*corev1.PersistentVolumeClaim)
		return ok && !sets.New(attributesClasses(obj)...).Equal(sets.New(attributesClasses(was)...))
	}
	return false
}

// StatusCounts says whether the status of a claim makes it count for something else.
func StatusCounts(obj, old runtime.Object) bool {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	was, had := old.(*corev1.PersistentVolumeClaim)
	return ok && had && (Rescoped(claim, was) || claim.Status.AllocatedResources.Storage().Cmp(*was.Status.AllocatedResources.Storage()) != 0)
}

// Terminating: the pod is to end by itself.
func Terminating(pod *corev1.Pod) bool {
	return pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
}

// bestEffort: the pod asks for neither processor nor memory.
func bestEffort(pod *corev1.Pod) bool {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass == corev1.PodQOSBestEffort
	}
	asks := func(r corev1.ResourceRequirements) bool {
		for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
			if list.Cpu().Sign() > 0 || list.Memory().Sign() > 0 {
				return true
			}
		}
		return false
	}
	if resourcehelper.IsPodLevelResourcesSet(pod) {
		return !asks(*pod.Spec.Resources)
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		if slices.ContainsFunc(containers, func(c corev1.Container) bool { return asks(c.Resources) }) {
			return false
		}
	}
	return true
}

func crossesNamespaces(affinity *corev1.Affinity) bool {
	if affinity == nil {
		return false
	}
	crosses := func(t corev1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil }
	weighted := func(t corev1.WeightedPodAffinityTerm) bool { return crosses(t.PodAffinityTerm) }
	if a := affinity.PodAffinity; a != nil && (slices.ContainsFunc(a.RequiredDuringSchedulingIgnoredDuringExecution, crosses) ||
		slices.ContainsFunc(a.PreferredDuringSchedulingIgnoredDuringExecution, weighted)) {
		return true
	}
	a := affinity.PodAntiAffinity
	return a != nil && (slices.ContainsFunc(a.RequiredDuringSchedulingIgnoredDuringExecution, crosses) ||
		slices.ContainsFunc(a.PreferredDuringSchedulingIgnoredDuringExecution, weighted))
}

// mustBeSaid are the resources that each container must name where a quota limits them.
var mustBeSaid = map[corev1.ResourceName]bool{
	corev1.ResourceCPU: true, corev1.ResourceMemory: true, corev1.ResourceRequestsCPU: true, corev1.ResourceRequestsMemory: true,
	corev1.ResourceLimitsCPU: true, corev1.ResourceLimitsMemory: true,
}

// Unsaid is an error where a pod does not say how much it wants of what a quota limits.
// Whole pods that say it for all their containers need not say it for each.
func Unsaid(obj runtime.Object, limited []corev1.ResourceName) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok || resourcehelper.IsPodLevelResourcesSet(pod) {
		return nil
	}
	lacking := map[corev1.ResourceName]map[string]bool{}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			said := corev1.ResourceList{}
			compute(said, containers[i].Resources.Requests, containers[i].Resources.Limits)
			for _, name := range limited {
				if _, has := said[name]; has || !mustBeSaid[name] {
					continue
				}
				if lacking[name] == nil {
					lacking[name] = map[string]bool{}
				}
				lacking[name][containers[i].Name] = true
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		parts = append(parts, fmt.Sprintf("%s for: %s", name, strings.Join(slices.Sorted(maps.Keys(lacking[name])), ",")))
	}
	return fmt.Errorf("must specify %s", strings.Join(parts, "; "))
}
