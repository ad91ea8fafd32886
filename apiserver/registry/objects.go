package registry

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store/cache"
)

var _ resource.Objects = (*Set)(nil)

func (s *Set) served(gr schema.GroupResource) (*Registry, error) {
	if r := s.Table().Stored(gr); r != nil {
		return r, nil
	}
	return nil, apierrors.NewInternalError(fmt.Errorf("%s is not served", gr))
}

// Get implements resource.Objects.
func (s *Set) Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error) {
	r, err := s.served(of)
	if err != nil {
		return nil, err
	}
	entry, err := r.Get(ctx, namespace, name, "")
	if err != nil {
		return nil, err
	}
	return entry.Object, nil
}

// get reads an object as the cache has it, which may be a little old.
func (r *Registry) get(ctx context.Context, namespace, name string) (runtime.Object, error) {
	current, err := r.current(ctx, r.key(namespace, name))
	if err != nil {
		return nil, err
	}
	if current == nil {
		return nil, r.notFound(name)
	}
	return current.obj, nil
}

// List implements resource.Objects.
func (s *Set) List(ctx context.Context, of schema.GroupResource, namespace string) ([]runtime.Object, error) {
	r, err := s.served(of)
	if err != nil {
		return nil, err
	}
	return r.list(ctx, namespace)
}

func (r *Registry) list(ctx context.Context, namespace string) ([]runtime.Object, error) {
	snapshot, err := r.snapshot(ctx, cache.Latest, 0)
	if err != nil {
		return nil, err
	}
	prefix := r.prefix
	if r.Resource.Namespaced && namespace != "" {
		prefix += namespace + "/"
	}
	var entries []*cache.Entry
	snapshot.Ascend(prefix, "", func(e *cache.Entry) bool {
		entries = append(entries, e)
		return true
	})
	if r.shown() {
		if entries, err = r.faces(ctx, entries); err != nil {
			return nil, err
		}
	}
	objects := make([]runtime.Object, len(entries))
	for i, e := range entries {
		objects[i] = e.Object
	}
	return objects, nil
}

// Update implements resource.Objects.
func (s *Set) Update(ctx context.Context, req resource.Request, of schema.GroupResource, namespace, name string, change func(obj runtime.Object) error) (runtime.Object, error) {
	r, err := s.served(of)
	if err != nil {
		return nil, err
	}
	req.Namespace, req.Name = namespace, name
	obj, _, err := r.Update(ctx, Write{Request: req, Trusted: true}, Change{
		Raw: true,
		To: func(old runtime.Object) (runtime.Object, error) {
			obj := old.DeepCopyObject()
			return obj, change(obj)
		},
	})
	return obj, err
}

// Delete implements resource.Objects.
func (s *Set) Delete(ctx context.Context, req resource.Request, of schema.GroupResource, namespace, name string, opts *metav1.DeleteOptions) (runtime.Object, error) {
	r, err := s.served(of)
	if err != nil {
		return nil, err
	}
	req.Namespace, req.Name = namespace, name
	obj, _, err := r.Delete(ctx, Write{Request: req, Trusted: true}, opts)
	return obj, err
}
