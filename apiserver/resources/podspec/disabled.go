package podspec

import (
	corev1 "k8s.io/api/core/v1"
)

// DropDisabled clears the fields of a pod or template that upstream's v1.37 does not
// serve by default: their feature gates are off. Those that the old spec has stay,
// since a cluster that had a gate on may have written it; old is nil on create.
func DropDisabled(spec, old *corev1.PodSpec) {
	for _, visit := range disabled {
		if old == nil || !visit(old, false) {
			visit(spec, true)
		}
	}
}

// DropDisabledTemplate is [DropDisabled] for templates, which may be nil.
func DropDisabledTemplate(template, old *corev1.PodTemplateSpec) {
	if template == nil {
		return
	}
	DropAnnotations(template.Annotations)
	if old == nil {
		DropDisabled(&template.Spec, nil)
		return
	}
	DropDisabled(&template.Spec, &old.Spec)
}

// DropAnnotations deletes those in which, long ago, init containers were said.
func DropAnnotations(annotations map[string]string) {
	for _, k := range []string{
		"pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers",
		"pod.beta.kubernetes.io/init-container-statuses", "pod.alpha.kubernetes.io/init-container-statuses",
	} {
		delete(annotations, k)
	}
}

// disabled are the features that are off: each says whether a spec uses it, and with
// drop makes it not.
var disabled = []func(spec *corev1.PodSpec, drop bool) bool{
	// GenericWorkload
	func(s *corev1.PodSpec, drop bool) bool { return unset(&s.SchedulingGroup, drop) },
	// EvictionRequestAPI
	func(s *corev1.PodSpec, drop bool) bool {
		used := len(s.EvictionResponders) > 0
		if drop {
			s.EvictionResponders = nil
		}
		return used
	},
	stopSignals, volumeModes, fileOwners, probeModes, bindMountOptions,
}

// unset says that a pointer is set, and with drop clears it.
func unset[T any](field **T, drop bool) bool {
	used := *field != nil
	if drop {
		*field = nil
	}
	return used
}

// each visits the containers of a spec, of all sorts.
func each(s *corev1.PodSpec, visit func(c *corev1.EphemeralContainerCommon) bool) bool {
	used := false
	for _, list := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range list {
			// Both types have the same fields, by upstream's rule and the compiler's.
			used = visit((*corev1.EphemeralContainerCommon)(&list[i])) || used
		}
	}
	for i := range s.EphemeralContainers {
		used = visit(&s.EphemeralContainers[i].EphemeralContainerCommon) || used
	}
	return used
}

func stopSignals(s *corev1.PodSpec, drop bool) bool {
	return each(s, func(c *corev1.EphemeralContainerCommon) bool {
		used := c.Lifecycle != nil && unset(&c.Lifecycle.StopSignal, drop)
		if used && drop && *c.Lifecycle == (corev1.Lifecycle{}) {
			c.Lifecycle = nil
		}
		return used
	})
}

func volumeModes(s *corev1.PodSpec, drop bool) bool {
	used := false
	for i := range s.Volumes {
		if e := s.Volumes[i].EmptyDir; e != nil {
			used = unset(&e.Mode, drop) || used
		}
	}
	return used
}

// fileOwners: AtomicWriteVolumeUserFields.
func fileOwners(s *corev1.PodSpec, drop bool) bool {
	used := false
	owner := func(field **int64) { used = unset(field, drop) || used }
	keys := func(items []corev1.KeyToPath) {
		for i := range items {
			owner(&items[i].User)
		}
	}
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			owner(&items[i].User)
		}
	}
	// Of sources that stand in one place, which is refused later, only the first is
	// looked at.
	for i := range s.Volumes {
		switch v := &s.Volumes[i]; {
		case v.Secret != nil:
			owner(&v.Secret.DefaultUser)
			keys(v.Secret.Items)
		case v.ConfigMap != nil:
			owner(&v.ConfigMap.DefaultUser)
			keys(v.ConfigMap.Items)
		case v.DownwardAPI != nil:
			owner(&v.DownwardAPI.DefaultUser)
			files(v.DownwardAPI.Items)
		case v.Projected != nil:
			owner(&v.Projected.DefaultUser)
			for j := range v.Projected.Sources {
				switch p := &v.Projected.Sources[j]; {
				case p.Secret != nil:
					keys(p.Secret.Items)
				case p.DownwardAPI != nil:
					files(p.DownwardAPI.Items)
				case p.ConfigMap != nil:
					keys(p.ConfigMap.Items)
				case p.ServiceAccountToken != nil:
					owner(&p.ServiceAccountToken.User)
				case p.ClusterTrustBundle != nil:
					owner(&p.ClusterTrustBundle.User)
				case p.PodCertificate != nil:
					owner(&p.PodCertificate.User)
				}
			}
		}
	}
	return used
}

// probeModes: GRPCContainerProbeTLS and H2CContainerProbe.
func probeModes(s *corev1.PodSpec, drop bool) bool {
	return each(s, func(c *corev1.EphemeralContainerCommon) bool {
		used := false
		for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p != nil && p.GRPC != nil {
				used = unset(&p.GRPC.Mode, drop) || used
			}
			if p != nil && p.HTTPGet != nil {
				used = unset(&p.HTTPGet.Protocol, drop) || used
			}
		}
		return used
	})
}

func bindMountOptions(s *corev1.PodSpec, drop bool) bool {
	return each(s, func(c *corev1.EphemeralContainerCommon) bool {
		used := false
		for i := range c.VolumeMounts {
			m := &c.VolumeMounts[i]
			used = len(m.BindMountOptions) > 0 || used
			if drop {
				m.BindMountOptions = nil
			}
		}
		return used
	})
}
