package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
)

// Served is a resource, or one of its sub-resources, in one version.
type Served struct {
	Resource    schema.GroupVersionResource
	Subresource string
	// Kind of what travels.
	Kind       schema.GroupVersionKind
	Namespaced bool
}

// Catalog tells what is served, for plugins that are about any kind. It is safe for
// concurrent use. Its errors are API errors.
type Catalog interface {
	// Equivalents are the other resources that show the same objects as this one
	// (autoscaling/v1 and v2 autoscalers, the versions of a custom resource), in
	// the order in which they are served, where they have the sub-resource.
	Equivalents(of schema.GroupVersionResource, subresource string) []Served
	// ForKind finds the resource that has objects of a kind.
	ForKind(kind schema.GroupVersionKind) (Served, bool)
	// Decode makes an object of a kind from JSON, as it would be decoded from a
	// request, with its defaults.
	Decode(kind schema.GroupVersionKind, data []byte) (runtime.Object, error)
	// Default fills in the defaults of an object of a kind.
	Default(kind schema.GroupVersionKind, obj runtime.Object)
	// Convert makes an object of one version of a kind into one of another. What
	// it is given does not change; it may be returned as it is.
	Convert(ctx context.Context, obj runtime.Object, from, to schema.GroupVersionKind) (runtime.Object, error)
	// Get and List read objects of a kind in its version, shared and read-only; List
	// those of a namespace, "" means all.
	Get(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (runtime.Object, error)
	List(ctx context.Context, kind schema.GroupVersionKind, namespace string) ([]runtime.Object, error)
	// Schema says how the fields of a kind merge; an error where that is not known.
	Schema(kind schema.GroupVersionKind) (managedfields.TypeConverter, error)
	// Version is a number that changes when any object of the resource does. It
	// costs next to nothing, and may lag behind the newest write by as much as a
	// watch does. A resource that is not served has version 0, and no objects.
	Version(ctx context.Context, of schema.GroupResource) (int64, error)
}
