package registry

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store/cache"
)

var _ resource.Objects = (*Set)(nil)

func (s *Set) served(gr schema.GroupResource) (*Registry, error) {
	if r := s.registries[gr]; r != nil {
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
	snapshot, err := r.snapshot(ctx, cache.Latest, 0)
	if err != nil {
		return nil, err
	}
	prefix := r.prefix
	if r.Resource.Namespaced && namespace != "" {
		prefix += namespace + "/"
	}
	var objects []runtime.Object
	snapshot.Ascend(prefix, "", func(e *cache.Entry) bool {
		if e = r.Face(e); e != nil {
			objects = append(objects, e.Object)
		}
		return true
	})
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

// Merge is server-side apply: what the manager of w wants, merged into live.
func (r *Registry) Merge(w Write, live runtime.Object, patch *unstructured.Unstructured, force bool) (runtime.Object, error) {
	manager := r.managers[w.Subresource]
	if manager == nil {
		return nil, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), "apply")
	}
	return manager.Apply(live, patch, w.Manager, force)
}

// MergeScale is server-side apply through a sub-resource that shows an object as a
// Scale. It returns the Scale to write back and the object's managed fields then.
func (r *Registry) MergeScale(w Write, live, scale runtime.Object, patch *unstructured.Unstructured, force bool) (runtime.Object, []metav1.ManagedFieldsEntry, error) {
	manager := r.projected[w.Subresource]
	accessor, err := meta.Accessor(live)
	if err != nil || manager == nil {
		return nil, nil, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), "apply")
	}
	return manager.ApplyScale(r.Resource.GVK.GroupVersion(), accessor.GetManagedFields(), scale, patch, w.Manager, force)
}
