package limitranger

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// amounts are what is held to a limit.
type amounts struct{ requests, limits corev1.ResourceList }

// checkPod holds each container of a pod, and the pod as a whole, to a LimitRange.
func checkPod(r *corev1.LimitRange, pod *corev1.Pod) (errs []error) {
	for _, limit := range r.Spec.Limits {
		switch limit.Type {
		case corev1.LimitTypeContainer:
			for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
				for _, c := range containers {
					errs = append(errs, check(limit, amounts{c.Resources.Requests, c.Resources.Limits})...)
				}
			}
		case corev1.LimitTypePod:
			spec := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
			errs = append(errs, check(limit, amounts{resourcehelper.PodRequests(pod, spec), resourcehelper.PodLimits(pod, spec)})...)
		}
	}
	return errs
}

// checkClaim holds what a claim requests to a LimitRange; claims have no limits of
// their own.
func checkClaim(r *corev1.LimitRange, claim *corev1.PersistentVolumeClaim) (errs []error) {
	for _, limit := range r.Spec.Limits {
		if limit.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		of := amounts{requests: claim.Spec.Resources.Requests}
		for _, name := range names(limit.Min) {
			errs = append(errs, minimum(limit, name, of)...)
		}
		for _, name := range names(limit.Max) {
			bound := limit.Max[name]
			if requested, has := of.requests[name]; !has {
				errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s.  No request is specified", name, limit.Type, &bound))
			} else if more(requested, bound) {
				errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, limit.Type, &bound, &requested))
			}
		}
	}
	return errs
}

func check(limit corev1.LimitRangeItem, of amounts) (errs []error) {
	for _, name := range names(limit.Min) {
		errs = append(errs, minimum(limit, name, of)...)
	}
	for _, name := range names(limit.Max) {
		errs = append(errs, maximum(limit, name, of)...)
	}
	for _, name := range names(limit.MaxLimitRequestRatio) {
		errs = append(errs, ratio(limit, name, of)...)
	}
	return errs
}

// names in order, so that the same write is always refused in the same words.
func names(list corev1.ResourceList) []corev1.ResourceName { return slices.Sorted(maps.Keys(list)) }

func minimum(limit corev1.LimitRangeItem, name corev1.ResourceName, of amounts) []error {
	bound := limit.Min[name]
	requested, has := of.requests[name]
	if !has {
		return []error{fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, limit.Type, &bound)}
	}
	if more(bound, requested) {
		return []error{fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, limit.Type, &bound, &requested)}
	}
	if limited, has := of.limits[name]; has && more(bound, limited) {
		return []error{fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, limit.Type, &bound, &limited)}
	}
	return nil
}

func maximum(limit corev1.LimitRangeItem, name corev1.ResourceName, of amounts) []error {
	bound := limit.Max[name]
	limited, has := of.limits[name]
	if !has {
		return []error{fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, limit.Type, &bound)}
	}
	if more(limited, bound) {
		return []error{fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, limit.Type, &bound, &limited)}
	}
	if requested, has := of.requests[name]; has && more(requested, bound) {
		return []error{fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, limit.Type, &bound, &requested)}
	}
	return nil
}

func ratio(limit corev1.LimitRangeItem, name corev1.ResourceName, of amounts) []error {
	bound := limit.MaxLimitRequestRatio[name]
	refuse := func(why string) []error {
		return []error{fmt.Errorf("%s max limit to request ratio per %s is %s, but %s", name, limit.Type, &bound, why)}
	}
	requested, limited := of.requests[name], of.limits[name]
	switch {
	case requested.IsZero():
		return refuse("no request is specified or request is 0")
	case limited.IsZero():
		return refuse("no limit is specified or limit is 0")
	}
	provided := limited.AsApproximateFloat64() / requested.AsApproximateFloat64()
	if provided > bound.AsApproximateFloat64() {
		return refuse(fmt.Sprintf("provided ratio is %f", provided))
	}
	return nil
}

// more says whether a is more than b, to a thousandth, which is as finely as
// resources are counted.
func more(a, b resource.Quantity) bool {
	if max(a.Value(), b.Value()) <= resource.MaxMilliValue {
		return a.MilliValue() > b.MilliValue()
	}
	return a.Value() > b.Value()
}
