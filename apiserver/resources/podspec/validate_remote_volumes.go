package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// validateRemoteSources checks the sources that name storage outside the node,
// most of them served by CSI drivers today.
func validateRemoteSources(s *corev1.VolumeSource, source func(bool, string, func(*field.Path) field.ErrorList)) {
	all := func(at *field.Path, pairs ...string) field.ErrorList {
		var errs field.ErrorList
		for i := 0; i < len(pairs); i += 2 {
			errs = append(errs, required(pairs[i+1], at.Child(pairs[i]))...)
		}
		return errs
	}
	source(s.NFS != nil, "nfs", func(at *field.Path) field.ErrorList {
		errs := all(at, "server", s.NFS.Server, "path", s.NFS.Path)
		if s.NFS.Path != "" && !strings.HasPrefix(s.NFS.Path, "/") {
			errs = append(errs, field.Invalid(at.Child("path"), s.NFS.Path, "must be an absolute path"))
		}
		return errs
	})
	source(s.CSI != nil, "csi", func(at *field.Path) field.ErrorList {
		errs := required(s.CSI.Driver, at.Child("driver"))
		if s.CSI.Driver != "" {
			errs = append(errs, rules.Matches(s.CSI.Driver, at.Child("driver"), validation.IsDNS1123Subdomain(strings.ToLower(s.CSI.Driver)))...)
		}
		if s.CSI.NodePublishSecretRef != nil {
			errs = append(errs, required(s.CSI.NodePublishSecretRef.Name, at.Child("nodePublishSecretRef", "name"))...)
		}
		return errs
	})
	source(s.Ephemeral != nil, "ephemeral", func(at *field.Path) field.ErrorList {
		if s.Ephemeral.VolumeClaimTemplate == nil {
			return field.ErrorList{field.Required(at.Child("volumeClaimTemplate"), "")}
		}
		return volumes.ClaimSpec(&s.Ephemeral.VolumeClaimTemplate.Spec, at.Child("volumeClaimTemplate", "spec"))
	})
	none := func(*field.Path) field.ErrorList { return nil }
	source(s.GCEPersistentDisk != nil, "gcePersistentDisk", func(at *field.Path) field.ErrorList { return all(at, "pdName", s.GCEPersistentDisk.PDName) })
	source(s.AWSElasticBlockStore != nil, "awsElasticBlockStore", func(at *field.Path) field.ErrorList {
		return all(at, "volumeID", s.AWSElasticBlockStore.VolumeID)
	})
	source(s.GitRepo != nil, "gitRepo", func(at *field.Path) field.ErrorList {
		return append(all(at, "repository", s.GitRepo.Repository), localPath(s.GitRepo.Directory, at.Child("directory"), true)...)
	})
	source(s.ISCSI != nil, "iscsi", func(at *field.Path) field.ErrorList {
		return all(at, "targetPortal", s.ISCSI.TargetPortal, "iqn", s.ISCSI.IQN)
	})
	source(s.Glusterfs != nil, "glusterfs", func(at *field.Path) field.ErrorList {
		return all(at, "endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path)
	})
	source(s.RBD != nil, "rbd", func(at *field.Path) field.ErrorList {
		errs := all(at, "image", s.RBD.RBDImage)
		if len(s.RBD.CephMonitors) == 0 {
			errs = append(errs, field.Required(at.Child("monitors"), ""))
		}
		return errs
	})
	source(s.CephFS != nil, "cephfs", func(at *field.Path) field.ErrorList {
		if len(s.CephFS.Monitors) == 0 {
			return field.ErrorList{field.Required(at.Child("monitors"), "")}
		}
		return nil
	})
	source(s.FlexVolume != nil, "flexVolume", func(at *field.Path) field.ErrorList { return all(at, "driver", s.FlexVolume.Driver) })
	source(s.Cinder != nil, "cinder", func(at *field.Path) field.ErrorList { return all(at, "volumeID", s.Cinder.VolumeID) })
	source(s.AzureFile != nil, "azureFile", func(at *field.Path) field.ErrorList {
		return all(at, "secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName)
	})
	source(s.AzureDisk != nil, "azureDisk", func(at *field.Path) field.ErrorList {
		return all(at, "diskName", s.AzureDisk.DiskName, "diskURI", s.AzureDisk.DataDiskURI)
	})
	source(s.VsphereVolume != nil, "vsphereVolume", func(at *field.Path) field.ErrorList { return all(at, "volumePath", s.VsphereVolume.VolumePath) })
	source(s.PhotonPersistentDisk != nil, "photonPersistentDisk", func(at *field.Path) field.ErrorList {
		return all(at, "pdID", s.PhotonPersistentDisk.PdID)
	})
	source(s.PortworxVolume != nil, "portworxVolume", func(at *field.Path) field.ErrorList { return all(at, "volumeID", s.PortworxVolume.VolumeID) })
	source(s.ScaleIO != nil, "scaleIO", func(at *field.Path) field.ErrorList {
		return all(at, "gateway", s.ScaleIO.Gateway, "system", s.ScaleIO.System, "volumeName", s.ScaleIO.VolumeName)
	})
	source(s.Quobyte != nil, "quobyte", func(at *field.Path) field.ErrorList {
		return all(at, "registry", s.Quobyte.Registry, "volume", s.Quobyte.Volume)
	})
	source(s.FC != nil, "fc", none)
	source(s.Flocker != nil, "flocker", none)
	source(s.StorageOS != nil, "storageos", none)
}
