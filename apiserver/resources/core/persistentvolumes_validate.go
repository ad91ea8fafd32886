package core

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

func validateVolume(v *corev1.PersistentVolume, at *field.Path) field.ErrorList {
	spec := &v.Spec
	errs := volumes.AccessModes(spec.AccessModes, "", at.Child("accessModes"))
	capacity := at.Child("capacity")
	if len(spec.Capacity) == 0 {
		errs = append(errs, field.Required(capacity, ""))
	}
	if _, ok := spec.Capacity[corev1.ResourceStorage]; !ok || len(spec.Capacity) > 1 {
		errs = append(errs, field.NotSupported(capacity, spec.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for name, size := range spec.Capacity {
		if size.Sign() < 0 {
			errs = append(errs, field.Invalid(capacity.Key(string(name)), size.Value(), "must be a valid resource quantity"))
		}
		if size.Sign() <= 0 {
			errs = append(errs, field.Invalid(capacity.Key(string(name)), size.String(), "must be greater than zero"))
		}
	}
	if spec.PersistentVolumeReclaimPolicy != "" {
		errs = append(errs, rules.OneOf(spec.PersistentVolumeReclaimPolicy, at.Child("persistentVolumeReclaimPolicy"),
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	}
	if spec.NodeAffinity != nil {
		if spec.NodeAffinity.Required == nil {
			errs = append(errs, field.Required(at.Child("nodeAffinity", "required"), "must specify required node constraints"))
		} else {
			errs = append(errs, podspec.ValidateNodeSelector(spec.NodeAffinity.Required, at.Child("nodeAffinity", "required"))...)
		}
	}
	errs = append(errs, validateVolumeSource(v, at)...)
	if h := spec.HostPath; h != nil && path.Clean(h.Path) == "/" && spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(at.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	errs = append(errs, volumes.ClassName(&spec.StorageClassName, at.Child("storageClassName"))...)
	errs = append(errs, volumes.Mode(spec.VolumeMode, at.Child("volumeMode"))...)
	if class := spec.VolumeAttributesClassName; class != nil {
		if *class == "" {
			errs = append(errs, field.Required(at.Child("volumeAttributesClassName"), "an empty string is disallowed"))
		}
		errs = append(errs, volumes.ClassName(class, at.Child("volumeAttributesClassName"))...)
		if spec.CSI == nil {
			errs = append(errs, field.Required(at.Child("csi"), "has to be specified when using volumeAttributesClassName"))
		}
	}
	if _, options := v.Annotations[corev1.MountOptionAnnotation]; options && !takesMountOptions(&spec.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations", corev1.MountOptionAnnotation), "may not specify mount options for this volume type"))
	}
	return errs
}

// takesMountOptions says that the old annotation of mount options means something for a
// source.
func takesMountOptions(s *corev1.PersistentVolumeSource) bool {
	return s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil ||
		s.Quobyte != nil || s.ISCSI != nil || s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil || s.VsphereVolume != nil ||
		s.AzureDisk != nil || s.PhotonPersistentDisk != nil
}

// betaLabels are the labels of nodes that got other names: a volume may follow.
var betaLabels = map[string]string{
	corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
	corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
	"beta.kubernetes.io/os":             corev1.LabelOSStable,
	"beta.kubernetes.io/arch":           corev1.LabelArchStable,
	corev1.LabelInstanceType:            corev1.LabelInstanceTypeStable,
}

func validateVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	var errs field.ErrorList
	now, was := v.Spec.PersistentVolumeSource.DeepCopy(), old.Spec.PersistentVolumeSource
	if now.CSI != nil && was.CSI != nil && was.CSI.ControllerExpandSecretRef == nil {
		// Where expansion finds its secret may be said later.
		now.CSI.ControllerExpandSecretRef = nil
	}
	if !apiequality.Semantic.DeepEqual(*now, was) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(rules.Internal(was), rules.Internal(*now)))))
	}
	errs = append(errs, rules.Immutable(v.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil && !sameNodes(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), rules.Internal(v.Spec.NodeAffinity), "field is immutable, except for updating from beta label to GA"))
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// sameNodes says that two affinities are one, but for labels with new names.
func sameNodes(now, old *corev1.VolumeNodeAffinity) bool {
	if now != nil && now.Required != nil && old.Required != nil && len(now.Required.NodeSelectorTerms) == len(old.Required.NodeSelectorTerms) {
		old = old.DeepCopy()
		for i := range now.Required.NodeSelectorTerms {
			term, was := &now.Required.NodeSelectorTerms[i], &old.Required.NodeSelectorTerms[i]
			for j := range min(len(term.MatchExpressions), len(was.MatchExpressions)) {
				if key := &was.MatchExpressions[j].Key; betaLabels[*key] == term.MatchExpressions[j].Key {
					*key = betaLabels[*key]
				}
			}
		}
	}
	return apiequality.Semantic.DeepEqual(now, old)
}

func volumeWarnings(v *corev1.PersistentVolume) []string {
	var out []string
	warn := func(is bool, message string) {
		if is {
			out = append(out, message)
		}
	}
	_, class := v.Annotations[corev1.BetaStorageClassAnnotation]
	warn(class, `metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead`)
	_, options := v.Annotations[corev1.MountOptionAnnotation]
	warn(options, `metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use "mountOptions" attribute instead`)
	warn(v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle,
		"spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	if a := v.Spec.NodeAffinity; a != nil && a.Required != nil {
		for i := range a.Required.NodeSelectorTerms {
			out = append(out, podspec.NodeTermWarnings(&a.Required.NodeSelectorTerms[i], false, field.NewPath("spec", "nodeAffinity", "required", "nodeSelectorTerms").Index(i))...)
		}
	}
	s := &v.Spec.PersistentVolumeSource
	warn(s.CephFS != nil, "spec.cephfs: deprecated in v1.28, non-functional in v1.31+")
	warn(s.PhotonPersistentDisk != nil, "spec.photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+")
	warn(s.ScaleIO != nil, "spec.scaleIO: deprecated in v1.16, non-functional in v1.22+")
	warn(s.StorageOS != nil, "spec.storageOS: deprecated in v1.22, non-functional in v1.25+")
	warn(s.Glusterfs != nil, "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+")
	warn(s.RBD != nil, "spec.rbd: deprecated in v1.28, non-functional in v1.31+")
	return out
}
