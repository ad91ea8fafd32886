package garbagecollector

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// place is an object where a reference looks for it. It has all that a reference
// says: one with a wrong name finds nothing, and proves nothing about the object
// that has the UID.
type place struct {
	uid       types.UID
	kind      schema.GroupKind
	namespace string // empty for cluster-wide kinds
	name      string
}

// places is a bounded set of objects that are known not to be there; the oldest
// goes when it is full. UIDs are never used again, so what was gone stays gone.
type places struct {
	mu    sync.Mutex // guards both
	set   map[place]struct{}
	order []place
	limit int
}

func newPlaces(limit int) *places { return &places{set: map[place]struct{}{}, limit: limit} }

func (s *places) add(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.set[p]; ok || p.uid == "" {
		return
	}
	if len(s.order) == s.limit {
		delete(s.set, s.order[0])
		s.order = s.order[1:]
	}
	s.set[p] = struct{}{}
	s.order = append(s.order, p)
}

func (s *places) has(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.set[p]
	return ok
}
