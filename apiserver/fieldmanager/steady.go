package fieldmanager

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// maxEntries is how many entries the algorithm lets stand without merging old
// ones: with more, it has to look.
const maxEntries = 10

// steady is the short way for the update that a cluster makes most: a manager sets
// other values in fields that it alone owns already (a lease is renewed, a
// condition changes). Then the entries stay what they are, but for one time, and
// neither need the objects be turned into typed values nor the entries be written
// anew. It answers only where that is sure to be what the algorithm would say.
type steady struct {
	schema      *schema.Schema
	root        schema.TypeRef
	version     string
	subresource string
	reset       *fieldpath.Set

	mu   sync.Mutex // guards sets
	sets map[string]*fieldpath.Set
}

// maxSets bounds the decoded entries that are kept. Most objects of a kind have one
// of a few: that of leases is the same for every node.
const maxSets = 256

// update is the managed fields after manager has changed live to obj; ok says
// whether this way can tell.
func (s *steady) update(live, obj runtime.Object, manager string, now time.Time) (entries []metav1.ManagedFieldsEntry, ok bool) {
	before, err := meta.Accessor(live)
	if err != nil {
		return nil, false
	}
	after, err := meta.Accessor(obj)
	if err != nil {
		return nil, false
	}
	entries, ok = s.given(before.GetManagedFields(), after.GetManagedFields())
	if !ok {
		return nil, false
	}
	d := differ{schema: s.schema, reset: s.reset}
	if !d.objects(s.root, live, obj) {
		return nil, false
	}
	if len(d.changed) == 0 {
		slices.SortFunc(entries, byTime)
		return entries, true
	}
	self := -1
	for i := range entries {
		e := &entries[i]
		own := e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationUpdate && e.Subresource == s.subresource
		set := s.set(e.FieldsV1)
		if set == nil {
			return nil, false
		}
		for _, path := range d.changed {
			if set.Has(path) != own {
				return nil, false
			}
		}
		if own {
			self = i
		}
	}
	if self < 0 {
		return nil, false
	}
	at := metav1.NewTime(now.UTC())
	entries[self].Time = &at
	slices.SortFunc(entries, byTime)
	return entries, true
}

// given are the entries that the update starts from, as the caller's own: those of
// the object, where the client sent back what it read, or a copy of the live ones.
func (s *steady) given(before, after []metav1.ManagedFieldsEntry) ([]metav1.ManagedFieldsEntry, bool) {
	if len(before) == 0 || len(before) > maxEntries {
		return nil, false
	}
	for i := range before {
		if e := &before[i]; e.APIVersion != s.version || e.FieldsType != "FieldsV1" || e.FieldsV1 == nil {
			return nil, false
		}
	}
	switch {
	case len(after) > 0 && equality.Semantic.DeepEqual(before, after):
		return after, true
	case after == nil || s.subresource != "":
		own := make([]metav1.ManagedFieldsEntry, len(before))
		for i := range before {
			before[i].DeepCopyInto(&own[i])
		}
		return own, true
	}
	return nil, false
}

// set decodes an entry's fields, or finds them decoded. It is nil where they are
// not well formed.
func (s *steady) set(fields *metav1.FieldsV1) *fieldpath.Set {
	raw := fields.GetRawString()
	s.mu.Lock()
	defer s.mu.Unlock()
	if set := s.sets[raw]; set != nil {
		return set
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(fields.GetRawReader()); err != nil {
		return nil
	}
	if s.sets == nil || len(s.sets) >= maxSets {
		s.sets = make(map[string]*fieldpath.Set)
	}
	s.sets[raw] = set
	return set
}

// byTime is the order of entries on an object: applied ones first, then the oldest.
func byTime(a, b metav1.ManagedFieldsEntry) int {
	seconds := func(t *metav1.Time) int64 {
		if t == nil {
			return 0
		}
		return t.Unix()
	}
	return cmp.Or(
		cmp.Compare(a.Operation, b.Operation),
		cmp.Compare(seconds(a.Time), seconds(b.Time)),
		cmp.Compare(a.Manager, b.Manager),
		cmp.Compare(a.APIVersion, b.APIVersion),
		cmp.Compare(a.Subresource, b.Subresource),
	)
}
