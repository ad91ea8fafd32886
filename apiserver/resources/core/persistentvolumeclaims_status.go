package core

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validateClaimStatus checks what controllers and nodes say of the size of a volume.
func validateClaimStatus(s *corev1.PersistentVolumeClaimStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(s.Capacity)) {
		if q := s.Capacity[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Child("capacity").Key(string(name)), q.Value(), "must be a valid resource quantity"))
		}
	}
	at := path.Child("allocatedResourceStatuses")
	for _, name := range slices.Sorted(maps.Keys(s.AllocatedResourceStatuses)) {
		errs = append(errs, claimResource(name, at)...)
		known := []corev1.ClaimResourceStatus{
			corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
			corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress,
			corev1.PersistentVolumeClaimNodeResizeInfeasible,
		}
		slices.Sort(known)
		if !slices.Contains(known, s.AllocatedResourceStatuses[name]) {
			// It is the name that upstream shows.
			errs = append(errs, field.NotSupported(at, corev1.ClaimResourceStatus(name), known))
		}
	}
	at = path.Child("allocatedResources")
	for _, name := range slices.Sorted(maps.Keys(s.AllocatedResources)) {
		if bad := claimResource(name, at); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		errs = append(errs, podspec.Quantity(corev1.ResourceStorage, s.AllocatedResources[name], at.Key(string(name)))...)
	}
	return errs
}

// claimResource: a claim is about storage, or about what others than Kubernetes name.
func claimResource(name corev1.ResourceName, path *field.Path) field.ErrorList {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		return rules.Matches(string(name), path, messages)
	}
	domain, _, prefixed := strings.Cut(string(name), "/")
	if (!prefixed || strings.Contains(domain, "kubernetes.io")) && name != corev1.ResourceStorage {
		return field.ErrorList{field.NotSupported(path, name, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return nil
}
