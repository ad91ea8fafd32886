// Package interned remembers values that many things have in common, so that one of each
// stands in memory: what the API server decodes of objects that are alike. It stands
// below everything and knows no types.
package interned

import "sync"

// Values are known by their keys, within a bound. They are shared: nobody changes them.
// The zero value is ready and safe for concurrent use.
type Values struct {
	mu    sync.RWMutex
	known map[string]any
	size  int
}

// Get is what is known under a key, or what learn makes, which is known from then on and
// takes size. All that is known takes at most so much: beyond that it is forgotten, and
// what is in use is learnt again.
func (v *Values) Get(key []byte, size, most int, learn func() any) any {
	v.mu.RLock()
	known, has := v.known[string(key)]
	v.mu.RUnlock()
	if has {
		return known
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, has := v.known[string(key)]; has {
		return known
	}
	if v.size += size; v.known == nil || v.size > most {
		v.known, v.size = map[string]any{}, size
	}
	value := learn()
	v.known[string(key)] = value
	return value
}

// Size is what all that is known takes, and how many values that is.
func (v *Values) Size() (size, values int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.size, len(v.known)
}
