package volumes

import (
	corev1 "k8s.io/api/core/v1"
)

// ObjectKind is the kind of an object that a pod refers to.
type ObjectKind uint8

const (
	KindConfigMap ObjectKind = iota
	KindSecret
)

// String is the word of upstream's error messages: configmap or secret.
func (k ObjectKind) String() string {
	if k == KindSecret {
		return "secret"
	}
	return "configmap"
}

// Ref names a ConfigMap or Secret.
type Ref struct {
	Kind            ObjectKind
	Namespace, Name string
}

// References lists the ConfigMaps and Secrets that a pod refers to, each once:
// in volumes, environment and pull secrets, optional ones included.
func References(pod *corev1.Pod) []Ref {
	var refs []Ref
	seen := map[Ref]bool{}
	add := func(kind ObjectKind, name string) {
		ref := Ref{Kind: kind, Namespace: pod.Namespace, Name: name}
		if name != "" && !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.ConfigMap != nil:
			add(KindConfigMap, v.ConfigMap.Name)
		case v.Secret != nil:
			add(KindSecret, v.Secret.SecretName)
		case v.Projected != nil:
			for j := range v.Projected.Sources {
				if s := v.Projected.Sources[j].ConfigMap; s != nil {
					add(KindConfigMap, s.Name)
				}
				if s := v.Projected.Sources[j].Secret; s != nil {
					add(KindSecret, s.Name)
				}
			}
		}
	}
	environment := func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for _, e := range env {
			if e.ValueFrom == nil {
				continue
			}
			if s := e.ValueFrom.ConfigMapKeyRef; s != nil {
				add(KindConfigMap, s.Name)
			}
			if s := e.ValueFrom.SecretKeyRef; s != nil {
				add(KindSecret, s.Name)
			}
		}
		for _, e := range from {
			if e.ConfigMapRef != nil {
				add(KindConfigMap, e.ConfigMapRef.Name)
			}
			if e.SecretRef != nil {
				add(KindSecret, e.SecretRef.Name)
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		environment(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Containers {
		environment(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
	}
	for i := range pod.Spec.EphemeralContainers {
		environment(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add(KindSecret, s.Name)
	}
	return refs
}
