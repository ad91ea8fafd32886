package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// References of a pod to objects beside it, by name.
type References struct {
	Secrets, ConfigMaps []string
}

// ReferencesOf collects the secrets and config maps of the pod's namespace that its
// containers and volumes name, and the secrets that its images are pulled with.
// Names come as often as they are named; empty ones do not.
func ReferencesOf(spec *corev1.PodSpec) References {
	var out References
	secret := func(name string) {
		if name != "" {
			out.Secrets = append(out.Secrets, name)
		}
	}
	configMap := func(name string) {
		if name != "" {
			out.ConfigMaps = append(out.ConfigMaps, name)
		}
	}
	for _, s := range spec.ImagePullSecrets {
		secret(s.Name)
	}
	environment := func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for i := range from {
			if from[i].SecretRef != nil {
				secret(from[i].SecretRef.Name)
			}
			if from[i].ConfigMapRef != nil {
				configMap(from[i].ConfigMapRef.Name)
			}
		}
		for i := range env {
			if env[i].ValueFrom == nil {
				continue
			}
			if ref := env[i].ValueFrom.SecretKeyRef; ref != nil {
				secret(ref.Name)
			}
			if ref := env[i].ValueFrom.ConfigMapKeyRef; ref != nil {
				configMap(ref.Name)
			}
		}
	}
	for i := range spec.InitContainers {
		environment(spec.InitContainers[i].Env, spec.InitContainers[i].EnvFrom)
	}
	for i := range spec.Containers {
		environment(spec.Containers[i].Env, spec.Containers[i].EnvFrom)
	}
	for i := range spec.EphemeralContainers {
		environment(spec.EphemeralContainers[i].Env, spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range spec.Volumes {
		volumeReferences(&spec.Volumes[i].VolumeSource, secret, configMap)
	}
	return out
}

func volumeReferences(v *corev1.VolumeSource, secret, configMap func(name string)) {
	local := func(ref *corev1.LocalObjectReference) {
		if ref != nil {
			secret(ref.Name)
		}
	}
	switch {
	case v.AzureFile != nil:
		secret(v.AzureFile.SecretName)
	case v.CephFS != nil:
		local(v.CephFS.SecretRef)
	case v.Cinder != nil:
		local(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		local(v.FlexVolume.SecretRef)
	case v.RBD != nil:
		local(v.RBD.SecretRef)
	case v.ScaleIO != nil:
		local(v.ScaleIO.SecretRef)
	case v.ISCSI != nil:
		local(v.ISCSI.SecretRef)
	case v.StorageOS != nil:
		local(v.StorageOS.SecretRef)
	case v.CSI != nil:
		local(v.CSI.NodePublishSecretRef)
	case v.Secret != nil:
		secret(v.Secret.SecretName)
	case v.ConfigMap != nil:
		configMap(v.ConfigMap.Name)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				secret(s.Name)
			}
			if c := v.Projected.Sources[i].ConfigMap; c != nil {
				configMap(c.Name)
			}
		}
	}
}

// ClaimName is the claim that a volume of a pod stands for, "" where it stands for
// none.
func ClaimName(pod *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return ephemeral.VolumeClaimName(pod, v)
	}
	return ""
}
