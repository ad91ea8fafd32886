package core

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

func persistentVolumes() *resource.Resource {
	view := typed.Halves{Status: func(_ resource.Request, obj, old runtime.Object) {
		v, was := obj.(*corev1.PersistentVolume), old.(*corev1.PersistentVolume)
		v.Spec = was.Spec
		if v.Status.Phase != was.Status.Phase && apiequality.Semantic.DeepEqual(v.Status.LastPhaseTransitionTime, was.Status.LastPhaseTransitionTime) {
			v.Status.LastPhaseTransitionTime = ptr.To(metav1.Now())
		}
	}}
	return &resource.Resource{
		GVK: gvk("PersistentVolume"), Plural: "persistentvolumes", Singular: "persistentvolume",
		ShortNames: []string{"pv"}, StoragePrefix: "persistentvolumes",
		New: typed.New[corev1.PersistentVolume], NewList: typed.New[corev1.PersistentVolumeList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultVolume),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*corev1.PersistentVolume).Status = corev1.PersistentVolumeStatus{
					Phase: corev1.VolumePending, LastPhaseTransitionTime: ptr.To(metav1.Now()),
				}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*corev1.PersistentVolume).Status = old.(*corev1.PersistentVolume).Status
			},
			Validate: typed.Validate(func(v *corev1.PersistentVolume) field.ErrorList {
				return validateVolume(&v.Spec, field.NewPath("spec"))
			}),
			ValidateUpdate: typed.Change(validateVolumeUpdate),
			NameError:      apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(v, _ *corev1.PersistentVolume) []string {
				return volumeWarnings(v)
			}),
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
			ResetFields: statusReset(),
		},
		Table:        resource.Table{Columns: volumeColumns(), Cells: typed.Cells(volumeCells)},
		Subresources: []resource.Subresource{typed.StatusView[*corev1.PersistentVolume](view, nil)},
	}
}

func defaultVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	if v.Spec.PersistentVolumeReclaimPolicy == "" {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	if v.Spec.VolumeMode == nil {
		v.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
	}
	if h := v.Spec.HostPath; h != nil && h.Type == nil {
		h.Type = ptr.To(corev1.HostPathUnset)
	}
	if i := v.Spec.ISCSI; i != nil && i.ISCSIInterface == "" {
		i.ISCSIInterface = "default"
	}
	if r := v.Spec.RBD; r != nil {
		for _, one := range []struct {
			field *string
			value string
		}{{&r.RBDPool, "rbd"}, {&r.RadosUser, "admin"}, {&r.Keyring, "/etc/ceph/keyring"}} {
			if *one.field == "" {
				*one.field = one.value
			}
		}
	}
}

