package codec

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// What objects of one template have in common need not stand in memory once for each.
// The record of who owns which fields is the most of that: about a fifth of a pod that
// is decoded, and the same for all replicas. Objects that come from the store are
// read-only, so that they can share it.
const (
	// maxShared bounds one piece that is shared, maxSharedBytes all that are known.
	maxShared      = 16 << 10
	maxSharedBytes = 4 << 20
)

// sharedBytes knows pieces that objects have in common. The zero value is ready.
type sharedBytes struct {
	mu    sync.RWMutex
	known map[string][]byte
	size  int
}

// get is data, or what was given before and is equal to it.
func (s *sharedBytes) get(data []byte) []byte {
	if len(data) == 0 || len(data) > maxShared {
		return data
	}
	s.mu.RLock()
	known, has := s.known[string(data)]
	s.mu.RUnlock()
	if has {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, has := s.known[string(data)]; has {
		return known
	}
	// Twice: as the key, and as what is shared. Once there is no room all is forgotten,
	// and what is in use is learnt again.
	if s.size += 2 * len(data); s.known == nil || s.size > maxSharedBytes {
		s.known, s.size = map[string][]byte{}, 2*len(data)
	}
	data = data[:len(data):len(data)]
	s.known[string(data)] = data
	return data
}

// share lets an object that was decoded have in common with others what it can.
func (c *Codec) share(obj runtime.Object) {
	if _, untyped := obj.(runtime.Unstructured); untyped {
		return
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	entries := accessor.GetManagedFields()
	for i := range entries {
		if fields := entries[i].FieldsV1; fields != nil {
			fields.Raw = c.shared.get(fields.Raw)
		}
	}
}
