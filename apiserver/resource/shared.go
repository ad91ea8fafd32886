package resource

import (
	"sync"

	"github.com/strake-io/strake/internal/interned"
)

// Objects of one template (the pods of a deployment) have most of what they say in
// common. Decoded, a pod takes about three times its JSON, so that it pays to let equal
// parts be one: see [Resource.Share]. What is shared is what was decoded from the store,
// which nobody changes.
const (
	// maxPart bounds a part that is shared, by its encoding.
	maxPart = 64 << 10
	// partFactor is about how much larger a part is than its encoding.
	partFactor = 5
	// maxParts bounds what all parts that are known take, about.
	maxParts = 16 << 20
)

// Shared knows parts of objects that were seen before. The zero value is ready, and nil
// knows nothing. It is safe for concurrent use.
type Shared struct {
	parts interned.Values
	keys  sync.Pool // of *key
}

// Marshaler is what parts are compared by: the protobuf types of the API.
type Marshaler interface {
	Size() int
	MarshalToSizedBuffer(data []byte) (int, error)
}

// ShareList returns list, or one that was seen before and is equal to it. of gives the
// encoding of an element; kind keeps parts of different types apart.
func ShareList[T any](s *Shared, kind byte, list []T, of func(*T) Marshaler) []T {
	if s == nil || len(list) == 0 {
		return list
	}
	key, done := s.key(kind)
	defer done()
	for i := range list {
		if !key.add(of(&list[i])) {
			return list
		}
	}
	same, ok := s.get(*key, func() any { return list[:len(list):len(list)] }).([]T)
	if !ok {
		return list
	}
	return same
}

// Share returns part, or one that was seen before and is equal to it; nil stays nil.
func Share[T any, P interface {
	*T
	Marshaler
}](s *Shared, kind byte, part P) P {
	if s == nil || part == nil {
		return part
	}
	key, done := s.key(kind)
	defer done()
	if !key.add(part) {
		return part
	}
	if same, ok := s.get(*key, func() any { return part }).(P); ok {
		return same
	}
	return part
}

// key is what a part is looked up by: its kind and encoding.
type key []byte

// add appends an encoding; false says that the part is too large, or has none.
func (k *key) add(m Marshaler) bool {
	size := m.Size()
	if len(*k)+size > maxPart {
		return false
	}
	// The length, so that no two lists have one encoding.
	*k = append(*k, byte(size), byte(size>>8), byte(size>>16))
	start := len(*k)
	*k = append(*k, make([]byte, size)...)
	_, err := m.MarshalToSizedBuffer((*k)[start:])
	return err == nil
}

// key is an empty one for a kind of parts, until done.
func (s *Shared) key(kind byte) (k *key, done func()) {
	pooled, _ := s.keys.Get().(*key)
	if pooled == nil {
		pooled = new(key)
	}
	*pooled = append((*pooled)[:0], kind)
	return pooled, func() { s.keys.Put(pooled) }
}

// get is what is known under a key, or what is learnt now.
func (s *Shared) get(k key, learn func() any) any {
	return s.parts.Get(k, partFactor*len(k), maxParts, learn)
}
