package fieldmanager

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Parent is the object that a Scale shows.
type Parent struct {
	Version schema.GroupVersion
	// Entries are the object's managed fields.
	Entries []metav1.ManagedFieldsEntry
	// Replicas is the object's field that is the Scale's spec.replicas.
	Replicas fieldpath.Path
}

// ApplyScale applies to a Scale that shows an object: who owns the object's
// replicas owns the Scale's, and the other way round afterwards. It returns the
// Scale as it should be and the object's entries. m manages Scales.
func (m *Manager) ApplyScale(parent Parent, scale runtime.Object, patch *unstructured.Unstructured, manager string, force bool) (runtime.Object, []metav1.ManagedFieldsEntry, error) {
	handler := managedfields.NewScaleHandler(parent.Entries, parent.Version, managedfields.ResourcePathMappings{
		parent.Version.String(): parent.Replicas,
	})
	shown, err := handler.ToSubresource()
	if err != nil {
		return nil, nil, fmt.Errorf("the object's managed fields: %w", err)
	}
	accessor, err := meta.Accessor(scale)
	if err != nil {
		return nil, nil, err
	}
	accessor.SetManagedFields(shown)
	applied, err := m.Apply(scale, patch, manager, force)
	if err != nil {
		return nil, nil, err
	}
	if accessor, err = meta.Accessor(applied); err != nil {
		return nil, nil, err
	}
	after, err := handler.ToParent(accessor.GetManagedFields())
	if err != nil {
		return nil, nil, fmt.Errorf("the scale's managed fields: %w", err)
	}
	accessor.SetManagedFields(nil)
	return applied, after, nil
}
