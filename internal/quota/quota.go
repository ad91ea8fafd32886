// Package quota counts what objects use of a namespace's ResourceQuotas: admission
// charges by it, and the controller that corrects the charges counts by it too. All
// of it is pure. Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/.
package quota

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources whose objects count for more than their number.
var (
	Pods     = corev1.Resource("pods")
	Services = corev1.Resource("services")
	Claims   = corev1.Resource("persistentvolumeclaims")
	Devices  = resourcev1.Resource("resourceclaims")
)

// older are the names by which objects were counted before "count/".
var older = map[schema.GroupResource]corev1.ResourceName{
	corev1.Resource("configmaps"):             corev1.ResourceConfigMaps,
	corev1.Resource("resourcequotas"):         corev1.ResourceQuotas,
	corev1.Resource("replicationcontrollers"): corev1.ResourceReplicationControllers,
	corev1.Resource("secrets"):                corev1.ResourceSecrets,
}

// CountName is the name by which the objects of a resource are counted.
func CountName(of schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName("count/" + of.String())
}

// Counted is the resource whose objects a name counts; false: it is no such name, or
// one of those with usage of their own.
func Counted(name corev1.ResourceName) (schema.GroupResource, bool) {
	if of, is := strings.CutPrefix(string(name), "count/"); is {
		return schema.ParseGroupResource(of), true
	}
	for of, alias := range older {
		if alias == name {
			return of, true
		}
	}
	return schema.GroupResource{}, false
}

// Names are those of a quota's limits that objects of a resource count for, in order.
func Names(of schema.GroupResource, hard corev1.ResourceList) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name := range hard {
		if counts(of, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func counts(of schema.GroupResource, name corev1.ResourceName) bool {
	if name == CountName(of) || older[of] == name {
		return true
	}
	switch of {
	case Pods:
		return countsPods(name)
	case Services:
		return name == corev1.ResourceServices || name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	case Claims:
		s := string(name)
		return name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage ||
			strings.HasSuffix(s, ofClass+string(corev1.ResourcePersistentVolumeClaims)) || strings.HasSuffix(s, ofClass+string(corev1.ResourceRequestsStorage))
	case Devices:
		return strings.HasSuffix(string(name), ofDeviceClass)
	}
	return false
}

// Add is the sum, in a new list.
func Add(a, b corev1.ResourceList) corev1.ResourceList {
	sum := make(corev1.ResourceList, len(a)+len(b))
	for _, list := range []corev1.ResourceList{a, b} {
		for name, quantity := range list {
			total := sum[name]
			if total.IsZero() {
				total = quantity.DeepCopy()
			} else {
				total.Add(quantity)
			}
			sum[name] = total
		}
	}
	return sum
}

// More is by how much a is more than b, without what is not.
func More(a, b corev1.ResourceList) corev1.ResourceList {
	more := corev1.ResourceList{}
	for name, quantity := range a {
		quantity = quantity.DeepCopy()
		quantity.Sub(b[name])
		if quantity.Sign() > 0 {
			more[name] = quantity
		}
	}
	return more
}

// Only are those of a list that have one of the names.
func Only(list corev1.ResourceList, names []corev1.ResourceName) corev1.ResourceList {
	only := make(corev1.ResourceList, len(names))
	for _, name := range names {
		if quantity, has := list[name]; has {
			only[name] = quantity
		}
	}
	return only
}

// Equal says whether two lists have the same amounts.
func Equal(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, quantity := range a {
		other, has := b[name]
		if !has || quantity.Cmp(other) != 0 {
			return false
		}
	}
	return true
}

// Exceeded are the names of what would be more than its limit, in order, if more were
// used beside what is.
func Exceeded(used, more, hard corev1.ResourceList) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name, quantity := range more {
		limit, limited := hard[name]
		if !limited {
			continue
		}
		total := quantity.DeepCopy()
		total.Add(used[name])
		if total.Cmp(limit) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func number(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.DecimalSI) }
