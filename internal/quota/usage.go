package quota

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	resourcehelper "k8s.io/component-helpers/resource"
	volumehelper "k8s.io/component-helpers/storage/volume"
)

const (
	ofClass       = ".storageclass.storage.k8s.io/"
	ofDeviceClass = ".deviceclass.resource.k8s.io/devices"
	// implicit is the prefix of resources that stand for a device class.
	implicit  = resourcev1.ResourceDeviceClassPrefix
	hugePages = corev1.ResourceHugePagesPrefix
	requests  = corev1.DefaultResourceRequestsPrefix
)

// Usage is what an object counts for: itself, and what is in it.
func Usage(of schema.GroupResource, obj runtime.Object, now time.Time) corev1.ResourceList {
	usage := corev1.ResourceList{CountName(of): number(1)}
	if alias, has := older[of]; has {
		usage[alias] = number(1)
	}
	switch obj := obj.(type) {
	case *corev1.Pod:
		ofPod(usage, obj, now)
	case *corev1.Service:
		ofService(usage, obj)
	case *corev1.PersistentVolumeClaim:
		ofClaim(usage, obj)
	case *resourcev1.ResourceClaim:
		ofDevices(usage, obj)
	}
	return usage
}

func countsPods(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	s := string(name)
	return strings.HasPrefix(s, hugePages) || strings.HasPrefix(s, requests+hugePages) ||
		strings.HasPrefix(s, requests) && (!native(name) || strings.HasPrefix(s, requests+implicit))
}

// native: of Kubernetes itself, not a device of somebody's.
func native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// ofPod adds what a pod requests, unless it has ended, or should have by now: a pod
// that is stuck on a lost node does not keep its place.
func ofPod(usage corev1.ResourceList, pod *corev1.Pod, now time.Time) {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return
	}
	if end, grace := pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds; end != nil && grace != nil && now.After(end.Add(time.Duration(*grace)*time.Second)) {
		return
	}
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: true}
	usage[corev1.ResourcePods] = number(1)
	compute(usage, resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts))
}

func compute(usage, requested, limits corev1.ResourceList) {
	for name, quantity := range requested {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage, strings.HasPrefix(string(name), hugePages):
			usage[name], usage[requests+name] = quantity, quantity
		case !native(name), strings.HasPrefix(string(name), implicit):
			usage[requests+name] = quantity
		}
	}
	for name, quantity := range limits {
		switch name {
		case corev1.ResourceCPU:
			usage[corev1.ResourceLimitsCPU] = quantity
		case corev1.ResourceMemory:
			usage[corev1.ResourceLimitsMemory] = quantity
		case corev1.ResourceEphemeralStorage:
			usage[corev1.ResourceLimitsEphemeralStorage] = quantity
		}
	}
}

func ofService(usage corev1.ResourceList, s *corev1.Service) {
	ports, balancers := 0, int64(0)
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = len(s.Spec.Ports)
	case corev1.ServiceTypeLoadBalancer:
		balancers, ports = 1, len(s.Spec.Ports)
		if allocates := s.Spec.AllocateLoadBalancerNodePorts; allocates != nil && !*allocates {
			ports = 0
			for _, p := range s.Spec.Ports {
				if p.NodePort != 0 {
					ports++
				}
			}
		}
	}
	usage[corev1.ResourceServices] = number(1)
	usage[corev1.ResourceServicesNodePorts] = number(int64(ports))
	usage[corev1.ResourceServicesLoadBalancers] = number(balancers)
}

// ofClaim adds a claim's storage: what it has been given, where that is more than it
// asks for now.
func ofClaim(usage corev1.ResourceList, c *corev1.PersistentVolumeClaim) {
	class := volumehelper.GetPersistentVolumeClaimClass(c)
	add := func(name corev1.ResourceName, quantity resource.Quantity) {
		usage[name] = quantity
		if class != "" {
			usage[corev1.ResourceName(class+ofClass)+name] = quantity
		}
	}
	add(corev1.ResourcePersistentVolumeClaims, number(1))
	storage, asks := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !asks {
		return
	}
	if given, has := c.Status.AllocatedResources[corev1.ResourceStorage]; has && given.Cmp(storage) > 0 {
		storage = given
	}
	// Quotas count whole bytes.
	storage = storage.DeepCopy()
	storage.RoundUp(0)
	add(corev1.ResourceRequestsStorage, storage)
}

// ofDevices adds the devices that a claim asks for at most, by their class.
func ofDevices(usage corev1.ResourceList, c *resourcev1.ResourceClaim) {
	for i := range c.Spec.Devices.Requests {
		r := &c.Spec.Devices.Requests[i]
		most := map[string]int64{}
		if e := r.Exactly; e != nil {
			most[e.DeviceClassName] = devices(e.AllocationMode, e.Count)
		}
		for _, sub := range r.FirstAvailable {
			most[sub.DeviceClassName] = max(most[sub.DeviceClassName], devices(sub.AllocationMode, sub.Count))
		}
		for class, n := range most {
			name := corev1.ResourceName(class + ofDeviceClass)
			total := usage[name]
			total.Add(number(n))
			usage[name] = total
		}
	}
}

func devices(mode resourcev1.DeviceAllocationMode, count int64) int64 {
	if mode == resourcev1.DeviceAllocationModeAll {
		return resourcev1.AllocationResultsMaxSize
	}
	return count
}
