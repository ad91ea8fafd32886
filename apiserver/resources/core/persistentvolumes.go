package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func persistentVolumes() *resource.Resource {
	view := typed.Halves{Status: func(_ resource.Request, obj, old runtime.Object) {
		v, was := obj.(*corev1.PersistentVolume), old.(*corev1.PersistentVolume)
		v.Spec = was.Spec
		switch at := v.Status.LastPhaseTransitionTime; {
		case v.Status.Phase == was.Status.Phase:
			if at == nil {
				v.Status.LastPhaseTransitionTime = was.Status.LastPhaseTransitionTime
			}
		case at == nil || at.Equal(was.Status.LastPhaseTransitionTime):
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
				return validateVolume(v, field.NewPath("spec"))
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
