package registry

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/strake-io/strake/store/cache"
)

// Face is a cache entry as this resource shows it: where its objects are stored
// as those of another resource, whose cache it shares, the object is converted.
// What no conversion can be made of is nil, as if it were not there; so is nil.
func (r *Registry) Face(e *cache.Entry) *cache.Entry {
	as := r.Resource.StoredAs
	if as == nil || e == nil {
		return e
	}
	obj, err := as.FromStored(e.Object)
	if err != nil {
		return nil
	}
	if r.Resource.Default != nil {
		r.Resource.Default(obj)
	}
	if from, err := meta.Accessor(e.Object); err == nil {
		if to, err := meta.Accessor(obj); err == nil {
			to.SetResourceVersion(from.GetResourceVersion())
		}
	}
	return &cache.Entry{
		Key: e.Key, Revision: e.Revision, CreateRevision: e.CreateRevision, Size: e.Size, Object: obj,
	}
}

// Seen is a change as a watcher of a selection sees it: an object that comes to be
// selected is added, one that is not any more is deleted, in its last state. The
// entry is nil where the watcher sees nothing.
func (r *Registry) Seen(sel Selection, ev *cache.Event) (watch.EventType, *cache.Entry) {
	old, now := r.Face(ev.Old), r.Face(ev.Entry)
	was := old != nil && r.Matches(sel, old.Object)
	is := ev.Type != cache.Deleted && now != nil && r.Matches(sel, now.Object)
	switch {
	case is && was:
		return watch.Modified, now
	case is:
		return watch.Added, now
	case was:
		return watch.Deleted, r.Face(ev.Left())
	}
	return "", nil
}
