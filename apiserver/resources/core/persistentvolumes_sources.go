package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// validateVolumeSource wants one source and checks it. Those that pods have too are
// checked as theirs.
func validateVolumeSource(v *corev1.PersistentVolume, at *field.Path) field.ErrorList {
	spec := &v.Spec
	s := &spec.PersistentVolumeSource
	var errs field.ErrorList
	n := 0
	source := func(set bool, name string, check func() field.ErrorList) {
		if !set {
			return
		}
		// Upstream forgets to refuse a FlexVolume beside others.
		if n++; n > 1 && name != "flexVolume" {
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 volume type"))
			return
		}
		errs = append(errs, check()...)
	}
	shared := func(set bool, name string, of corev1.VolumeSource) {
		// The check reports below the source's own name.
		source(set, name, func() field.ErrorList { return podspec.ValidateSource(&of, at) })
	}
	needs := func(name string, pairs ...string) field.ErrorList {
		var errs field.ErrorList
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				errs = append(errs, field.Required(at.Child(name, pairs[i]), ""))
			}
		}
		return errs
	}
	shared(s.HostPath != nil, "hostPath", corev1.VolumeSource{HostPath: s.HostPath})
	shared(s.GCEPersistentDisk != nil, "gcePersistentDisk", corev1.VolumeSource{GCEPersistentDisk: s.GCEPersistentDisk})
	shared(s.AWSElasticBlockStore != nil, "awsElasticBlockStore", corev1.VolumeSource{AWSElasticBlockStore: s.AWSElasticBlockStore})
	source(s.Glusterfs != nil, "glusterfs", func() field.ErrorList {
		errs := needs("glusterfs", "endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path)
		if ns := s.Glusterfs.EndpointsNamespace; ns != nil {
			child := at.Child("glusterfs", "endpointsNamespace")
			if *ns == "" {
				return append(errs, field.Invalid(child, *ns, "if the endpointnamespace is set, it must be a valid namespace name"))
			}
			errs = append(errs, rules.Label(*ns, child)...)
		}
		return errs
	})
	shared(s.Flocker != nil, "flocker", corev1.VolumeSource{Flocker: s.Flocker})
	shared(s.NFS != nil, "nfs", corev1.VolumeSource{NFS: s.NFS})
	source(s.RBD != nil, "rbd", func() field.ErrorList {
		return needs("rbd", "monitors", strings.Join(s.RBD.CephMonitors, ","), "image", s.RBD.RBDImage)
	})
	shared(s.Quobyte != nil, "quobyte", corev1.VolumeSource{Quobyte: s.Quobyte})
	// The name below which the source itself is checked is another one.
	source(s.CephFS != nil, "cephFS", func() field.ErrorList { return needs("cephfs", "monitors", strings.Join(s.CephFS.Monitors, ",")) })
	source(s.ISCSI != nil, "iscsi", func() field.ErrorList { return validateISCSI(s.ISCSI, v.Name, at.Child("iscsi")) })
	source(s.Cinder != nil, "cinder", func() field.ErrorList {
		errs := needs("cinder", "volumeID", s.Cinder.VolumeID)
		return append(errs, secretRef(s.Cinder.SecretRef, needs, "cinder")...)
	})
	shared(s.FC != nil, "fc", corev1.VolumeSource{FC: s.FC})
	source(s.FlexVolume != nil, "flexVolume", func() field.ErrorList {
		return append(needs("flexVolume", "driver", s.FlexVolume.Driver), podspec.FlexOptions(s.FlexVolume.Options, at.Child("flexVolume", "options"))...)
	})
	source(s.AzureFile != nil, "azureFile", func() field.ErrorList {
		errs := needs("azureFile", "secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName)
		if ns := s.AzureFile.SecretNamespace; ns != nil {
			errs = append(errs, needs("azureFile", "secretNamespace", *ns)...)
		}
		return errs
	})
	shared(s.VsphereVolume != nil, "vsphereVolume", corev1.VolumeSource{VsphereVolume: s.VsphereVolume})
	shared(s.PhotonPersistentDisk != nil, "photonPersistentDisk", corev1.VolumeSource{PhotonPersistentDisk: s.PhotonPersistentDisk})
	shared(s.PortworxVolume != nil, "portworxVolume", corev1.VolumeSource{PortworxVolume: s.PortworxVolume})
	shared(s.AzureDisk != nil, "azureDisk", corev1.VolumeSource{AzureDisk: s.AzureDisk})
	source(s.ScaleIO != nil, "scaleIO", func() field.ErrorList {
		return needs("scaleIO", "gateway", s.ScaleIO.Gateway, "system", s.ScaleIO.System, "volumeName", s.ScaleIO.VolumeName)
	})
	source(s.Local != nil, "local", func() field.ErrorList {
		errs := needs("local", "path", s.Local.Path)
		if strings.Contains("/"+s.Local.Path+"/", "/../") {
			errs = append(errs, field.Invalid(at.Child("local", "path"), s.Local.Path, "must not contain '..'"))
		}
		if spec.NodeAffinity == nil {
			errs = append(errs, field.Required(at.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
		return errs
	})
	source(s.StorageOS != nil, "storageos", func() field.ErrorList {
		errs := podspec.StorageOSNames(s.StorageOS.VolumeName, s.StorageOS.VolumeNamespace, at.Child("storageos"))
		if ref := s.StorageOS.SecretRef; ref != nil {
			errs = append(errs, secretRef(&corev1.SecretReference{Name: ref.Name, Namespace: ref.Namespace}, needs, "storageos")...)
		}
		return errs
	})
	source(s.CSI != nil, "csi", func() field.ErrorList { return validateCSISource(s.CSI, at.Child("csi")) })
	if n == 0 {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

// secretRef wants both names of a secret.
func secretRef(ref *corev1.SecretReference, needs func(string, ...string) field.ErrorList, name string) field.ErrorList {
	if ref == nil {
		return nil
	}
	return needs(name, "secretRef.name", ref.Name, "secretRef.namespace", ref.Namespace)
}

// maxInitiator bounds the name under which a node logs in, in bytes.
const maxInitiator = 64

func validateISCSI(s *corev1.ISCSIPersistentVolumeSource, volume string, at *field.Path) field.ErrorList {
	asOfPod := &corev1.ISCSIVolumeSource{
		TargetPortal: s.TargetPortal, IQN: s.IQN, Lun: s.Lun, InitiatorName: s.InitiatorName,
		DiscoveryCHAPAuth: s.DiscoveryCHAPAuth, SessionCHAPAuth: s.SessionCHAPAuth,
	}
	if s.SecretRef != nil {
		asOfPod.SecretRef = &corev1.LocalObjectReference{Name: s.SecretRef.Name}
	}
	errs := podspec.ValidateISCSI(asOfPod, "must be valid format", at)
	if s.InitiatorName != nil && len(volume+":"+s.TargetPortal) > maxInitiator {
		errs = append(errs, field.Invalid(at.Child("targetportal"), s.TargetPortal,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	if s.SecretRef != nil && s.SecretRef.Name == "" {
		errs = append(errs, field.Required(at.Child("secretRef", "name"), ""))
	}
	return errs
}

func validateCSISource(s *corev1.CSIPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := volumes.CSIDriverName(s.Driver, at.Child("driver"))
	if s.VolumeHandle == "" {
		errs = append(errs, field.Required(at.Child("volumeHandle"), ""))
	}
	// Upstream leaves out the secret for staging.
	for _, of := range []struct {
		name string
		ref  *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", s.ControllerPublishSecretRef}, {"controllerExpandSecretRef", s.ControllerExpandSecretRef},
		{"nodePublishSecretRef", s.NodePublishSecretRef}, {"nodeExpandSecretRef", s.NodeExpandSecretRef},
	} {
		if of.ref == nil {
			continue
		}
		if name := at.Child(of.name, "name"); of.ref.Name == "" {
			errs = append(errs, field.Required(name, ""))
		} else {
			errs = append(errs, rules.Subdomain(of.ref.Name, name)...)
		}
		if namespace := at.Child(of.name, "namespace"); of.ref.Namespace == "" {
			errs = append(errs, field.Required(namespace, ""))
		} else {
			errs = append(errs, rules.Label(of.ref.Namespace, namespace)...)
		}
	}
	return errs
}
