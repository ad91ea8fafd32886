package registry

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/fieldmanager"
	"github.com/strake-io/strake/apiserver/resource"
)

// lazyManager makes a field manager when it is first used: a server starts with
// hundreds of endpoints, of which few are written to.
type lazyManager struct {
	make func() (*fieldmanager.Manager, error)
}

func (r *Registry) lazy(res *resource.Resource, subresource string, reset *fieldpath.Set, versions fieldmanager.Versions) *lazyManager {
	return &lazyManager{make: sync.OnceValues(func() (*fieldmanager.Manager, error) {
		schema, err := r.mergeSchema(res)
		if err != nil {
			return nil, err
		}
		return fieldmanager.New(fieldmanager.Config{
			Resource: res, Subresource: subresource, Reset: reset, Schema: schema, Versions: versions,
		})
	})}
}

// mergeSchema says how the fields of a resource merge: as it says itself, or by the
// schema of Kubernetes' own types, or, for other Go types, by what the OpenAPI
// documents say of them.
func (r *Registry) mergeSchema(res *resource.Resource) (managedfields.TypeConverter, error) {
	if res.MergeSchema != nil {
		return res.MergeSchema()
	}
	known, empty := r.set.config.Schema, codec.WithKind(res.New(), res.GVK)
	if _, free := empty.(runtime.Unstructured); free || r.set.config.Describe == nil {
		return known, nil
	}
	if _, err := known.ObjectToTyped(empty); err == nil {
		return known, nil
	}
	return r.set.config.Describe(res)
}

func (r *Registry) addManagers() {
	r.managers, r.projected = map[string]*lazyManager{}, map[string]*lazyManager{}
	r.managers[""] = r.lazy(r.Resource, "", r.Resource.ResetFields, versions{r})
	for i := range r.Resource.Subresources {
		sub := &r.Resource.Subresources[i]
		reset := r.Resource.ResetFields
		switch {
		case sub.View != nil:
			reset = sub.View.ResetFields
		case sub.Projection == nil:
			continue
		case sub.New != nil:
			r.projected[sub.Name] = r.lazy(&resource.Resource{GVK: sub.GVK, New: sub.New, Verbs: []string{"get"}}, sub.Name, nil, nil)
		}
		r.managers[sub.Name] = r.lazy(r.Resource, sub.Name, reset, versions{r})
	}
}

// versions converts between the versions in which an object's fields may have been
// set. What is served is looked up at the time.
type versions struct{ r *Registry }

// New implements fieldmanager.Versions.
func (v versions) New(gvk schema.GroupVersionKind) (runtime.Object, bool) {
	other := v.r.sibling(gvk.GroupVersion())
	if other == nil || other.Resource.GVK != gvk {
		return nil, false
	}
	return other.Resource.New(), true
}

// Convert implements fieldmanager.Versions.
func (v versions) Convert(obj runtime.Object, from, to schema.GroupVersion) (runtime.Object, bool, error) {
	source, target := v.r.sibling(from), v.r.sibling(to)
	if source == nil || target == nil {
		return nil, false, nil
	}
	converted, err := v.r.set.convert(obj, source, target)
	return converted, true, err
}

// sibling is this resource in another version.
func (r *Registry) sibling(gv schema.GroupVersion) *Registry {
	if gv == r.Resource.GVK.GroupVersion() {
		return r
	}
	return r.set.Of(gv.WithResource(r.Resource.Plural))
}

// Own records which fields of an object that is not stored a request sets.
func (r *Registry) Own(w Write, obj runtime.Object) runtime.Object {
	return r.own(w, "", r.Resource.New(), obj)
}

// own records which fields the request sets. live is what was there before.
func (r *Registry) own(w Write, endpoint string, live, obj runtime.Object) runtime.Object {
	lazy := r.managers[endpoint]
	if lazy == nil || w.Manager == "" {
		return obj
	}
	manager, err := lazy.make()
	if err != nil {
		// As with fields that cannot be read: the write goes on without an owner.
		return obj
	}
	return manager.Update(live, obj, w.Manager)
}

// Merge is server-side apply: what the manager of w wants, merged into live.
func (r *Registry) Merge(w Write, live runtime.Object, patch *unstructured.Unstructured, force bool) (runtime.Object, error) {
	lazy := r.managers[w.Subresource]
	if lazy == nil {
		return nil, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), "apply")
	}
	manager, err := lazy.make()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return manager.Apply(live, patch, w.Manager, force)
}

// MergeScale is server-side apply through a sub-resource that shows an object as a
// Scale. It returns the Scale to write back and the object's managed fields then.
func (r *Registry) MergeScale(w Write, live, scale runtime.Object, patch *unstructured.Unstructured, force bool) (runtime.Object, []metav1.ManagedFieldsEntry, error) {
	lazy := r.projected[w.Subresource]
	accessor, err := meta.Accessor(live)
	if err != nil || lazy == nil {
		return nil, nil, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), "apply")
	}
	manager, err := lazy.make()
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	path := fieldpath.MakePathOrDie("spec", "replicas")
	if sub := r.Resource.Subresource(w.Subresource); sub != nil && sub.Projection != nil && sub.Projection.ReplicasPath != nil {
		path = fieldpath.Path{}
		for _, name := range sub.Projection.ReplicasPath {
			path = append(path, fieldpath.PathElement{FieldName: &name})
		}
	}
	parent := fieldmanager.Parent{Version: r.Resource.GVK.GroupVersion(), Entries: accessor.GetManagedFields(), Replicas: path}
	return manager.ApplyScale(parent, scale, patch, w.Manager, force)
}
