// Package registry keeps the objects of every resource: one generic registry, with
// which all kinds differ only in their [resource.Resource]. It reads from the
// watch cache and writes to the store. It stands below the HTTP side of the API
// server, which has authenticated, authorised and decoded by then, and its errors
// are API errors.
//
// A write reads the current object from the cache, without asking the store
// whether that is still the newest: the condition on the write finds out, and the
// conflict brings the value to try again with. Only what a stale read would
// refuse, an object that is missing or a check that fails, is looked up in the
// store before the client hears of it.
package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
)

// Registry keeps the objects of one resource in one version. All methods are safe
// for concurrent use. The objects it returns from reads are shared and read-only,
// those from writes belong to the caller.
type Registry struct {
	Resource *resource.Resource

	set *Set
	// of stores the objects that this one shows; nil where it stores its own.
	of      *Registry
	storage *codec.Storage
	cached  *cache.Resource
	prefix  string
	// managers by sub-resource; projected are those of the types that
	// sub-resources show.
	managers  map[string]*lazyManager
	projected map[string]*lazyManager
}

// newRegistry makes a registry that has no cache yet: see open.
func (s *Set) newRegistry(res *resource.Resource, of *Registry) (*Registry, error) {
	r := &Registry{Resource: res, set: s, of: of}
	if of != nil {
		r.prefix, r.storage = of.prefix, of.storage
	} else {
		r.prefix, r.storage = "/registry/"+storagePrefix(res)+"/", s.config.Codec.Storage(res)
	}
	for _, name := range res.IndexedFields {
		if res.SelectableFields == nil {
			return nil, fmt.Errorf("resource %s has an index on %s, but no selectable fields", res.GroupResource(), name)
		}
	}
	r.addManagers()
	return r, nil
}

// ownCache says that this registry's keys are its own.
func (r *Registry) ownCache() bool { return r.of == nil }

// open adds the resource to the cache.
func (r *Registry) open() error {
	if r.of != nil {
		r.cached = r.of.cached
	}
	if r.cached != nil {
		return nil
	}
	res := r.Resource
	indexes := map[string]func(runtime.Object) []string{}
	for _, name := range res.IndexedFields {
		indexes[name] = func(obj runtime.Object) []string { return []string{res.SelectableFields(obj)[name]} }
	}
	cached, err := r.set.config.Cache.Add(cache.ResourceConfig{
		Prefix:       r.prefix,
		Decode:       r.decode,
		WithRevision: withRevision,
		Indexes:      indexes,
	})
	if err != nil {
		return fmt.Errorf("resource %s: %w", res.GroupResource(), err)
	}
	r.cached = cached
	return nil
}

// storagePrefix: what has no other name in the store is below its plural, or,
// where the group is not one of Kubernetes' own, below group and plural.
func storagePrefix(res *resource.Resource) string {
	if res.StoragePrefix != "" {
		return res.StoragePrefix
	}
	group := res.GVK.Group
	if !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
		return res.Plural
	}
	return group + "/" + res.Plural
}

// Ready is closed once the resource's objects have been loaded.
func (r *Registry) Ready() <-chan struct{} { return r.cached.Ready() }

// Size is how many objects there are, and the bytes that they take in the store. It
// waits for nothing.
func (r *Registry) Size() (objects int, bytes int64) { return r.cached.Size() }

// Watchers is how many watches would be told of a write to an object; of one whose
// name is not known yet, name is "".
func (r *Registry) Watchers(namespace, name string) int {
	return r.cached.Watchers(r.key(namespace, name))
}

func (r *Registry) key(namespace, name string) string {
	if r.Resource.Namespaced {
		return r.prefix + namespace + "/" + name
	}
	return r.prefix + name
}

