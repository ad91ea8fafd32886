package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
)

// Config of a set of registries.
type Config struct {
	// Store takes the writes, Cache answers the reads. Required.
	Store store.Store
	Cache *cache.Cache
	// Codec encodes what is stored. Required.
	Codec *codec.Codec
	// Schema merges fields in server-side apply. Required.
	Schema managedfields.TypeConverter
	// Describe makes the schema of a Go type that Schema does not know; nil: such
	// types are merged by their structure.
	Describe func(res *resource.Resource) (managedfields.TypeConverter, error)
	// Admission looks at every write.
	Admission admission.Chain
	// Names makes the random parts of names, and UIDs. Required.
	Names *Names
}

// Set is the registries of a server, by resource. What it serves changes by
// [Set.Publish]; readers see one whole [Table] or the next.
type Set struct {
	config Config
	table  atomic.Pointer[Table]
	shared resource.Shared // parts of objects, whichever resource they are of

	mu    sync.Mutex // guards parts, and makes publishing one step
	parts []part
}

// part is what one owner has published.
type part struct {
	owner     string
	resources []*resource.Resource
}

// Table is what is served at one time. It does not change.
type Table struct {
	resources []*resource.Resource
	byName    map[schema.GroupVersionResource]*Registry
	stored    map[schema.GroupResource]*Registry
	byKind    map[schema.GroupVersionKind]*Registry
	// faces are the registries that show the objects of one, itself among them.
	faces   map[*Registry][]*Registry
	builtIn map[string]bool
}

// Resources that are served, in the order in which they were declared. Read-only.
func (t *Table) Resources() []*resource.Resource { return t.resources }

// Of finds the registry of a resource in one version; nil where it is not served.
func (t *Table) Of(gvr schema.GroupVersionResource) *Registry { return t.byName[gvr] }

// Stored finds the registry of the version that a resource is stored in, or, where
// it is a face of another resource's objects, of its first; nil where it is not
// served.
func (t *Table) Stored(gr schema.GroupResource) *Registry { return t.stored[gr] }

// BuiltIn says whether a group has resources of Go types: one that the program
// brings, as opposed to one that came at run time.
func (t *Table) BuiltIn(group string) bool { return t.builtIn[group] }

// NewSet makes the registries of the resources that are there from the start and
// adds them to the cache.
func NewSet(config Config, resources []*resource.Resource) (*Set, error) {
	set := &Set{config: config}
	set.table.Store(&Table{})
	return set, set.Publish("", resources)
}

// Table is what is served now.
func (s *Set) Table() *Table { return s.table.Load() }

// Of finds the registry of a resource in one version; nil where it is not served.
func (s *Set) Of(gvr schema.GroupVersionResource) *Registry { return s.Table().Of(gvr) }

// Settle returns when no publication is under way: who found a registry that has
// been replaced finds its successor then.
func (s *Set) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

// Publish makes resources those that owner has in the set, in place of those it
// published before. A resource that stays the same (the same pointer, or the same
// CacheKey) keeps its watches; the watches of others end. Requests that run finish on
// what they found. An error changes nothing: a resource that another owner has, one
// stored as something that is not stored here, or keys that overlap.
func (s *Set) Publish(owner string, resources []*resource.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := slices.Clone(s.parts)
	at := slices.IndexFunc(parts, func(p part) bool { return p.owner == owner })
	if at < 0 {
		parts = append(parts, part{})
		at = len(parts) - 1
	}
	parts[at] = part{owner, slices.Clone(resources)}
	if len(resources) == 0 {
		parts = slices.Delete(parts, at, at+1)
	}
	old := s.table.Load()
	next, added, err := s.plan(old, parts)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, r := range next.byName {
		if r.ownCache() && r.cached != nil {
			kept[r.prefix] = true
		}
	}
	// The successor of a resource has the same keys: the old one leaves the cache
	// before the new one comes.
	for _, r := range old.byName {
		if r.ownCache() && !kept[r.prefix] {
			s.config.Cache.Remove(r.prefix)
		}
	}
	for _, r := range added {
		if err := r.open(); err != nil {
			return err
		}
	}
	s.parts = parts
	s.table.Store(next)
	return nil
}

// plan makes the next table. Registries that are new, in the order in which they
// have to be opened, have no cache yet.
func (s *Set) plan(old *Table, parts []part) (next *Table, added []*Registry, err error) {
	var all []*resource.Resource
	next = &Table{
		byName: map[schema.GroupVersionResource]*Registry{}, stored: map[schema.GroupResource]*Registry{},
		byKind: map[schema.GroupVersionKind]*Registry{}, faces: map[*Registry][]*Registry{},
		builtIn: map[string]bool{},
	}
	caches := map[string]*Registry{}
	for _, r := range old.byName {
		if r.ownCache() {
			caches[r.prefix] = r
		}
	}
	for _, p := range parts {
		all = append(all, p.resources...)
	}
	for _, res := range all {
		if !res.Unserved {
			next.resources = append(next.resources, res)
		}
	}
	// The faces of what others store come last: they share those ones' cache.
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b *resource.Resource) int {
		return boolToInt(a.StoredAs != nil) - boolToInt(b.StoredAs != nil)
	})
	for _, res := range ordered {
		gvr := res.GroupVersionResource()
		if next.byName[gvr] != nil {
			return nil, nil, fmt.Errorf("resource %s is declared twice in version %s", res.GroupResource(), gvr.Version)
		}
		var of *Registry
		if as := res.StoredAs; as != nil {
			if of = next.byName[as.Of]; of == nil || of.Resource.StoredAs != nil {
				return nil, nil, fmt.Errorf("resource %s is stored as %s, which is not stored here", res.GroupResource(), as.Of)
			}
		}
		r := old.byName[gvr]
		if r == nil || r.Resource != res || r.of != of {
			if r, err = s.newRegistry(res, of); err != nil {
				return nil, nil, err
			}
			if was := caches[r.prefix]; of == nil && was != nil && res.CacheKey != "" && res.CacheKey == was.Resource.CacheKey {
				r.cached = was.cached
			}
			added = append(added, r)
		}
		next.byName[gvr] = r
		next.builtIn[gvr.Group] = next.builtIn[gvr.Group] || !free(res)
		if gr := res.GroupResource(); next.stored[gr] == nil || res.StoredAs == nil && next.stored[gr].Resource.StoredAs != nil {
			next.stored[gr] = r
		} else if res.StoredAs == nil && res.Create == nil {
			return nil, nil, fmt.Errorf("resource %s is stored in two versions", gr)
		}
	}
	for _, res := range next.resources {
		r := next.byName[res.GroupVersionResource()]
		if next.byKind[res.GVK] == nil {
			next.byKind[res.GVK] = r
		}
		next.faces[r.stem()] = append(next.faces[r.stem()], r)
	}
	return next, added, disjoint(next)
}

// disjoint makes sure that no two resources have keys in common.
func disjoint(t *Table) error {
	var prefixes []string
	for _, r := range t.byName {
		if r.ownCache() {
			prefixes = append(prefixes, r.prefix)
		}
	}
	slices.Sort(prefixes)
	for i := 1; i < len(prefixes); i++ {
		if strings.HasPrefix(prefixes[i], prefixes[i-1]) {
			return fmt.Errorf("the keys below %q and %q overlap", prefixes[i-1], prefixes[i])
		}
	}
	return nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ErrReplaced says that a resource was removed or replaced while a read was under
// way: the same request, asked again, finds what is served now.
var ErrReplaced = errors.New("the resource has been replaced")
