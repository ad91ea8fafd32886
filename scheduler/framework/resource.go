package framework

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

const (
	// DefaultMilliCPURequest is what a container that requests no CPU counts for
	// in scores, so that such pods do not all land on one node.
	DefaultMilliCPURequest int64 = 100
	// DefaultMemoryRequest is the same for memory: 200 MiB.
	DefaultMemoryRequest int64 = 200 * 1024 * 1024
)

// Resource is an amount of everything a node has, as integers: thousandths of a
// CPU, bytes, and whole units of the rest.
type Resource struct {
	MilliCPU         int64
	Memory           int64
	EphemeralStorage int64
	// AllowedPods is how many pods a node takes; 0 in what pods request.
	AllowedPods int64
	// Scalar holds extended resources and huge pages; nil where there are none.
	Scalar map[corev1.ResourceName]int64
}

// NewResource converts a list.
func NewResource(list corev1.ResourceList) Resource {
	var r Resource
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.MilliCPU = q.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.EphemeralStorage = q.Value()
		case corev1.ResourcePods:
			r.AllowedPods = q.Value()
		default:
			if r.Scalar == nil {
				r.Scalar = make(map[corev1.ResourceName]int64)
			}
			r.Scalar[name] = q.Value()
		}
	}
	return r
}

// add adds o times sign.
func (r *Resource) add(o *Resource, sign int64) {
	r.MilliCPU += sign * o.MilliCPU
	r.Memory += sign * o.Memory
	r.EphemeralStorage += sign * o.EphemeralStorage
	for name, v := range o.Scalar {
		if r.Scalar == nil {
			r.Scalar = make(map[corev1.ResourceName]int64)
		}
		r.Scalar[name] += sign * v
	}
}

func (r *Resource) clone() Resource {
	c := *r
	if r.Scalar != nil {
		c.Scalar = make(map[corev1.ResourceName]int64, len(r.Scalar))
		for k, v := range r.Scalar {
			c.Scalar[k] = v
		}
	}
	return c
}

func (r *Resource) equal(o *Resource) bool {
	if r.MilliCPU != o.MilliCPU || r.Memory != o.Memory || r.EphemeralStorage != o.EphemeralStorage || r.AllowedPods != o.AllowedPods || len(r.Scalar) != len(o.Scalar) {
		return false
	}
	for k, v := range r.Scalar {
		if w, ok := o.Scalar[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// podRequests is what a pod takes from a node, and the same with containers that
// request no CPU or memory counted at the defaults. A pod that runs is counted
// at what it was given, where a resize is under way.
func podRequests(pod *corev1.Pod) (requests, nonZero Resource) {
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: pod.Spec.NodeName != ""}
	requests = NewResource(resourcehelper.PodRequests(pod, opts))
	if everyContainerRequests(pod) {
		return requests, requests
	}
	opts.NonMissingContainerRequests = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(DefaultMilliCPURequest, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(DefaultMemoryRequest, resource.BinarySI),
	}
	return requests, NewResource(resourcehelper.PodRequests(pod, opts))
}

// everyContainerRequests spares the second sum for the common pod.
func everyContainerRequests(pod *corev1.Pod) bool {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			r := containers[i].Resources.Requests
			_, cpu := r[corev1.ResourceCPU]
			_, memory := r[corev1.ResourceMemory]
			if !cpu || !memory {
				return false
			}
		}
	}
	return true
}
