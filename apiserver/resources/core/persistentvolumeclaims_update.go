package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// validateClaimUpdate: a bound claim may grow, and shrink back to more than it has; one
// without a volume or a class may get it; its attributes class may change.
func validateClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	path, storage := field.NewPath("spec"), corev1.ResourceStorage
	errs := volumes.ClaimSpecUpdate(&c.Spec, &old.Spec, path)
	now, was := c.Spec.DeepCopy(), old.Spec.DeepCopy()
	volumes.NormalizeDataSource(was)
	if was.VolumeName == "" {
		was.VolumeName = now.VolumeName
	}
	beta, named := old.Annotations[corev1.BetaStorageClassAnnotation]
	said, says := c.Annotations[corev1.BetaStorageClassAnnotation]
	class := now.StorageClassName
	if moved := named && was.StorageClassName == nil && class != nil && *class == beta && (!says || said == beta); moved {
		now.StorageClassName = nil
	} else {
		if said != beta {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations", corev1.BetaStorageClassAnnotation), said, "field is immutable"))
		}
		if class != nil && was.StorageClassName == nil && (!named || *class == beta) {
			now.StorageClassName = nil
		}
	}
	if c.Status.Phase == corev1.ClaimBound {
		if now.Resources.Requests != nil {
			now.Resources.Requests[storage] = was.Resources.Requests[storage]
		}
		now.VolumeAttributesClassName = was.VolumeAttributesClassName
	}
	if !apiequality.Semantic.DeepEqual(*now, *was) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf(
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v", diff.Diff(rules.Internal(*was), rules.Internal(*now)))))
	}
	size, has := c.Spec.Resources.Requests[storage], old.Status.Capacity[storage]
	if size.Cmp(old.Spec.Resources.Requests[storage]) < 0 && size.Cmp(has) <= 0 {
		errs = append(errs, field.Forbidden(path.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, rules.Immutable(c.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	attributes := c.Spec.VolumeAttributesClassName
	if old.Status.CurrentVolumeAttributesClassName == nil || ptr.Equal(attributes, old.Spec.VolumeAttributesClassName) || ptr.Deref(attributes, "") != "" {
		return errs
	}
	what := "nil"
	if attributes != nil {
		what = "empty string"
	}
	return append(errs, field.Forbidden(path.Child("volumeAttributesClassName"),
		"update to "+what+" is forbidden when status.currentVolumeAttributesClassName is not nil"))
}

// sizeWarnings warns of sizes that are no whole number of bytes.
func sizeWarnings(spec *corev1.PersistentVolumeClaimSpec, path *field.Path) []string {
	out := fractionalBytes(spec.Resources.Requests, path.Child("resources", "requests"))
	return append(out, fractionalBytes(spec.Resources.Limits, path.Child("resources", "limits"))...)
}

func fractionalBytes(list corev1.ResourceList, path *field.Path) []string {
	size, ok := list[corev1.ResourceStorage]
	if !ok || size.MilliValue()%1000 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", path.Key(string(corev1.ResourceStorage)), size.String())}
}
