// Package qos turns a pod's requests and limits into what the kernel knows: its
// quality-of-service class, CPU shares and quota, memory limits and the OOM
// score. Pure functions; the kubelet uses them for containers and pod cgroups.
package qos

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresource "k8s.io/component-helpers/resource"

	"github.com/strake-io/strake/runtime"
)

const (
	minShares   = 2
	maxShares   = 262144
	sharesOfCPU = 1024
	// Period of the CPU quota in µs.
	Period   = 100_000
	minQuota = 1_000

	oomGuaranteed    = -997
	oomBestEffort    = 1000
	oomNodeCritical  = -997
	criticalPriority = 2_000_001_000
)

// Class of a pod: Guaranteed where every container limits CPU and memory to what
// it requests, BestEffort where none asks for anything, Burstable otherwise.
func Class(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	guaranteed := true
	add := func(to, from corev1.ResourceList) (n int) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q, ok := from[name]; ok && q.Sign() > 0 {
				sum := to[name]
				sum.Add(q)
				to[name] = sum
				n++
			}
		}
		return n
	}
	if r := pod.Spec.Resources; r != nil && len(r.Requests)+len(r.Limits) > 0 {
		add(requests, r.Requests)
		guaranteed = add(limits, r.Limits) == 2
	} else {
		for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range list {
				add(requests, list[i].Resources.Requests)
				if add(limits, list[i].Resources.Limits) < 2 {
					guaranteed = false
				}
			}
		}
	}
	if len(requests) == 0 && len(limits) == 0 {
		return corev1.PodQOSBestEffort
	}
	if guaranteed {
		for name, r := range requests {
			if l, ok := limits[name]; !ok || l.Cmp(r) != 0 {
				guaranteed = false
			}
		}
		if guaranteed && len(requests) == len(limits) {
			return corev1.PodQOSGuaranteed
		}
	}
	return corev1.PodQOSBurstable
}

// Shares of the CPU, in the units of cgroup v1.
func Shares(milli int64) int64 {
	if milli <= 0 {
		return minShares
	}
	return min(max(milli*sharesOfCPU/1000, minShares), maxShares)
}

// Quota is the CPU time in each [Period]; 0 is no limit.
func Quota(milli int64) int64 {
	if milli <= 0 {
		return 0
	}
	return max(milli*Period/1000, minQuota)
}

// OOMScoreAdj says how willingly the kernel kills the container: -997 for
// guaranteed pods, 1000 for best-effort ones, in between the less the more of
// the machine's memory was requested.
func OOMScoreAdj(pod *corev1.Pod, c *corev1.Container, machineMemory int64) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= criticalPriority {
		return oomNodeCritical
	}
	switch Class(pod) {
	case corev1.PodQOSGuaranteed:
		return oomGuaranteed
	case corev1.PodQOSBestEffort:
		return oomBestEffort
	}
	if machineMemory <= 0 {
		return oomBestEffort - 1
	}
	request := c.Resources.Requests.Memory().Value()
	score := 1000 - int64(float64(1000)*float64(request)/float64(machineMemory))
	return min(max(score, 1000+oomGuaranteed), oomBestEffort-1)
}

// Container gives the runtime's limits of one container.
func Container(pod *corev1.Pod, c *corev1.Container, machineMemory int64) runtime.Resources {
	out := runtime.Resources{
		MemoryLimitBytes: c.Resources.Limits.Memory().Value(),
		OOMScoreAdj:      OOMScoreAdj(pod, c, machineMemory),
	}
	cpu := c.Resources.Requests.Cpu()
	if _, ok := c.Resources.Requests[corev1.ResourceCPU]; !ok {
		cpu = c.Resources.Limits.Cpu()
	}
	out.CPUShares = Shares(cpu.MilliValue())
	if q := Quota(c.Resources.Limits.Cpu().MilliValue()); q > 0 {
		out.CPUQuota, out.CPUPeriod = q, Period
	}
	return out
}

// Pod gives the limits of a pod's cgroup. Quota and memory are limited only if
// every container is.
func Pod(pod *corev1.Pod) runtime.Resources {
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	limits := podresource.PodLimits(pod, podresource.PodResourcesOptions{})
	out := runtime.Resources{CPUShares: Shares(requests.Cpu().MilliValue())}
	if all(pod, corev1.ResourceCPU) {
		if q := Quota(limits.Cpu().MilliValue()); q > 0 {
			out.CPUQuota, out.CPUPeriod = q, Period
		}
	}
	if all(pod, corev1.ResourceMemory) {
		out.MemoryLimitBytes = limits.Memory().Value()
	}
	return out
}

func all(pod *corev1.Pod, name corev1.ResourceName) bool {
	if r := pod.Spec.Resources; r != nil {
		if q, ok := r.Limits[name]; ok && q.Sign() > 0 {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if q, ok := pod.Spec.Containers[i].Resources.Limits[name]; !ok || q.Sign() <= 0 {
			return false
		}
	}
	for i := range pod.Spec.InitContainers {
		if q, ok := pod.Spec.InitContainers[i].Resources.Limits[name]; !ok || q.Sign() <= 0 {
			return false
		}
	}
	return len(pod.Spec.Containers) > 0
}

// Sum adds up CPU (in thousandths) requested by pods, for the shares of a class.
func Sum(pods []*corev1.Pod, class corev1.PodQOSClass) int64 {
	total := resource.Quantity{}
	for _, p := range pods {
		if Class(p) == class {
			requests := podresource.PodRequests(p, podresource.PodResourcesOptions{})
			total.Add(*requests.Cpu())
		}
	}
	return min(total.MilliValue(), math.MaxInt64/sharesOfCPU)
}
