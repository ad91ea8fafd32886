package registry

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/store/cache"
)

// catalog is a set as admission sees it.
type catalog struct{ *Set }

var _ admission.Catalog = catalog{}

// stem is the registry that stores the objects.
func (r *Registry) stem() *Registry {
	if r.of != nil {
		return r.of
	}
	return r
}

// served is the resource, or a sub-resource of it that it has, for admission.
func (r *Registry) served(subresource string) (admission.Served, bool) {
	s := admission.Served{
		Resource: r.GroupVersionResource(), Subresource: subresource, Kind: r.Resource.GVK, Namespaced: r.Resource.Namespaced,
	}
	if subresource == "" {
		return s, true
	}
	sub := r.Resource.Subresource(subresource)
	if sub == nil {
		return s, false
	}
	if sub.New != nil {
		s.Kind = sub.GVK
	}
	return s, true
}

// Equivalents implements admission.Catalog.
func (s *Set) Equivalents(of schema.GroupVersionResource, subresource string) []admission.Served {
	t := s.Table()
	self := t.Of(of)
	if self == nil {
		return nil
	}
	var out []admission.Served
	for _, r := range t.faces[self.stem()] {
		if r == self {
			continue
		}
		if served, ok := r.served(subresource); ok {
			out = append(out, served)
		}
	}
	return out
}

// ForKind implements admission.Catalog.
func (s *Set) ForKind(kind schema.GroupVersionKind) (admission.Served, bool) {
	r := s.Table().byKind[kind]
	if r == nil {
		return admission.Served{}, false
	}
	return r.served("")
}

// Decode implements admission.Catalog.
func (s *Set) Decode(kind schema.GroupVersionKind, data []byte) (runtime.Object, error) {
	var into runtime.Object
	r := s.Table().byKind[kind]
	if r != nil {
		into = r.Resource.New()
	} else {
		// The type of a sub-resource.
		obj, err := s.config.Codec.Scheme().New(kind)
		if err != nil {
			return nil, apierrors.NewInternalError(fmt.Errorf("%s is not served", kind))
		}
		into = obj
	}
	obj, actual, err := s.config.Codec.Decode(codec.JSON, data, kind, into, false)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if actual != nil && *actual != kind {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s was made of %s", actual, kind))
	}
	if _, ok := obj.(runtime.Unstructured); !ok {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	if r != nil && r.Resource.Prune != nil {
		if _, err := r.Resource.Prune(obj); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	s.Default(kind, obj)
	return obj, nil
}

// Default implements admission.Catalog.
func (s *Set) Default(kind schema.GroupVersionKind, obj runtime.Object) {
	if r := s.Table().byKind[kind]; r != nil && r.Resource.Default != nil {
		r.Resource.Default(obj)
	}
}

// Convert implements admission.Catalog.
func (s *Set) Convert(_ context.Context, obj runtime.Object, from, to schema.GroupVersionKind) (runtime.Object, error) {
	if from == to {
		return obj, nil
	}
	t := s.Table()
	source, target := t.byKind[from], t.byKind[to]
	if source == nil || target == nil || source.stem() != target.stem() {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s cannot be converted to %s", from, to))
	}
	return s.convert(obj, source, target)
}

// ofKind finds the registry of a kind. Its error is an API error.
func (s *Set) ofKind(kind schema.GroupVersionKind) (*Registry, error) {
	if r := s.Table().byKind[kind]; r != nil && r.cached != nil {
		return r, nil
	}
	return nil, apierrors.NewInternalError(fmt.Errorf("%s is not served", kind))
}

// Get implements admission.Catalog.
func (c catalog) Get(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (runtime.Object, error) {
	r, err := c.ofKind(kind)
	if err != nil {
		return nil, err
	}
	return r.get(ctx, namespace, name)
}

// List implements admission.Catalog.
func (c catalog) List(ctx context.Context, kind schema.GroupVersionKind, namespace string) ([]runtime.Object, error) {
	r, err := c.ofKind(kind)
	if err != nil {
		return nil, err
	}
	return r.list(ctx, namespace)
}

// Schema implements admission.Catalog.
func (s *Set) Schema(kind schema.GroupVersionKind) (managedfields.TypeConverter, error) {
	if r := s.Table().byKind[kind]; r != nil && r.Resource.MergeSchema != nil {
		return r.Resource.MergeSchema()
	}
	return s.config.Schema, nil
}

// Version implements admission.Catalog.
func (s *Set) Version(ctx context.Context, of schema.GroupResource) (int64, error) {
	r := s.Table().Stored(of)
	if r == nil || r.cached == nil {
		return 0, nil
	}
	version, err := r.cached.Changed(ctx)
	if errors.Is(err, cache.ErrClosed) {
		// Replaced, or about to stop.
		return 0, nil
	}
	if err != nil {
		return 0, r.readError(err, 0)
	}
	return version, nil
}
