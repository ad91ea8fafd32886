package registry

import (
	"k8s.io/apimachinery/pkg/api/meta"

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
