package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// What upstream's admission plug-ins set on every new pod. They are part of what
// users see of a pod, need no other object, and so are done where the pod is
// prepared: DefaultTolerationSeconds, Priority (for the two built-in classes and
// for none) and the account name of ServiceAccount. What these plug-ins read or
// refuse by other objects (priority classes, accounts that do not exist, token
// volumes) is for the API server's admission chain.

// tolerationSeconds is how long a pod stays on a node that is lost.
const tolerationSeconds = 300

// Priorities of the built-in classes.
const (
	clusterCritical, clusterCriticalPriority = "system-cluster-critical", 2000000000
	nodeCritical, nodeCriticalPriority       = "system-node-critical", 2000001000
)

func admitPod(pod *corev1.Pod) {
	spec := &pod.Spec
	if spec.ServiceAccountName == "" && pod.Annotations[corev1.MirrorPodAnnotationKey] == "" {
		spec.ServiceAccountName = "default"
		spec.DeprecatedServiceAccount = "default"
	}
	admitPriority(spec)
	tolerateLostNode(spec)
}

// tolerateLostNode lets a pod wait for its node to come back, unless it says
// itself what it does then. It runs on updates too, for clients that send the
// manifest they began with.
func tolerateLostNode(spec *corev1.PodSpec) {
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if !toleratesNoExecute(spec.Tolerations, key) {
			spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
				Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
				TolerationSeconds: ptr.To(int64(tolerationSeconds)),
			})
		}
	}
}

func admitPriority(spec *corev1.PodSpec) {
	if spec.Priority == nil {
		switch spec.PriorityClassName {
		case "":
			spec.Priority = ptr.To(int32(0))
		case clusterCritical:
			spec.Priority = ptr.To(int32(clusterCriticalPriority))
		case nodeCritical:
			spec.Priority = ptr.To(int32(nodeCriticalPriority))
		}
	}
	if spec.PreemptionPolicy == nil {
		spec.PreemptionPolicy = ptr.To(corev1.PreemptLowerPriority)
	}
}

// toleratesNoExecute says that a taint of that key would not evict the pod
// right away.
func toleratesNoExecute(tolerations []corev1.Toleration, key string) bool {
	for _, t := range tolerations {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
