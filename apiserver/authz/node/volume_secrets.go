package node

import corev1 "k8s.io/api/core/v1"

// volumeSecrets are the secrets that a node needs to mount a volume that is bound.
// Those that only controllers use are none of them.
func volumeSecrets(pv *corev1.PersistentVolume) []object {
	claim := ""
	if pv.Spec.ClaimRef != nil {
		claim = pv.Spec.ClaimRef.Namespace
	}
	var out []object
	add := func(namespace, name string) {
		if name != "" {
			out = append(out, object{secret, namespace, name})
		}
	}
	// Where no namespace is said it is the claim's.
	loose := func(ref *corev1.SecretReference) {
		switch {
		case ref == nil:
		case ref.Namespace == "":
			add(claim, ref.Name)
		default:
			add(ref.Namespace, ref.Name)
		}
	}
	strict := func(ref *corev1.SecretReference) {
		if ref != nil {
			add(ref.Namespace, ref.Name)
		}
	}
	source := &pv.Spec.PersistentVolumeSource
	switch {
	case source.AzureFile != nil:
		namespace := claim
		if n := source.AzureFile.SecretNamespace; n != nil && *n != "" {
			namespace = *n
		}
		add(namespace, source.AzureFile.SecretName)
	case source.CephFS != nil:
		loose(source.CephFS.SecretRef)
	case source.Cinder != nil:
		strict(source.Cinder.SecretRef)
	case source.FlexVolume != nil:
		loose(source.FlexVolume.SecretRef)
	case source.RBD != nil:
		loose(source.RBD.SecretRef)
	case source.ScaleIO != nil:
		loose(source.ScaleIO.SecretRef)
	case source.ISCSI != nil:
		loose(source.ISCSI.SecretRef)
	case source.StorageOS != nil:
		if ref := source.StorageOS.SecretRef; ref != nil {
			add(ref.Namespace, ref.Name)
		}
	case source.CSI != nil:
		strict(source.CSI.NodePublishSecretRef)
		strict(source.CSI.NodeStageSecretRef)
		strict(source.CSI.NodeExpandSecretRef)
	}
	return out
}
