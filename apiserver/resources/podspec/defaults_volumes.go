package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// setDefault fills a pointer field that is unset.
func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = ptr.To(value)
	}
}

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if s := v.Secret; s != nil {
		setDefault(&s.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if s := v.ConfigMap; s != nil {
		setDefault(&s.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if s := v.DownwardAPI; s != nil {
		setDefault(&s.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownwardItems(s.Items)
	}
	if s := v.Projected; s != nil {
		setDefault(&s.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		for i := range s.Sources {
			if d := s.Sources[i].DownwardAPI; d != nil {
				defaultDownwardItems(d.Items)
			}
			if t := s.Sources[i].ServiceAccountToken; t != nil {
				setDefault(&t.ExpirationSeconds, 60*60)
			}
		}
	}
	if s := v.HostPath; s != nil {
		setDefault(&s.Type, corev1.HostPathUnset)
	}
	if s := v.Image; s != nil && s.PullPolicy == "" {
		s.PullPolicy = pullPolicy(s.Reference)
	}
	if s := v.Ephemeral; s != nil && s.VolumeClaimTemplate != nil {
		setDefault(&s.VolumeClaimTemplate.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	defaultRemoteVolume(v)
}

// defaultRemoteVolume fills the sources that name storage outside the node.
func defaultRemoteVolume(v *corev1.Volume) {
	if s := v.ISCSI; s != nil && s.ISCSIInterface == "" {
		s.ISCSIInterface = "default"
	}
	if s := v.RBD; s != nil {
		setEmpty(&s.RBDPool, "rbd")
		setEmpty(&s.RadosUser, "admin")
		setEmpty(&s.Keyring, "/etc/ceph/keyring")
	}
	if s := v.AzureDisk; s != nil {
		setDefault(&s.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		setDefault(&s.Kind, corev1.AzureSharedBlobDisk)
		setDefault(&s.FSType, "ext4")
		setDefault(&s.ReadOnly, false)
	}
	if s := v.ScaleIO; s != nil {
		setEmpty(&s.StorageMode, "ThinProvisioned")
		setEmpty(&s.FSType, "xfs")
	}
}

func setEmpty(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func defaultDownwardItems(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		defaultFieldRef(items[i].FieldRef)
	}
}
