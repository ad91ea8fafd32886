package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// DefaultPodResources fills the resources of the pod as a whole, where it has some, from
// what its containers say: the limits of huge pages, then the requests, then the limits
// of what all containers limit. It runs when admission has added the last container.
func DefaultPodResources(pod *corev1.Pod) {
	r := pod.Spec.Resources
	if r == nil || len(r.Limits) == 0 && len(r.Requests) == 0 {
		return
	}
	containers := &corev1.Pod{Spec: corev1.PodSpec{Containers: pod.Spec.Containers, InitContainers: pod.Spec.InitContainers}}
	limits := resourcehelper.AggregateContainerLimits(containers, resourcehelper.PodResourcesOptions{})
	for name, q := range limits {
		_, requested := r.Requests[name]
		if isHugePages(name) && resourcehelper.IsSupportedPodLevelResource(name) && !requested {
			r.Limits = orElse(r.Limits, name, q)
		}
	}
	requests := resourcehelper.AggregateContainerRequests(containers, resourcehelper.PodResourcesOptions{})
	for name, q := range requests {
		if resourcehelper.IsSupportedPodLevelResource(name) && overcommits(name) {
			r.Requests = orElse(r.Requests, name, q)
		}
	}
	for name, q := range r.Limits {
		if resourcehelper.IsSupportedPodLevelResource(name) {
			r.Requests = orElse(r.Requests, name, q)
		}
	}
	for name, request := range r.Requests {
		limit, ok := limits[name]
		if !ok || !resourcehelper.IsSupportedPodLevelResource(name) || !allLimit(pod, name) {
			continue
		}
		if request.Cmp(limit) > 0 {
			limit = request
		}
		r.Limits = orElse(r.Limits, name, limit)
	}
}

// orElse sets what a list does not have, and returns the list.
func orElse(list corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	if _, set := list[name]; !set {
		list[name] = q.DeepCopy()
	}
	return list
}

// allLimit says that each container of a pod has a limit of a resource.
func allLimit(pod *corev1.Pod, name corev1.ResourceName) bool {
	for _, c := range containersOf(&pod.Spec, nil) {
		if _, ok := c.Resources.Limits[name]; !ok {
			return false
		}
	}
	return true
}
