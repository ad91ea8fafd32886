package scheduler

import (
	"container/heap"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/scheduler/framework"
)

// place is where in the queue a pod is.
type place int8

const (
	// inHand: taken out to be tried, or being bound.
	inHand place = iota
	// active: to be tried, as soon as it is its turn.
	active
	// backingOff: to be tried, not before its time unless nothing else waits.
	backingOff
	// unschedulable: until something happens that may help.
	unschedulable
	// gated: until the pod itself changes.
	gated
)

// entry is a pod of the queue.
type entry struct {
	framework.QueuedPod
	place place
	seq   uint64 // order of arrival, between entries that sort equal
	index int    // in the heap
	// notBefore is the end of the back-off after the last attempt.
	notBefore time.Time
	// since is when it became unschedulable.
	since time.Time
	// failed says that the last attempt ended in an error, or was refused after a
	// node was found: then the back-off is not cut short.
	failed bool
	// gatedBy names the plugin that keeps a gated pod out.
	gatedBy string
}

// queue holds the pods that have no node yet. It is pure: time is an argument,
// and one goroutine uses it.
type queue struct {
	profile   *profile
	initial   time.Duration
	longest   time.Duration
	timeout   time.Duration
	nextFlush time.Time
	nextSeq   uint64

	entries map[types.UID]*entry
	active  entryHeap
	backoff entryHeap
	// waiting are the entries that are unschedulable.
	waiting map[types.UID]*entry
	gated   int
}

// flushInterval is how often the queue looks for pods that were unschedulable
// for too long.
const flushInterval = 30 * time.Second

func newQueue(p *profile, initial, longest, timeout time.Duration) *queue {
	q := &queue{
		profile: p, initial: initial, longest: longest, timeout: timeout,
		entries: make(map[types.UID]*entry),
		waiting: make(map[types.UID]*entry),
	}
	q.active.less = func(a, b *entry) bool {
		if p.sort.Less(&a.QueuedPod, &b.QueuedPod) {
			return true
		}
		if p.sort.Less(&b.QueuedPod, &a.QueuedPod) {
			return false
		}
		return a.seq < b.seq
	}
	q.backoff.less = func(a, b *entry) bool {
		if !a.notBefore.Equal(b.notBefore) {
			return a.notBefore.Before(b.notBefore)
		}
		return q.active.less(a, b)
	}
	return q
}

// add puts a pod in the queue that is not in it. It returns false where a gate
// keeps it out for now.
func (q *queue) add(pod *framework.PodInfo, now time.Time) bool {
	q.nextSeq++
	e := &entry{QueuedPod: framework.QueuedPod{PodInfo: pod, Added: now}, seq: q.nextSeq, index: -1}
	q.entries[pod.Pod.UID] = e
	return q.enter(e, now)
}

// enter makes an entry active, or gated.
func (q *queue) enter(e *entry, now time.Time) bool {
	if name, _ := q.profile.gate(e.Pod); name != "" {
		e.gatedBy = name
		q.move(e, gated)
		return false
	}
	q.activate(e, now)
	return true
}

// activate makes an entry active, or lets it wait for the end of its back-off.
func (q *queue) activate(e *entry, now time.Time) {
	e.Added = now
	if e.notBefore.After(now) {
		q.move(e, backingOff)
	} else {
		q.move(e, active)
	}
}

// move takes an entry from where it is to another place.
func (q *queue) move(e *entry, to place) {
	switch e.place {
	case active:
		heap.Remove(&q.active, e.index)
	case backingOff:
		heap.Remove(&q.backoff, e.index)
	case unschedulable:
		delete(q.waiting, e.Pod.UID)
	case gated:
		q.gated--
	}
	e.place = to
	switch to {
	case active:
		heap.Push(&q.active, e)
	case backingOff:
		heap.Push(&q.backoff, e)
	case unschedulable:
		q.waiting[e.Pod.UID] = e
	case gated:
		q.gated++
	}
}

// update replaces the pod of an entry. changed says that something changed which
// its placement depends on: then it is tried again, if it is not in hand.
func (q *queue) update(e *entry, pod *framework.PodInfo, changed bool, now time.Time) {
	if e.place == active || e.place == backingOff {
		// The order may depend on the pod.
		at := e.place
		q.move(e, inHand)
		e.PodInfo = pod
		q.move(e, at)
		return
	}
	e.PodInfo = pod
	switch {
	case e.place == gated:
		q.enter(e, now)
	case e.place == unschedulable && changed:
		q.activate(e, now)
	}
}

