package cache

import (
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
)

// Entry is one object at one revision. It never changes, and all readers share
// it: nothing reachable from it may be written to.
type Entry struct {
	// Key in the store.
	Key string
	// Revision of the write that this is the state after; in the Entry of a
	// deletion, the revision of the deletion.
	Revision int64
	// CreateRevision of the object.
	CreateRevision int64
	// Size of the stored value in bytes, as a hint for buffers.
	Size int
	// Object as Decode made it.
	Object runtime.Object

	// values are what each index of the resource says of the object, in the
	// order of the resource's index names.
	values    [][]string
	encodings atomic.Pointer[encoding]
	budget    *budget // nil: what is made is not counted
	replaced  bool    // guarded by budget.mu
}

// encoding is one link of an entry's list of encodings. Lists are as short as
// there are media types in use.
type encoding struct {
	media string
	next  *encoding
	data  atomic.Pointer[[]byte]
	mu    sync.Mutex // held while data is made, so that it is made once
	// counted is what the budget counts of it. Guarded by budget.mu.
	counted int64
}

// Encoding returns the object's bytes for a media key, which make makes on the
// first call: callers that come at the same time wait for that one, and all
// share the result, which is read-only. A make that fails is not remembered, and of
// many encodings the oldest are not either ([Config.EncodingBytes]). The
// key names all that the bytes depend on (media type, group version, whether it
// is a table row and of which kind).
func (e *Entry) Encoding(mediaKey string, make func() ([]byte, error)) ([]byte, error) {
	enc := e.encoding(mediaKey)
	if data := enc.data.Load(); data != nil {
		return *data, nil
	}
	enc.mu.Lock()
	defer enc.mu.Unlock()
	if data := enc.data.Load(); data != nil {
		return *data, nil
	}
	data, err := make()
	if err != nil {
		return nil, err
	}
	enc.data.Store(&data)
	e.budget.add(e, enc, len(data))
	return data, nil
}

// encoding finds the link for a media key, or adds it at the front.
func (e *Entry) encoding(mediaKey string) *encoding {
	for {
		first := e.encodings.Load()
		for enc := first; enc != nil; enc = enc.next {
			if enc.media == mediaKey {
				return enc
			}
		}
		enc := &encoding{media: mediaKey, next: first}
		if e.encodings.CompareAndSwap(first, enc) {
			return enc
		}
	}
}

// has says whether index number i gives the object that value.
func (e *Entry) has(i int, value string) bool {
	if e == nil || i >= len(e.values) {
		return false
	}
	for _, v := range e.values[i] {
		if v == value {
			return true
		}
	}
	return false
}
