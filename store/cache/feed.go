package cache

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Interest is what a watcher wants to see of a resource. The zero value is
// everything; otherwise exactly one of Prefix, Key and Index is set.
type Interest struct {
	// Prefix of keys, ending in a slash: a namespace.
	Prefix string
	// Key of one object.
	Key string
	// Index and Value select objects by an index of the resource. An event
	// is of interest where the object has the value before or after it.
	Index, Value string
}

func (i Interest) validate(r *Resource) error {
	set := 0
	for _, s := range []string{i.Prefix, i.Key, i.Index} {
		if s != "" {
			set++
		}
	}
	if set > 1 || i.Index == "" && i.Value != "" {
		return fmt.Errorf("cache: an interest names one of prefix, key and index, not %+v", i)
	}
	if i.Prefix != "" && (!strings.HasPrefix(i.Prefix, r.prefix) || !strings.HasSuffix(i.Prefix, "/")) {
		return fmt.Errorf("cache: the prefix of an interest, %q, must lie in %q and end in a slash", i.Prefix, r.prefix)
	}
	if _, ok := r.index(i.Index); i.Index != "" && !ok {
		return fmt.Errorf("cache: %s has no index %q", r.prefix, i.Index)
	}
	return nil
}

// wants says whether an event is of interest.
func (i Interest) wants(r *Resource, ev *Event) bool {
	switch {
	case i.Key != "":
		return ev.Entry.Key == i.Key
	case i.Index != "":
		n, _ := r.index(i.Index)
		return ev.Entry.has(n, i.Value) || ev.Old.has(n, i.Value)
	default:
		return strings.HasPrefix(ev.Entry.Key, i.Prefix)
	}
}

// eachInterest calls fn with every interest, the one in everything apart, that
// wants the event, each once.
func (r *Resource) eachInterest(ev *Event, fn func(Interest)) {
	key := ev.Entry.Key
	fn(Interest{Key: key})
	for i := len(r.prefix); i < len(key); i++ {
		if key[i] == '/' {
			fn(Interest{Prefix: key[:i+1]})
		}
	}
	for n, name := range r.indexNames {
		for _, value := range ev.Entry.valuesOf(n) {
			fn(Interest{Index: name, Value: value})
		}
		for _, value := range ev.Old.valuesOf(n) {
			if !ev.Entry.has(n, value) {
				fn(Interest{Index: name, Value: value})
			}
		}
	}
}

func (e *Entry) valuesOf(i int) []string {
	if e == nil || i >= len(e.values) {
		return nil
	}
	return e.values[i]
}

// feed is the events of one interest, for any number of watchers: each keeps a
// position of its own and reads the latest view without a lock.
type feed struct {
	view atomic.Pointer[view]

	// Guarded by Resource.mu; forgetAt is the length of the log at which to look
	// how much of it all watchers have read.
	watchers map[*Watcher]struct{}
	forgetAt int
}

// minFeed is how many events a narrow feed keeps before it forgets those that
// every watcher has read.
const minFeed = 16

// view is the recent part of a feed. It does not change: the log's backing array
// is appended to only beyond the end of every view's slice.
type view struct {
	log   []Event
	start int64         // position of log[0], counted from the feed's beginning
	wake  chan struct{} // closed when a newer view is there
	err   error         // the feed's end
}

func (v *view) end() int64 { return v.start + int64(len(v.log)) }

func newFeed() *feed {
	f := &feed{watchers: map[*Watcher]struct{}{}, forgetAt: minFeed}
	f.view.Store(&view{wake: make(chan struct{})})
	return f
}

// publish appends events and drops those beyond the newest bound; dropped are
// those dropped. The caller holds Resource.mu.
func (f *feed) publish(events []Event, bound int) (dropped []Event) {
	old := f.view.Load()
	if len(events) == 0 || old.err != nil {
		return nil
	}
	log, start := append(old.log, events...), old.start
	if cut := len(log) - bound; cut > 0 {
		dropped, log, start = log[:cut:cut], log[cut:], start+int64(cut)
	}
	f.view.Store(&view{log: log, start: start, wake: make(chan struct{})})
	close(old.wake)
	return dropped
}

// forget drops the events that every watcher has read, now and then. Without it
// thousands of narrow feeds (one for each node) would each keep as many old objects
// as the slowest reader may be behind. The caller holds Resource.mu and publishes
// next.
func (f *feed) forget() {
	v := f.view.Load()
	if len(v.log) < f.forgetAt {
		return
	}
	read := v.end()
	for w := range f.watchers {
		read = min(read, w.position.Load())
	}
	read = max(read, v.start)
	// A copy, since the old backing array holds on to what was in it.
	log := slices.Clone(v.log[read-v.start:])
	f.view.Store(&view{log: log, start: read, wake: v.wake, err: v.err})
	f.forgetAt = max(minFeed, 2*len(log))
}

// fail ends the feed: watchers get the error after the last event. The caller
// holds Resource.mu.
func (f *feed) fail(err error) {
	old := f.view.Load()
	if old.err != nil {
		return
	}
	f.view.Store(&view{log: old.log, start: old.start, wake: old.wake, err: err})
	close(old.wake)
}