func validateVolume(spec *corev1.PersistentVolumeSpec, at *field.Path) field.ErrorList {
	errs := volumes.AccessModes(spec.AccessModes, "", at.Child("accessModes"))
	capacity := at.Child("capacity")
	if len(spec.Capacity) == 0 {
		errs = append(errs, field.Required(capacity, ""))
	} else if _, ok := spec.Capacity[corev1.ResourceStorage]; !ok || len(spec.Capacity) > 1 {
		errs = append(errs, field.NotSupported(capacity, spec.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for name, size := range spec.Capacity {
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
	errs = append(errs, validateVolumeSource(spec, at)...)
	if h := spec.HostPath; h != nil && path.Clean(h.Path) == "/" && spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(at.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if spec.StorageClassName != "" {
		errs = append(errs, volumes.ClassName(&spec.StorageClassName, at.Child("storageClassName"))...)
	}
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
	return errs
}

// validateVolumeSource wants one source, each under its name in JSON, and checks it.
// Those that pods have too are checked as theirs.
func validateVolumeSource(spec *corev1.PersistentVolumeSpec, at *field.Path) field.ErrorList {
	s := &spec.PersistentVolumeSource
	shared := func(source corev1.VolumeSource) func(*field.Path) field.ErrorList {
		// The check reports below the source's own name.
		return func(*field.Path) field.ErrorList { return podspec.ValidateSource(&source, at) }
	}
	needs := func(pairs ...string) func(*field.Path) field.ErrorList {
		return func(at *field.Path) field.ErrorList {
			var errs field.ErrorList
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i+1] == "" {
					errs = append(errs, field.Required(at.Child(pairs[i]), ""))
				}
			}
			return errs
		}
	}
	var errs field.ErrorList
	n := 0
	source := func(set bool, name string, check func() func(*field.Path) field.ErrorList) {
		if !set {
			return
		}
		if n++; n > 1 {
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 volume type"))
			return
		}
		errs = append(errs, check()(at.Child(name))...)
	}
	type check = func(*field.Path) field.ErrorList
	source(s.HostPath != nil, "hostPath", func() check { return shared(corev1.VolumeSource{HostPath: s.HostPath}) })
	source(s.GCEPersistentDisk != nil, "gcePersistentDisk", func() check { return shared(corev1.VolumeSource{GCEPersistentDisk: s.GCEPersistentDisk}) })
	source(s.AWSElasticBlockStore != nil, "awsElasticBlockStore", func() check {
		return shared(corev1.VolumeSource{AWSElasticBlockStore: s.AWSElasticBlockStore})
	})
	source(s.Glusterfs != nil, "glusterfs", func() check { return needs("endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path) })
	source(s.Flocker != nil, "flocker", func() check { return shared(corev1.VolumeSource{Flocker: s.Flocker}) })
	source(s.NFS != nil, "nfs", func() check { return shared(corev1.VolumeSource{NFS: s.NFS}) })
	source(s.RBD != nil, "rbd", func() check { return needs("monitors", strings.Join(s.RBD.CephMonitors, ","), "image", s.RBD.RBDImage) })
	source(s.Quobyte != nil, "quobyte", func() check { return shared(corev1.VolumeSource{Quobyte: s.Quobyte}) })
	source(s.CephFS != nil, "cephfs", func() check { return needs("monitors", strings.Join(s.CephFS.Monitors, ",")) })
	source(s.ISCSI != nil, "iscsi", func() check { return needs("targetPortal", s.ISCSI.TargetPortal, "iqn", s.ISCSI.IQN) })
	source(s.Cinder != nil, "cinder", func() check { return needs("volumeID", s.Cinder.VolumeID) })
	source(s.FC != nil, "fc", func() check { return shared(corev1.VolumeSource{FC: s.FC}) })
	source(s.AzureFile != nil, "azureFile", func() check { return needs("secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName) })
	source(s.FlexVolume != nil, "flexVolume", func() check { return needs("driver", s.FlexVolume.Driver) })
	source(s.VsphereVolume != nil, "vsphereVolume", func() check { return shared(corev1.VolumeSource{VsphereVolume: s.VsphereVolume}) })
	source(s.AzureDisk != nil, "azureDisk", func() check { return shared(corev1.VolumeSource{AzureDisk: s.AzureDisk}) })
	source(s.PhotonPersistentDisk != nil, "photonPersistentDisk", func() check {
		return shared(corev1.VolumeSource{PhotonPersistentDisk: s.PhotonPersistentDisk})
	})
	source(s.PortworxVolume != nil, "portworxVolume", func() check { return shared(corev1.VolumeSource{PortworxVolume: s.PortworxVolume}) })
	source(s.ScaleIO != nil, "scaleIO", func() check {
		return needs("gateway", s.ScaleIO.Gateway, "system", s.ScaleIO.System, "volumeName", s.ScaleIO.VolumeName)
	})
	source(s.Local != nil, "local", func() check {
		return func(local *field.Path) field.ErrorList {
			errs := needs("path", s.Local.Path)(local)
			if strings.Contains("/"+s.Local.Path+"/", "/../") {
				errs = append(errs, field.Invalid(local.Child("path"), s.Local.Path, "must not contain '..'"))
			}
			if spec.NodeAffinity == nil {
				errs = append(errs, field.Required(at.Child("nodeAffinity"), "Local volume requires node affinity"))
			}
			return errs
		}
	})
	source(s.StorageOS != nil, "storageos", func() check {
		return needs("volumeName", s.StorageOS.VolumeName, "volumeNamespace", s.StorageOS.VolumeNamespace)
	})
	source(s.CSI != nil, "csi", func() check { return func(at *field.Path) field.ErrorList { return validateCSISource(s.CSI, at) } })
	if n == 0 {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

func validateCSISource(s *corev1.CSIPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := volumes.CSIDriverName(s.Driver, at.Child("driver"))
	if s.VolumeHandle == "" {
		errs = append(errs, field.Required(at.Child("volumeHandle"), ""))
	}
	for name, ref := range map[string]*corev1.SecretReference{
		"controllerPublishSecretRef": s.ControllerPublishSecretRef, "controllerExpandSecretRef": s.ControllerExpandSecretRef,
		"nodePublishSecretRef": s.NodePublishSecretRef, "nodeExpandSecretRef": s.NodeExpandSecretRef, "nodeStageSecretRef": s.NodeStageSecretRef,
	} {
		if ref == nil {
			continue
		}
		if ref.Name == "" {
			errs = append(errs, field.Required(at.Child(name, "name"), ""))
		}
		if ref.Namespace == "" {
			errs = append(errs, field.Required(at.Child(name, "namespace"), ""))
		}
	}
	return errs
}

func validateVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	var errs field.ErrorList
	now, was := v.Spec.PersistentVolumeSource.DeepCopy(), old.Spec.PersistentVolumeSource.DeepCopy()
	if now.CSI != nil && was.CSI != nil {
		// Where expansion finds its secret may be said later.
		now.CSI.ControllerExpandSecretRef = was.CSI.ControllerExpandSecretRef
	}
	if !apiequality.Semantic.DeepEqual(now, was) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", cmp.Diff(was, now))))
	}
	errs = append(errs, rules.Immutable(v.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil && !apiequality.Semantic.DeepEqual(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), v.Spec.NodeAffinity, "field is immutable, except for updating from beta label to GA label"))
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

func volumeWarnings(v *corev1.PersistentVolume) []string {
	var out []string
	if _, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		out = append(out, `metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead`)
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		out = append(out, `spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.`)
	}
	return append(out, fractionalBytes(v.Spec.Capacity, field.NewPath("spec", "capacity"))...)
}

func volumeColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PersistentVolumeSpec{}.SwaggerDoc(), corev1.PersistentVolumeStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Capacity", spec["capacity"]), columns.String("Access Modes", spec["accessModes"]),
		columns.String("Reclaim Policy", spec["persistentVolumeReclaimPolicy"]), columns.String("Status", status["phase"]),
		columns.String("Claim", spec["claimRef"]), columns.String("StorageClass", "StorageClass of the pv"),
		columns.String("VolumeAttributesClass", spec["volumeAttributesClassName"]), columns.String("Reason", status["reason"]),
		columns.Created(), columns.Wide(columns.String("VolumeMode", spec["volumeMode"])),
	}
}

func volumeCells(v *corev1.PersistentVolume, now time.Time) []any {
	claim := ""
	if ref := v.Spec.ClaimRef; ref != nil {
		claim = ref.Namespace + "/" + ref.Name
	}
	phase := string(v.Status.Phase)
	if v.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	size := v.Spec.Capacity[corev1.ResourceStorage]
	return []any{
		v.Name, size.String(), accessModes(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy), phase, claim,
		storageClassOf(v.Annotations, v.Spec.StorageClassName), ptr.Deref(v.Spec.VolumeAttributesClassName, "<unset>"),
		v.Status.Reason, columns.Age(v.CreationTimestamp, now), string(ptr.Deref(v.Spec.VolumeMode, "<unset>")),
	}
}
