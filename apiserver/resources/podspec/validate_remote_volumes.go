package podspec

import (
	"net"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// sourceCheck takes a source under its name, and checks it unless there was one before.
type sourceCheck = func(set bool, name string, check func(at *field.Path) field.ErrorList)

// validateDiskSources and the functions below check the sources that name storage outside
// of the node, most of them served by CSI drivers today, in the order of upstream.
func validateDiskSources(s *corev1.VolumeSource, source sourceCheck) {
	source(s.GitRepo != nil, "gitRepo", func(at *field.Path) field.ErrorList {
		return append(all(at, "repository", s.GitRepo.Repository), localPath(s.GitRepo.Directory, at.Child("directory"), true)...)
	})
	source(s.GCEPersistentDisk != nil, "persistentDisk", func(at *field.Path) field.ErrorList {
		return append(all(at, "pdName", s.GCEPersistentDisk.PDName), partition(s.GCEPersistentDisk.Partition, at)...)
	})
	source(s.AWSElasticBlockStore != nil, "awsElasticBlockStore", func(at *field.Path) field.ErrorList {
		return append(all(at, "volumeID", s.AWSElasticBlockStore.VolumeID), partition(s.AWSElasticBlockStore.Partition, at)...)
	})
}

func validateShareSources(s *corev1.VolumeSource, source sourceCheck) {
	source(s.NFS != nil, "nfs", func(at *field.Path) field.ErrorList {
		errs := all(at, "server", s.NFS.Server, "path", s.NFS.Path)
		if !strings.HasPrefix(s.NFS.Path, "/") {
			errs = append(errs, field.Invalid(at.Child("path"), s.NFS.Path, "must be an absolute path"))
		}
		return errs
	})
	source(s.ISCSI != nil, "iscsi", func(at *field.Path) field.ErrorList {
		return ValidateISCSI(s.ISCSI, "must be valid format starting with iqn, eui, or naa", at)
	})
	source(s.Glusterfs != nil, "glusterfs", func(at *field.Path) field.ErrorList {
		return all(at, "endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path)
	})
	source(s.Flocker != nil, "flocker", func(at *field.Path) field.ErrorList { return validateFlocker(s.Flocker, at) })
	source(s.PersistentVolumeClaim != nil, "persistentVolumeClaim", func(at *field.Path) field.ErrorList {
		return required(s.PersistentVolumeClaim.ClaimName, at.Child("claimName"))
	})
	source(s.RBD != nil, "rbd", func(at *field.Path) field.ErrorList {
		return append(monitors(s.RBD.CephMonitors, at), all(at, "image", s.RBD.RBDImage)...)
	})
	source(s.Cinder != nil, "cinder", func(at *field.Path) field.ErrorList {
		errs := all(at, "volumeID", s.Cinder.VolumeID)
		if s.Cinder.SecretRef != nil {
			errs = append(errs, required(s.Cinder.SecretRef.Name, at.Child("secretRef", "name"))...)
		}
		return errs
	})
	source(s.CephFS != nil, "cephfs", func(at *field.Path) field.ErrorList { return monitors(s.CephFS.Monitors, at) })
	source(s.Quobyte != nil, "quobyte", func(at *field.Path) field.ErrorList { return validateQuobyte(s.Quobyte, at) })
}

func validateCloudSources(s *corev1.VolumeSource, source sourceCheck) {
	source(s.AzureFile != nil, "azureFile", func(at *field.Path) field.ErrorList {
		return all(at, "secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName)
	})
	source(s.VsphereVolume != nil, "vsphereVolume", func(at *field.Path) field.ErrorList { return all(at, "volumePath", s.VsphereVolume.VolumePath) })
	source(s.PhotonPersistentDisk != nil, "photonPersistentDisk", func(at *field.Path) field.ErrorList {
		return all(at, "pdID", s.PhotonPersistentDisk.PdID)
	})
	source(s.PortworxVolume != nil, "portworxVolume", func(at *field.Path) field.ErrorList { return all(at, "volumeID", s.PortworxVolume.VolumeID) })
	source(s.AzureDisk != nil, "azureDisk", func(at *field.Path) field.ErrorList { return validateAzureDisk(s.AzureDisk, at) })
	source(s.StorageOS != nil, "storageos", func(at *field.Path) field.ErrorList {
		errs := StorageOSNames(s.StorageOS.VolumeName, s.StorageOS.VolumeNamespace, at)
		if s.StorageOS.SecretRef != nil {
			errs = append(errs, required(s.StorageOS.SecretRef.Name, at.Child("secretRef", "name"))...)
		}
		return errs
	})
}

func validateDriverSources(s *corev1.VolumeSource, source sourceCheck) {
	source(s.CSI != nil, "csi", func(at *field.Path) field.ErrorList {
		errs := volumes.CSIDriverName(s.CSI.Driver, at.Child("driver"))
		switch ref := s.CSI.NodePublishSecretRef; {
		case ref == nil:
		case ref.Name == "":
			errs = append(errs, field.Required(at.Child("nodePublishSecretRef", "name"), ""))
		default:
			errs = append(errs, rules.Subdomain(ref.Name, at.Child("name"))...)
		}
		return errs
	})
	source(s.Ephemeral != nil, "ephemeral", func(at *field.Path) field.ErrorList {
		if s.Ephemeral.VolumeClaimTemplate == nil {
			return field.ErrorList{field.Required(at.Child("volumeClaimTemplate"), "")}
		}
		return validateClaimTemplate(s.Ephemeral.VolumeClaimTemplate, at.Child("volumeClaimTemplate"))
	})
}

// all checks that of pairs of a field and its value none is empty.
func all(at *field.Path, pairs ...string) field.ErrorList {
	var errs field.ErrorList
	for i := 0; i < len(pairs); i += 2 {
		errs = append(errs, required(pairs[i+1], at.Child(pairs[i]))...)
	}
	return errs
}

// validateClaimTemplate checks the template of a claim that is made with the pod: of
// its metadata only labels and annotations may be set.
func validateClaimTemplate(t *corev1.PersistentVolumeClaimTemplate, path *field.Path) field.ErrorList {
	errs := rules.TemplateMeta(&t.ObjectMeta, path.Child("metadata"))
	return append(errs, volumes.ClaimSpec(&t.Spec, path.Child("spec"))...)
}

func partition(n int32, path *field.Path) field.ErrorList {
	if n < 0 || n > 255 {
		return field.ErrorList{field.Invalid(path.Child("partition"), n, validation.InclusiveRangeError(1, 255))}
	}
	return nil
}

func monitors(list []string, path *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(path.Child("monitors"), "")}
	}
	return nil
}

func validateQuobyte(q *corev1.QuobyteVolumeSource, path *field.Path) field.ErrorList {
	const form = "must be a host:port pair or multiple pairs separated by commas"
	var errs field.ErrorList
	switch {
	case q.Registry == "":
		errs = append(errs, field.Required(path.Child("registry"), form))
	case len(q.Tenant) >= 65:
		errs = append(errs, field.Required(path.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for pair := range strings.SplitSeq(q.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(path.Child("registry"), q.Registry, form))
			}
		}
	}
	return append(errs, all(path, "volume", q.Volume)...)
}

// FlexOptions checks that the options of a FlexVolume leave Kubernetes' own names alone.
func FlexOptions(options map[string]string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for k := range options {
		domain, _, _ := strings.Cut(k, "/")
		domain = "." + strings.ToLower(domain)
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			errs = append(errs, field.Invalid(path.Key(k), k, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

// StorageOSNames checks the names of a StorageOS volume.
func StorageOSNames(name, namespace string, path *field.Path) field.ErrorList {
	errs := required(name, path.Child("volumeName"))
	if name != "" {
		errs = rules.Label(name, path.Child("volumeName"))
	}
	if namespace != "" {
		errs = append(errs, rules.Label(namespace, path.Child("volumeNamespace"))...)
	}
	return errs
}

// maxInitiator bounds the name under which a node logs in, in bytes.
const maxInitiator = 64

var qualifiedNames = map[string]*regexp.Regexp{
	"iqn": regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`),
	"eui": regexp.MustCompile(`^eui.[[:alnum:]]{16}$`),
	"naa": regexp.MustCompile(`^naa.[[:alnum:]]{32}$`),
}

// initiator checks the name of an iSCSI target or initiator; sort is what is told of
// one of no known sort.
func initiator(name, sort string, path *field.Path) field.ErrorList {
	for prefix, form := range qualifiedNames {
		if strings.HasPrefix(name, prefix) {
			if !form.MatchString(name) {
				return field.ErrorList{field.Invalid(path, name, "must be valid format")}
			}
			return nil
		}
	}
	return field.ErrorList{field.Invalid(path, name, sort)}
}

// ValidateISCSI checks a volume of an iSCSI target; sort is what is told of names of no
// known sort.
func ValidateISCSI(c *corev1.ISCSIVolumeSource, sort string, path *field.Path) field.ErrorList {
	errs := all(path, "targetPortal", c.TargetPortal, "iqn", c.IQN)
	if c.IQN != "" {
		errs = append(errs, initiator(c.IQN, sort, path.Child("iqn"))...)
	}
	if c.Lun < 0 || c.Lun > 255 {
		errs = append(errs, field.Invalid(path.Child("lun"), c.Lun, validation.InclusiveRangeError(0, 255)))
	}
	if (c.DiscoveryCHAPAuth || c.SessionCHAPAuth) && c.SecretRef == nil {
		errs = append(errs, field.Required(path.Child("secretRef"), ""))
	}
	if c.InitiatorName != nil {
		errs = append(errs, initiator(*c.InitiatorName, sort, path.Child("initiatorname"))...)
	}
	return errs
}
