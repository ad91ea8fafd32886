// Package defaultstorageclass is the admission plugin that gives a new claim without
// a storage class the cluster's default one, if there is one.
package defaultstorageclass

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/classes"
)

// Annotations that make a storage class the default one.
const (
	IsDefault     = "storageclass.kubernetes.io/is-default-class"
	BetaIsDefault = "storageclass.beta.kubernetes.io/is-default-class"
)

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DefaultStorageClass" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || claim.Spec.StorageClassName != nil {
		return nil
	}
	if _, named := claim.Annotations[corev1.BetaStorageClassAnnotation]; named {
		return nil
	}
	class, err := classes.Default(ctx, a.Objects, storagev1.Resource("storageclasses"), IsDefault, BetaIsDefault)
	if err != nil {
		return a.Forbidden(err)
	}
	if class != "" {
		claim.Spec.StorageClassName = &class
	}
	return nil
}