// remove forgets a pod.
func (q *queue) remove(uid types.UID) {
	if e, ok := q.entries[uid]; ok {
		q.move(e, inHand)
		delete(q.entries, uid)
	}
}

// pop takes out the pod whose turn it is, and counts the attempt; nil where none
// is. Where nothing is active, a pod that was found unschedulable before and may
// fit now need not sit out its back-off.
func (q *queue) pop(now time.Time) *entry {
	var e *entry
	switch {
	case len(q.active.list) > 0:
		e = q.active.list[0]
	case len(q.backoff.list) > 0:
		if e = q.backoff.list[0]; e.failed && e.notBefore.After(now) {
			return nil
		}
	default:
		return nil
	}
	q.move(e, inHand)
	e.Attempts++
	if e.FirstAttempt.IsZero() {
		e.FirstAttempt = now
	}
	return e
}

// reject puts an entry back that no node takes: it waits for an event.
func (q *queue) reject(e *entry, by []string, now time.Time) {
	e.RejectedBy, e.failed = by, false
	e.notBefore = now.Add(q.wait(e.Attempts))
	e.since = now
	q.move(e, unschedulable)
}

// fail puts an entry back whose attempt ended in an error: it is tried again
// after its back-off, without any event.
func (q *queue) fail(e *entry, now time.Time) {
	e.RejectedBy, e.failed = nil, true
	e.notBefore = now.Add(q.wait(e.Attempts))
	e.Added = now
	q.move(e, backingOff)
}

// wait is the back-off after that many attempts.
func (q *queue) wait(attempts int) time.Duration {
	d := q.initial
	for i := 1; i < attempts && d < q.longest; i++ {
		d *= 2
	}
	return min(d, q.longest)
}

// happened wakes the unschedulable pods that an event may help.
func (q *queue) happened(e *framework.ClusterEvent, now time.Time) {
	if e.Event&q.profile.wakes == 0 {
		return
	}
	for _, w := range q.waiting {
		if e.Event&framework.NodeAdd != 0 && len(w.RejectedBy) > 0 {
			if name := q.profile.refuses(w.PodInfo, e); name != "" {
				// No attempt looks at the new node, so its rejection is noted here:
				// what changes this plugin's mind later may help the pod.
				w.rejectedAlsoBy(name)
				continue
			}
		}
		if q.profile.helps(w.PodInfo, w.RejectedBy, e) {
			q.activate(w, now)
		}
	}
}

func (e *entry) rejectedAlsoBy(name string) {
	if !slices.Contains(e.RejectedBy, name) {
		e.RejectedBy = append(slices.Clip(e.RejectedBy), name) // pods alike share the list
	}
}

// advance does what is due: the end of back-offs, and of long waits.
func (q *queue) advance(now time.Time) {
	for len(q.backoff.list) > 0 && !q.backoff.list[0].notBefore.After(now) {
		q.move(q.backoff.list[0], active)
	}
	if len(q.waiting) == 0 {
		q.nextFlush = time.Time{}
		return
	}
	if q.nextFlush.IsZero() {
		q.nextFlush = now.Add(flushInterval)
	}
	if now.Before(q.nextFlush) {
		return
	}
	q.nextFlush = now.Add(flushInterval)
	for _, w := range q.waiting {
		if now.Sub(w.since) >= q.timeout {
			q.activate(w, now)
		}
	}
}

// next is when advance will have something to do; false where only an event can
// change anything.
func (q *queue) next() (time.Time, bool) {
	var t time.Time
	if len(q.backoff.list) > 0 {
		t = q.backoff.list[0].notBefore
	}
	if len(q.waiting) > 0 && (t.IsZero() || q.nextFlush.Before(t)) {
		t = q.nextFlush
	}
	return t, !t.IsZero()
}

// entryHeap implements heap.Interface.
type entryHeap struct {
	list []*entry
	less func(a, b *entry) bool
}

func (h *entryHeap) Len() int           { return len(h.list) }
func (h *entryHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *entryHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(h.list)
	h.list = append(h.list, e)
}

func (h *entryHeap) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	e.index = -1
	return e
}
