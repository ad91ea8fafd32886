// Package admission decides whether a node takes a pod that it was given. The
// scheduler should have seen to it, but two schedulers, or a pod that names its
// node itself, may not have. A pure function over the node and its pods.
package admission

import (
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresource "k8s.io/component-helpers/resource"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Rejection says why a pod fails, in the words of its status.
type Rejection struct{ Reason, Message string }

// Admit returns nil if the pod may run on the node beside the others.
func Admit(pod *corev1.Pod, others []*corev1.Pod, node *corev1.Node) *Rejection {
	if os := pod.Spec.OS; os != nil && string(os.Name) != node.Labels[corev1.LabelOSStable] && node.Labels[corev1.LabelOSStable] != "" {
		return &Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"}
	}
	if os := pod.Spec.NodeSelector[corev1.LabelOSStable]; os != "" && os != node.Labels[corev1.LabelOSStable] {
		return &Rejection{"PodOSSelectorNodeLabelDoesNotMatch",
			"Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	if r := fits(pod, others, node); r != nil {
		return r
	}
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != node.Name {
		return &Rejection{"NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"}
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err != nil || !ok {
		return &Rejection{"NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
	}
	if port := conflict(pod, others); port != "" {
		return &Rejection{"NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"}
	}
	// Only taints that throw pods out count: NoSchedule binds the scheduler, and
	// a pod that names its node passes it by.
	if taint, found := schedulinghelper.FindMatchingUntoleratedTaint(logr.Discard(), node.Spec.Taints, pod.Spec.Tolerations,
		func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }, false); found {
		return &Rejection{"TaintToleration", fmt.Sprintf("Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate: {%s: %s}", taint.Key, taint.Value)}
	}
	return nil
}

// fits compares the pod's requests with what the others leave of the node.
func fits(pod *corev1.Pod, others []*corev1.Pod, node *corev1.Node) *Rejection {
	used := corev1.ResourceList{}
	for _, o := range others {
		for name, q := range podresource.PodRequests(o, podresource.PodResourcesOptions{}) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	if limit, ok := node.Status.Allocatable[corev1.ResourcePods]; ok && int64(len(others))+1 > limit.Value() {
		return &Rejection{"OutOfpods", fmt.Sprintf("Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", len(others), limit.Value())}
	}
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	check := func(name corev1.ResourceName, q resource.Quantity) *Rejection {
		if q.Sign() <= 0 {
			return nil
		}
		capacity, known := node.Status.Allocatable[name]
		if !known && (name == corev1.ResourceEphemeralStorage || !strings.Contains(string(name), "/") && !strings.HasPrefix(string(name), "hugepages-") && name != corev1.ResourceCPU && name != corev1.ResourceMemory) {
			return nil
		}
		total := used[name].DeepCopy()
		total.Add(q)
		if total.Cmp(capacity) <= 0 {
			return nil
		}
		amount := func(v resource.Quantity) int64 {
			if name == corev1.ResourceCPU {
				return v.MilliValue()
			}
			return v.Value()
		}
		return &Rejection{"OutOf" + string(name), fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
			name, amount(q), amount(used[name]), amount(capacity))}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if r := check(name, requests[name]); r != nil {
			return r
		}
	}
	for name, q := range requests {
		if r := check(name, q); r != nil {
			return r
		}
	}
	return nil
}

// conflict names a host port that is taken, or "".
func conflict(pod *corev1.Pod, others []*corev1.Pod) string {
	type key struct {
		protocol corev1.Protocol
		port     int32
	}
	taken := map[key][]string{}
	each := func(p *corev1.Pod, f func(k key, ip string)) {
		for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
			for i := range list {
				for _, port := range list[i].Ports {
					if port.HostPort > 0 {
						f(key{port.Protocol, port.HostPort}, port.HostIP)
					}
				}
			}
		}
	}
	for _, o := range others {
		each(o, func(k key, ip string) { taken[k] = append(taken[k], ip) })
	}
	found := ""
	wild := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	each(pod, func(k key, ip string) {
		for _, other := range taken[k] {
			if other == ip || wild(ip) || wild(other) {
				found = fmt.Sprintf("%s/%d", k.protocol, k.port)
			}
		}
	})
	return found
}
