package controllers

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Back-off of a key that keeps failing: it doubles from the first to the last.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = 1000 * time.Second
)

// queue holds the keys of one controller. A key that waits is held once,
// however often it is added; a key added while it is being worked on comes back
// when that work is done. It owns the goroutines that do the work: no more than
// the limit at once, and none while there is nothing to do.
type queue struct {
	workers int
	metrics queueMetrics
	work    func(context.Context, Key)
	wake    chan struct{} // capacity 1: something changed for the dispatcher

	mu       sync.Mutex // guards all below
	ready    []Key
	queued   map[Key]time.Time // in ready or waiting for its running work to end; since when
	running  map[Key]time.Time // being worked on; since when
	failures map[Key]int
	delayed  delayHeap
	delays   map[Key]*delay // the delayed entry of a key, at its earliest time
	closed   bool
}

func newQueue(workers int, metrics queueMetrics, work func(context.Context, Key)) *queue {
	return &queue{
		workers: workers, metrics: metrics, work: work,
		wake:   make(chan struct{}, 1),
		queued: map[Key]time.Time{}, running: map[Key]time.Time{},
		failures: map[Key]int{}, delays: map[Key]*delay{},
	}
}

// Add puts the key in line.
func (q *queue) Add(key Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(key, time.Now())
}

func (q *queue) addLocked(key Key, now time.Time) {
	if q.closed {
		return
	}
	if _, ok := q.queued[key]; ok {
		return
	}
	q.metrics.adds.Inc()
	q.queued[key] = now
	if _, busy := q.running[key]; !busy {
		q.ready = append(q.ready, key)
		q.signal()
	}
}

// AddAfter puts the key in line after d. Of several waits the shortest counts.
func (q *queue) AddAfter(key Key, d time.Duration) {
	if d <= 0 {
		q.Add(key)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	at := time.Now().Add(d)
	if e, ok := q.delays[key]; ok {
		if at.Before(e.at) {
			e.at = at
			heap.Fix(&q.delayed, e.index)
			q.signal()
		}
		return
	}
	e := &delay{key: key, at: at}
	q.delays[key] = e
	heap.Push(&q.delayed, e)
	q.signal()
}

// AddRateLimited puts the key in line after its back-off.
func (q *queue) AddRateLimited(key Key) {
	q.mu.Lock()
	n := q.failures[key]
	q.failures[key] = n + 1
	q.mu.Unlock()
	q.metrics.retries.Inc()
	q.AddAfter(key, backoff(n))
}

// backoff is the wait after the nth failure in a row, counted from 0.
func backoff(n int) time.Duration {
	if n > 17 { // 5ms << 18 is past the maximum
		return maxBackoff
	}
	return min(minBackoff<<n, maxBackoff)
}

// Forget ends the key's back-off.
func (q *queue) Forget(key Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failures, key)
}

// Failures is how often the key has failed in a row.
func (q *queue) Failures(key Key) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures[key]
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run hands out keys until ctx ends, then waits for the work that is under way.
func (q *queue) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		start, next := q.take(time.Now())
		for _, key := range start {
			workers.Go(func() {
				defer q.done(key)
				q.work(ctx, key)
			})
		}
		if next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			q.mu.Lock()
			q.closed = true
			q.mu.Unlock()
			return
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// take moves what is due into line and takes out as many keys as there are free
// workers. It also says how long until the next delayed key is due, 0 for none.
func (q *queue) take(now time.Time) (start []Key, next time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.delayed) > 0 && !q.delayed[0].at.After(now) {
		e := heap.Pop(&q.delayed).(*delay)
		delete(q.delays, e.key)
		q.addLocked(e.key, now)
	}
	for len(q.ready) > 0 && len(q.running) < q.workers {
		key := q.ready[0]
		q.ready = q.ready[1:]
		q.metrics.latency.Observe(now.Sub(q.queued[key]).Seconds())
		delete(q.queued, key)
		q.running[key] = now
		start = append(start, key)
	}
	if len(q.ready) == 0 {
		q.ready = nil
	}
	if len(q.delayed) > 0 {
		next = q.delayed[0].at.Sub(now)
	}
	return start, next
}

func (q *queue) done(key Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.metrics.duration.Observe(time.Since(q.running[key]).Seconds())
	delete(q.running, key)
	if _, again := q.queued[key]; again {
		q.ready = append(q.ready, key)
	}
	q.signal()
}

// depth, unfinished and longest are the gauges of the queue at now.
func (q *queue) gauges(now time.Time) (depth int, unfinished, longest float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, since := range q.running {
		age := now.Sub(since).Seconds()
		unfinished += age
		longest = max(longest, age)
	}
	return len(q.queued), unfinished, longest
}

// delay is a key that is due later.
type delay struct {
	key   Key
	at    time.Time
	index int
}

type delayHeap []*delay

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h delayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *delayHeap) Push(x any) {
	e := x.(*delay)
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *delayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
