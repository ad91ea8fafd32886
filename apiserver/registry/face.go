package registry

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/strake-io/strake/store/cache"
)

// shown says that objects have to be converted to be shown by this registry.
func (r *Registry) shown() bool { return r.of != nil || r.Resource.Converter != nil }

// Face is a cache entry as this resource shows it: where its objects are stored in
// another form than it has, the object is converted. The face of nil is nil. Its
// errors are API errors.
func (r *Registry) Face(ctx context.Context, e *cache.Entry) (*cache.Entry, error) {
	if e == nil || !r.shown() {
		return e, nil
	}
	obj, err := r.faceOf(ctx, e.Object)
	if err != nil {
		return nil, err
	}
	return withObject(e, obj), nil
}

func withObject(e *cache.Entry, obj runtime.Object) *cache.Entry {
	if obj == e.Object {
		return e
	}
	return &cache.Entry{
		Key: e.Key, Revision: e.Revision, CreateRevision: e.CreateRevision, Size: e.Size, Object: obj,
	}
}

// faces are the entries as this resource shows them, converted all at once.
func (r *Registry) faces(ctx context.Context, entries []*cache.Entry) ([]*cache.Entry, error) {
	out := make([]*cache.Entry, len(entries))
	if r.Resource.Converter == nil {
		for i, e := range entries {
			face, err := r.Face(ctx, e)
			if err != nil {
				return nil, err
			}
			out[i] = face
		}
		return out, nil
	}
	objects := make([]runtime.Object, len(entries))
	for i, e := range entries {
		objects[i] = e.Object
	}
	objects, err := r.Resource.Converter.ToVersion(ctx, objects, r.Resource.GVK.GroupVersion())
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		out[i] = withObject(e, objects[i])
	}
	return out, nil
}

// faceOf is a stored object as this resource shows it.
func (r *Registry) faceOf(ctx context.Context, stored runtime.Object) (runtime.Object, error) {
	if c := r.Resource.Converter; c != nil {
		converted, err := c.ToVersion(ctx, []runtime.Object{stored}, r.Resource.GVK.GroupVersion())
		if err != nil {
			return nil, err
		}
		return converted[0], nil
	}
	if r.of == nil {
		return stored, nil
	}
	obj, err := r.Resource.StoredAs.FromStored(stored)
	if err != nil {
		return nil, conversionError(err)
	}
	if r.Resource.Default != nil {
		r.Resource.Default(obj)
	}
	if from, err := meta.Accessor(stored); err == nil {
		if to, err := meta.Accessor(obj); err == nil {
			to.SetResourceVersion(from.GetResourceVersion())
		}
	}
	return obj, nil
}

// toStored is an object of this resource in the form in which it is stored.
func (r *Registry) toStored(ctx context.Context, obj runtime.Object) (runtime.Object, error) {
	if c := r.Resource.Converter; c != nil {
		to := r.Resource.GVK.GroupVersion()
		if r.of != nil {
			to = r.of.Resource.GVK.GroupVersion()
		}
		converted, err := c.ToVersion(ctx, []runtime.Object{obj}, to)
		if err != nil {
			return nil, err
		}
		return converted[0], nil
	}
	if r.of == nil {
		return obj, nil
	}
	stored, err := r.Resource.StoredAs.ToStored(obj)
	if err != nil {
		return nil, conversionError(err)
	}
	return stored, nil
}

func conversionError(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return apierrors.NewInternalError(err)
}

// convert makes an object of one version of a kind into one of another. A webhook
// that does so has its own bound on time.
func (s *Set) convert(obj runtime.Object, from, to *Registry) (runtime.Object, error) {
	if from == to {
		return obj, nil
	}
	ctx := context.Background()
	if to.Resource.Converter != nil {
		return to.faceOf(ctx, obj)
	}
	stored, err := from.toStored(ctx, obj)
	if err != nil {
		return nil, err
	}
	return to.faceOf(ctx, stored)
}

// Seen is a change as a watcher of a selection sees it: an object that comes to be
// selected is added, one that is not any more is deleted, in its last state. The
// entry is nil where the watcher sees nothing. Its errors are API errors.
func (r *Registry) Seen(ctx context.Context, sel Selection, ev *cache.Event) (watch.EventType, *cache.Entry, error) {
	now, err := r.Face(ctx, ev.Entry)
	if err != nil {
		return "", nil, err
	}
	is := ev.Type != cache.Deleted && now != nil && r.Matches(sel, now.Object)
	was := ev.Old != nil && sel.everything() && sel.Namespace == ""
	if ev.Old != nil && !was {
		old, err := r.Face(ctx, ev.Old)
		if err != nil {
			return "", nil, err
		}
		was = r.Matches(sel, old.Object)
	}
	switch {
	case is && was:
		return watch.Modified, now, nil
	case is:
		return watch.Added, now, nil
	case was:
		left, err := r.Face(ctx, ev.Left())
		return watch.Deleted, left, err
	}
	return "", nil, nil
}
