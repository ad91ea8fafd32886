package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// expectationTimeout is how long a key waits for the informers to show a write.
// It runs out only where an event was missed altogether (an object made and
// gone again while a watch was broken); the key then goes on with what the
// cache holds.
const expectationTimeout = 5 * time.Minute

// expectations remembers the writes of a controller that its informers have not
// shown yet. A key with such writes is not reconciled: its view would be of the
// time before them, and it would do them again.
type expectations struct {
	mu      sync.Mutex // guards all below
	pending map[objectRef]map[Key]expected
	waits   map[Key]*wait
	// A created object can be gone again before the create call returns. While
	// writes are on their way, deletions are kept so that such an object is not
	// waited for.
	flights map[uint64]struct{}
	flight  uint64
	deleted []deletion
}

// objectRef names an object in one of the controller's informers.
type objectRef struct {
	watch *watchState
	key   Key
}

// expected is what must be seen of an object.
type expected struct {
	uid             types.UID
	resourceVersion string // empty: gone, or on its way out
}

type wait struct {
	refs     map[objectRef]struct{}
	deadline time.Time
}

type deletion struct {
	flight uint64
	uid    types.UID
}

// watchState is one informer with what the runner needs to know about it.
type watchState struct {
	store cache.Store
}

func newExpectations() *expectations {
	return &expectations{
		pending: map[objectRef]map[Key]expected{},
		waits:   map[Key]*wait{},
		flights: map[uint64]struct{}{},
	}
}

// begin notes that a write goes out; the returned token ends it.
func (x *expectations) begin() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flight++
	x.flights[x.flight] = struct{}{}
	return x.flight
}

// end notes that the write of the token has returned.
func (x *expectations) end(token uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.flights, token)
	oldest := x.flight + 1
	for f := range x.flights {
		oldest = min(oldest, f)
	}
	keep := 0
	for keep < len(x.deleted) && x.deleted[keep].flight < oldest {
		keep++
	}
	if x.deleted = x.deleted[keep:]; len(x.deleted) == 0 {
		x.deleted = nil
	}
}

// expect makes the key wait until the informer has shown the write. It is
// called between begin and end.
func (x *expectations) expect(key Key, w *watchState, object Key, want expected, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.deleted {
		if d.uid == want.uid && want.uid != "" {
			return
		}
	}
	// The store is read under the lock, so that an event is either in it already
	// or will be observed later.
	if item, exists, err := w.store.GetByKey(storeKey(object)); err == nil && shows(want, item, exists) {
		return
	}
	ref := objectRef{w, object}
	if x.pending[ref] == nil {
		x.pending[ref] = map[Key]expected{}
	}
	x.pending[ref][key] = want
	if x.waits[key] == nil {
		x.waits[key] = &wait{refs: map[objectRef]struct{}{}}
	}
	x.waits[key].refs[ref] = struct{}{}
	x.waits[key].deadline = now.Add(expectationTimeout)
}

// observe takes note of an informer event and returns the keys that have
// nothing left to wait for.
func (x *expectations) observe(w *watchState, o Object, gone bool) (free []Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if gone && len(x.flights) > 0 {
		x.deleted = append(x.deleted, deletion{x.flight, o.GetUID()})
	}
	ref := objectRef{w, KeyOf(o)}
	for key, want := range x.pending[ref] {
		if gone && o.GetUID() != want.uid && want.resourceVersion != "" {
			continue // an earlier object of that name
		}
		if !gone && !shows(want, o, true) {
			continue
		}
		delete(x.pending[ref], key)
		if len(x.pending[ref]) == 0 {
			delete(x.pending, ref)
		}
		wt := x.waits[key]
		delete(wt.refs, ref)
		if len(wt.refs) == 0 {
			delete(x.waits, key)
			free = append(free, key)
		}
	}
	return free
}

// wait says how much longer the key has to wait, 0 if it may go ahead. A key
// whose time is up may go ahead too, and late is true.
func (x *expectations) wait(key Key, now time.Time) (d time.Duration, late bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	wt := x.waits[key]
	if wt == nil {
		return 0, false
	}
	if now.Before(wt.deadline) {
		return wt.deadline.Sub(now), false
	}
	for ref := range wt.refs {
		delete(x.pending[ref], key)
		if len(x.pending[ref]) == 0 {
			delete(x.pending, ref)
		}
	}
	delete(x.waits, key)
	return 0, true
}

// shows reports whether what the cache holds is at or after the write.
func shows(want expected, item any, exists bool) bool {
	o, ok := item.(Object)
	if !exists || !ok {
		return want.resourceVersion == ""
	}
	if want.resourceVersion == "" {
		return o.GetUID() != want.uid || o.GetDeletionTimestamp() != nil
	}
	if order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), want.resourceVersion); err == nil {
		return order >= 0
	}
	return o.GetUID() == want.uid
}

func storeKey(k Key) string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}
