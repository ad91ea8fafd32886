// Package storageobjectinuseprotection is the admission plugin that keeps claims,
// volumes and the classes of their attributes from going while something uses them:
// each gets a finalizer, which the controllers pvcprotection, pvprotection and
// vacprotection take away.
package storageobjectinuseprotection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/admission"
)

// The finalizers.
const (
	claims     = "kubernetes.io/pvc-protection"
	volumes    = "kubernetes.io/pv-protection"
	attributes = "kubernetes.io/vac-protection"
)

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "StorageObjectInUseProtection" }

// Admit implements admission.Mutator.
func (Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	switch obj := a.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		protect(&obj.ObjectMeta, claims)
	case *corev1.PersistentVolume:
		protect(&obj.ObjectMeta, volumes)
	case *storagev1.VolumeAttributesClass:
		protect(&obj.ObjectMeta, attributes)
	}
	return nil
}

func protect(m *metav1.ObjectMeta, finalizer string) {
	if !slices.Contains(m.Finalizers, finalizer) {
		m.Finalizers = append(m.Finalizers, finalizer)
	}
}
