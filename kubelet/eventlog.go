package kubelet

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/containerspec"
)

// event records one about a pod. Pods that the API never had (remains of earlier
// ones) have no name to speak of.
func (k *Kubelet) event(pod *corev1.Pod, kind, reason, message string) {
	k.events.Event(k.podReference(pod, ""), kind, reason, message)
}

// containerEvent records one about a container of a pod.
func (k *Kubelet) containerEvent(pod *corev1.Pod, name, kind, reason, message string) {
	path := ""
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			path = fmt.Sprintf("spec.containers{%s}", name)
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			path = fmt.Sprintf("spec.initContainers{%s}", name)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			path = fmt.Sprintf("spec.ephemeralContainers{%s}", name)
		}
	}
	k.events.Event(k.podReference(pod, path), kind, reason, message)
}

func (k *Kubelet) podReference(pod *corev1.Pod, path string) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, FieldPath: path}
}

// nodeReference of events about the node: upstream uses its name for a UID.
func (k *Kubelet) nodeReference() *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: k.nodeName(), UID: nodeUID(k.nodeName())}
}

func fullName(pod *corev1.Pod) string { return containerspec.FullName(pod) }
