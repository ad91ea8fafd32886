package core

import (
	"strings"
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
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

func persistentVolumeClaims() *resource.Resource {
	view := typed.Halves{
		Status: func(_ resource.Request, obj, old runtime.Object) {
			c, was := obj.(*corev1.PersistentVolumeClaim), old.(*corev1.PersistentVolumeClaim)
			c.Spec = was.Spec
			if was.Status.HealthStatus == nil {
				// CSIVolumeHealth is off in v1.37.
				c.Status.HealthStatus = nil
			}
		},
	}
	return &resource.Resource{
		GVK: gvk("PersistentVolumeClaim"), Plural: "persistentvolumeclaims", Singular: "persistentvolumeclaim",
		ShortNames: []string{"pvc"}, Namespaced: true, StoragePrefix: "persistentvolumeclaims",
		New: typed.New[corev1.PersistentVolumeClaim], NewList: typed.New[corev1.PersistentVolumeClaimList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultClaim),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				c := obj.(*corev1.PersistentVolumeClaim)
				c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
				volumes.DropDataSource(&c.Spec, nil)
				volumes.NormalizeDataSource(&c.Spec)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				c, was := obj.(*corev1.PersistentVolumeClaim), old.(*corev1.PersistentVolumeClaim)
				c.Status = was.Status
				volumes.DropDataSource(&c.Spec, &was.Spec)
				volumes.NormalizeDataSource(&c.Spec)
			},
			Validate: typed.Validate(func(c *corev1.PersistentVolumeClaim) field.ErrorList {
				return volumes.ClaimSpec(&c.Spec, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(validateClaimUpdate),
			NameError:      apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(c, _ *corev1.PersistentVolumeClaim) []string {
				var out []string
				if _, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
					out = append(out, `metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead`)
				}
				return append(out, sizeWarnings(&c.Spec, field.NewPath("spec"))...)
			}),
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
			ResetFields: statusReset(),
		},
		Table: resource.Table{Columns: claimColumns(), Cells: typed.Cells(claimCells)},
		Subresources: []resource.Subresource{
			typed.StatusView(view, func(c, _ *corev1.PersistentVolumeClaim) field.ErrorList {
				return validateClaimStatus(&c.Status, field.NewPath("status"))
			}),
		},
	}
}

func defaultClaim(c *corev1.PersistentVolumeClaim) {
	if c.Status.Phase == "" {
		c.Status.Phase = corev1.ClaimPending
	}
	if c.Spec.VolumeMode == nil {
		c.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
	}
}

// accessModes are the short forms of access modes, without repeats, in the order
// of upstream's documentation.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var out []string
	for _, one := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{
		{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
	} {
		for _, m := range modes {
			if m == one.mode {
				out = append(out, one.short)
				break
			}
		}
	}
	return strings.Join(out, ",")
}

// storageClassOf is a claim's or a volume's class, in whichever way it is named.
func storageClassOf(annotations map[string]string, name string) string {
	if class, ok := annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return name
}

func claimColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PersistentVolumeClaimSpec{}.SwaggerDoc(), corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Status", status["phase"]), columns.String("Volume", spec["volumeName"]),
		columns.String("Capacity", status["capacity"]), columns.String("Access Modes", status["accessModes"]),
		columns.String("StorageClass", "StorageClass of the pvc"),
		columns.String("VolumeAttributesClass", spec["volumeAttributesClassName"]), columns.Created(),
		columns.Wide(columns.String("VolumeMode", spec["volumeMode"])),
	}
}

func claimCells(c *corev1.PersistentVolumeClaim, now time.Time) []any {
	phase, modes, capacity := string(c.Status.Phase), "", ""
	if c.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	if c.Spec.VolumeName != "" {
		size := c.Status.Capacity[corev1.ResourceStorage]
		modes, capacity = accessModes(c.Status.AccessModes), size.String()
	}
	return []any{
		c.Name, phase, c.Spec.VolumeName, capacity, modes, storageClassOf(c.Annotations, ptr.Deref(c.Spec.StorageClassName, "")),
		ptr.Deref(c.Spec.VolumeAttributesClassName, "<unset>"), columns.Age(c.CreationTimestamp, now),
		string(ptr.Deref(c.Spec.VolumeMode, "<unset>")),
	}
}
