package cache

import (
	"slices"
	"sort"
	"sync/atomic"

	"github.com/strake-io/strake/store"
)

// apply takes the store's writes to the resource, whole revisions in order, and
// publishes the state after them. Only the loop calls it.
func (r *Resource) apply(writes []store.Event) {
	current := r.current.Load()
	r.mu.Lock() // see version.edit
	v := current.edit()
	r.mu.Unlock()
	events := make([]Event, 0, len(writes))
	for i := range writes {
		kv := &writes[i].KV
		// A resource is loaded at a revision of its own, ahead of the watch.
		if kv.ModRevision <= current.revision {
			continue
		}
		v.revision = kv.ModRevision
		if ev, ok := r.event(v, writes[i]); ok {
			v.apply(&ev)
			events = append(events, ev)
		}
	}
	if len(events) > 0 {
		r.publish(v, events)
	}
}

// event says what a write does to the version; ok is false where that is nothing.
func (r *Resource) event(v *version, write store.Event) (ev Event, ok bool) {
	old, _ := v.entries.Get(write.KV.Key)
	if write.Type == store.EventPut {
		e, err := r.entry(write.KV)
		if err == nil {
			return r.change(old, e), true
		}
		// The last good state is no longer true: readers see the object go.
		r.undecodable(write.KV, err)
	}
	if old == nil {
		return Event{}, false
	}
	return r.deletion(old, write.KV.ModRevision), true
}

func (r *Resource) change(old, e *Entry) Event {
	ev := Event{Type: Added, Entry: e, Old: old, Revision: e.Revision, resource: r}
	if old != nil {
		ev.Type, ev.left = Modified, new(atomic.Pointer[Entry])
	}
	return ev
}

func (r *Resource) deletion(old *Entry, revision int64) Event {
	return Event{Type: Deleted, Entry: r.at(old, revision), Old: old, Revision: revision, resource: r}
}

func (r *Resource) undecodable(kv store.KV, err error) {
	r.cache.metrics.decodeErrors.WithLabelValues(r.prefix).Inc()
	r.cache.log.Error(err, "A stored object does not decode and is kept out", "key", kv.Key, "revision", kv.ModRevision)
}

// publish makes a version the current one and hands its events to the feeds.
func (r *Resource) publish(v *version, events []Event) {
	r.cache.metrics.events.WithLabelValues(r.prefix).Add(float64(len(events)))
	for i := range events {
		r.cache.budget.replace(events[i].Old)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.Store(v)
	r.versions = append(r.versions, v)
	dropped := r.all.publish(events, r.keep(events))
	if n := len(dropped); n > 0 {
		r.raiseFloor(dropped[n-1].Revision)
	}
	r.feed(events)
}

// minHistory is how many events are kept however large they are.
const minHistory = 64

// weight is what an event keeps in memory that the present does not need.
func (ev *Event) weight() int {
	if ev.Old == nil {
		return 0
	}
	return ev.Old.Size
}

// keep says how many events the log may hold with new ones added, and counts
// their weight. The caller holds mu.
func (r *Resource) keep(events []Event) int {
	log := r.all.view.Load().log
	for i := range events {
		r.weight += events[i].weight()
	}
	n, dropped := len(log)+len(events), 0
	for n-dropped > r.cache.history || r.weight > r.cache.bytes && n-dropped > minHistory {
		if dropped < len(log) {
			r.weight -= log[dropped].weight()
		} else {
			r.weight -= events[dropped-len(log)].weight()
		}
		dropped++
	}
	return n - dropped
}

// feed hands events to the feeds that want them.
func (r *Resource) feed(events []Event) {
	if len(r.feeds) == 0 {
		return
	}
	wanted := map[*feed][]Event{}
	for i := range events {
		r.eachInterest(&events[i], func(interest Interest) {
			if f := r.feeds[interest]; f != nil {
				wanted[f] = append(wanted[f], events[i])
			}
		})
	}
	for f, events := range wanted {
		f.forget()
		f.publish(events, max(r.cache.backlog, len(events)))
	}
}

// raiseFloor forgets the versions before a revision.
func (r *Resource) raiseFloor(revision int64) {
	r.floor = max(r.floor, revision)
	i := sort.Search(len(r.versions), func(i int) bool { return r.versions[i].revision >= r.floor })
	// The newest stays: it is what later revisions are, too.
	i = min(i, len(r.versions)-1)
	r.versions = slices.Delete(r.versions, 0, i)
}

// install puts a loaded state in place of what the resource holds, and publishes
// the difference. What happened between the two is not known, so history starts
// anew.
func (r *Resource) install(entries []*Entry, revision int64) {
	v := newVersion(len(r.indexFuncs))
	v.revision = revision
	for _, e := range entries {
		v.entries.Load(e.Key, e)
		v.bytes += int64(e.Size)
		for i, tree := range v.indexes {
			for _, value := range e.values[i] {
				tree.Set(indexKey(value, e.Key), e)
			}
		}
	}
	var events []Event
	if current := r.current.Load(); current != nil {
		events = r.difference(current, v)
	}
	for i := range events {
		r.cache.budget.replace(events[i].Old)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.Store(v)
	r.versions = []*version{v}
	r.floor = revision
	r.all.publish(events, r.keep(events))
	r.feed(events)
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
}

// difference is a shortest story that leads from one version to a later one. It
// makes the entries that did not change the same ones in both.
func (r *Resource) difference(from, to *version) []Event {
	var events []Event
	var kept []*Entry
	to.entries.Scan(func(key string, e *Entry) bool {
		old, _ := from.entries.Get(key)
		switch {
		case old == nil:
			events = append(events, r.change(nil, e))
		case old.Revision == e.Revision:
			kept = append(kept, old)
		case old.CreateRevision != e.CreateRevision:
			// Deleted and made again: the last moment between is as good as any.
			events = append(events, r.deletion(old, e.CreateRevision-1), r.change(nil, e))
		default:
			events = append(events, r.change(old, e))
		}
		return true
	})
	for _, e := range kept {
		to.set(e)
	}
	from.entries.Scan(func(key string, old *Entry) bool {
		if _, ok := to.entries.Get(key); !ok {
			events = append(events, r.deletion(old, to.revision))
		}
		return true
	})
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.Revision - b.Revision) })
	return events
}
