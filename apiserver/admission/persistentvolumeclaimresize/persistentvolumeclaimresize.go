// Package persistentvolumeclaimresize is the admission plugin that lets a claim grow
// only when it is bound and its storage class allows that.
package persistentvolumeclaimresize

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Validator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "PersistentVolumeClaimResize" }

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Operation != admission.Update || a.Subresource != "" {
		return nil
	}
	old, ok := a.Old.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if size.Cmp(old.Spec.Resources.Requests[corev1.ResourceStorage]) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return a.Forbidden(errors.New("Only bound persistent volume claims can be expanded")) //nolint:staticcheck // upstream's words
	}
	if class := classOf(claim); class == "" || class != classOf(old) || !grows(ctx, a, class) {
		return a.Forbidden(errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
	}
	return nil
}

func classOf(c *corev1.PersistentVolumeClaim) string {
	if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return ptr.Deref(c.Spec.StorageClassName, "")
}

func grows(ctx context.Context, a *admission.Attributes, name string) bool {
	obj, err := a.Objects.Get(ctx, storagev1.Resource("storageclasses"), "", name)
	if err != nil {
		return false
	}
	class, ok := obj.(*storagev1.StorageClass)
	return ok && ptr.Deref(class.AllowVolumeExpansion, false)
}