// decode makes an object of stored bytes, in its stored form: with what newer
// fields default to, and with the revision of its last write as its version.
func (r *Registry) decode(kv store.KV) (runtime.Object, error) {
	obj, err := r.storage.Decode(kv.Value)
	if err != nil {
		return nil, err
	}
	res := r.Resource
	if r.of != nil {
		res = r.of.Resource
	}
	if res.Restore != nil {
		res.Restore(obj)
	}
	if res.Default != nil {
		res.Default(obj)
	}
	if res.Share != nil {
		res.Share(obj, &r.set.shared)
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	accessor.SetResourceVersion(strconv.FormatInt(kv.ModRevision, 10))
	return obj, nil
}

func withRevision(obj runtime.Object, revision int64) runtime.Object {
	obj = codec.Shallow(obj)
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
	return obj
}

// state is an object as some read found it.
type state struct {
	obj runtime.Object
	// stored is the object in the form in which it is stored.
	stored   runtime.Object
	revision int64
	// certain: the store said so; otherwise it may have changed since.
	certain bool
}

// current finds an object for a write. It is nil where there is none.
func (r *Registry) current(ctx context.Context, key string) (*state, error) {
	snapshot, err := r.cached.Snapshot(ctx, cache.Any)
	if errors.Is(err, cache.ErrClosed) {
		// Replaced, or about to stop: the store knows.
		return r.stored(ctx, key)
	}
	if err != nil {
		return nil, r.readError(err, 0)
	}
	e := snapshot.Get(key)
	if e == nil {
		return r.stored(ctx, key)
	}
	face, err := r.Face(ctx, e)
	if err != nil {
		return nil, err
	}
	return &state{obj: face.Object, stored: e.Object, revision: e.Revision}, nil
}

// start finds the state that a write begins with. A dry run has no condition that
// would find out that it began with a state that is past.
func (r *Registry) start(ctx context.Context, w Write, key string) (*state, error) {
	if w.DryRun {
		return r.stored(ctx, key)
	}
	return r.current(ctx, key)
}

// stored reads an object from the store itself.
func (r *Registry) stored(ctx context.Context, key string) (*state, error) {
	kv, _, err := r.set.config.Store.Get(ctx, key)
	if err != nil {
		return nil, r.readError(err, 0)
	}
	return r.stateOf(ctx, kv)
}

func (r *Registry) stateOf(ctx context.Context, kv *store.KV) (*state, error) {
	if kv == nil {
		return nil, nil
	}
	obj, err := r.decode(*kv)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	face, err := r.faceOf(ctx, obj)
	if err != nil {
		return nil, err
	}
	return &state{obj: face, stored: obj, revision: kv.ModRevision, certain: true}, nil
}

// readError makes an API error of one of the cache or the store. revision is the
// one that was asked for.
func (r *Registry) readError(err error, revision int64) error {
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		return err
	case errors.Is(err, store.ErrCompacted):
		return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	case errors.Is(err, store.ErrFutureRevision) && revision > 0:
		return tooLarge(revision, r.set.config.Cache.Revision())
	case errors.Is(err, cache.ErrClosed) && r.set.Of(r.Resource.GroupVersionResource()) != r:
		return ErrReplaced
	case errors.Is(err, store.ErrClosed), errors.Is(err, cache.ErrClosed):
		return apierrors.NewServiceUnavailable("the server is shutting down")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	}
	return apierrors.NewInternalError(err)
}

// writeError makes an API error of one of the store, other than a conflict.
func (r *Registry) writeError(err error) error {
	switch {
	case errors.Is(err, store.ErrUncertain):
		return apierrors.NewTimeoutError("the outcome of the write is not known: "+err.Error(), 0)
	case errors.Is(err, store.ErrNoSpace):
		return apierrors.NewInternalError(err)
	case errors.Is(err, store.ErrTooLarge):
		return errTooLarge
	}
	return r.readError(err, 0)
}

// fieldsOf are the selectable fields of an object.
func (r *Registry) fieldsOf(obj runtime.Object) fields.Set {
	set := fields.Set{}
	if r.Resource.SelectableFields != nil {
		for k, v := range r.Resource.SelectableFields(obj) {
			set[k] = v
		}
	}
	if accessor, err := meta.Accessor(obj); err == nil {
		set["metadata.name"] = accessor.GetName()
		if r.Resource.Namespaced {
			set["metadata.namespace"] = accessor.GetNamespace()
		}
	}
	return set
}
