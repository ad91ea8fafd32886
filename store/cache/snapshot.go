package cache

import "strings"

// Snapshot is a resource at one revision. It never changes, costs nothing to
// keep beyond the memory of what it shows, and needs no closing.
type Snapshot struct {
	revision int64
	version  *version
	resource *Resource
}

// Revision at which the whole snapshot is true.
func (s *Snapshot) Revision() int64 { return s.revision }

// Len is the number of entries.
func (s *Snapshot) Len() int { return s.version.entries.Len() }

// Get finds one entry; nil where there is none.
func (s *Snapshot) Get(key string) *Entry {
	e, _ := s.version.entries.Get(key)
	return e
}

// Ascend calls fn for the entries whose keys start with prefix ("" for all of
// the resource) and sort after the key after ("" for the start), in ascending
// order, until fn returns false.
func (s *Snapshot) Ascend(prefix, after string, fn func(*Entry) bool) {
	s.version.entries.Ascend(max(prefix, after), func(key string, e *Entry) bool {
		if !strings.HasPrefix(key, prefix) {
			return key < prefix
		}
		if key == after {
			return true
		}
		return fn(e)
	})
}

// Count is how many entries Ascend would visit.
func (s *Snapshot) Count(prefix, after string) int {
	if after == "" && strings.HasPrefix(s.resource.prefix, prefix) {
		return s.Len()
	}
	n := 0
	s.Ascend(prefix, after, func(*Entry) bool { n++; return true })
	return n
}

// Index calls fn for the entries to which the named index gives the value, in
// ascending order of their keys after the key after, until fn returns false. It
// reports whether the resource has such an index.
func (s *Snapshot) Index(name, value, after string, fn func(*Entry) bool) bool {
	i, ok := s.resource.index(name)
	if !ok {
		return false
	}
	prefix := indexKey(value, "")
	pivot := indexKey(value, after)
	s.version.indexes[i].Ascend(pivot, func(key string, e *Entry) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if after != "" && key == pivot {
			return true
		}
		return fn(e)
	})
	return true
}
