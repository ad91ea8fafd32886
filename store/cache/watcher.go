package cache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// WatchOptions says what to watch.
type WatchOptions struct {
	// After is the revision to start behind; 0 means from now. [ErrTooOld]
	// where the history does not reach back so far. One that the cache has not
	// reached is fine: nothing up to it is delivered.
	After int64
	// Interest narrows the events; the zero value is everything.
	Interest Interest
	// ProgressEvery makes Next return a batch without events when nothing came
	// for that long, so that a bookmark can be sent. 0 means never.
	ProgressEvery time.Duration
}

// Watcher is a running watch. One goroutine at a time calls Next; Stop may be
// called from anywhere.
type Watcher struct {
	resource *Resource
	interest Interest
	feed     *feed
	every    time.Duration
	stop     chan struct{}
	stopOnce sync.Once

	// position in the feed; only the caller of Next moves it.
	position atomic.Int64

	// What follows is owned by the caller of Next.
	initial   []Event // from the history, before the feed
	after     int64   // nothing up to here is delivered
	delivered int64
	err       error
}

// Watch starts a watch of every event after opts.After that is of interest.
func (r *Resource) Watch(ctx context.Context, opts WatchOptions) (*Watcher, error) {
	if err := opts.Interest.validate(r); err != nil {
		return nil, err
	}
	if err := r.waitReady(ctx); err != nil {
		return nil, err
	}
	if opts.Interest.Prefix == r.prefix {
		opts.Interest = Interest{}
	}
	w := &Watcher{
		resource:  r,
		interest:  opts.Interest,
		every:     opts.ProgressEvery,
		stop:      make(chan struct{}),
		after:     opts.After,
		delivered: opts.After,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, ErrClosed
	}
	if opts.After == 0 {
		w.after = r.current.Load().revision
		w.delivered = w.after
	} else if opts.After < r.floor {
		return nil, fmt.Errorf("%w: watch after %d, have %d and newer", ErrTooOld, opts.After, r.floor)
	}
	all := r.all.view.Load()
	history := eventsBetween(all.log, w.after, r.current.Load().revision)
	if w.interest == (Interest{}) {
		w.feed, w.initial = r.all, history
	} else {
		for i := range history {
			if w.interest.wants(r, &history[i]) {
				w.initial = append(w.initial, history[i])
			}
		}
		if w.feed = r.feeds[w.interest]; w.feed == nil {
			w.feed = newFeed()
			r.feeds[w.interest] = w.feed
		}
	}
	w.position.Store(w.feed.view.Load().end())
	w.feed.watchers[w] = struct{}{}
	return w, nil
}

// SnapshotAndWatch is a snapshot and the watch of everything after it, with no
// gap. opts.After is ignored.
func (r *Resource) SnapshotAndWatch(ctx context.Context, at At, opts WatchOptions) (*Snapshot, *Watcher, error) {
	s, err := r.Snapshot(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	opts.After = s.revision
	w, err := r.Watch(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	return s, w, nil
}

// Next blocks until there are events. It fails with ctx's error when ctx ends
// (the watch goes on), and for good with [ErrExpired] where the watcher has
// fallen behind, and with [ErrClosed].
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	if w.err != nil {
		return Batch{}, w.err
	}
	var timeout <-chan time.Time
	for {
		select {
		case <-w.stop:
			return Batch{}, w.fail(ErrClosed)
		default:
		}
		// The revision is read before the feed: see Resource.newest.
		revision := w.resource.cache.progress.revision()
		v := w.feed.view.Load()
		position := w.position.Load()
		behind := v.end() - position
		switch {
		case behind > int64(w.resource.cache.backlog) || position < v.start:
			w.resource.cache.metrics.expired.WithLabelValues(w.resource.prefix).Inc()
			return Batch{}, w.fail(ErrExpired)
		case len(w.initial) > 0:
			// Without what the feed has already: that is the next batch.
			events := w.initial
			w.initial = nil
			w.delivered = events[len(events)-1].Revision
			return Batch{Events: events, Revision: w.delivered}, nil
		case behind > 0:
			events := v.log[position-v.start:]
			w.position.Store(v.end())
			if events = eventsBetween(events, w.after, events[len(events)-1].Revision); len(events) == 0 {
				continue
			}
			w.delivered = max(revision, events[len(events)-1].Revision)
			return Batch{Events: events, Revision: w.delivered}, nil
		case v.err != nil:
			return Batch{}, w.fail(v.err)
		}
		w.delivered = max(w.delivered, revision)
		if w.every > 0 && timeout == nil {
			timer := time.NewTimer(w.every)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-v.wake:
		case <-w.stop:
		case <-timeout:
			// What came in the same moment goes first.
			revision = w.resource.cache.progress.revision()
			if w.feed.view.Load() == v {
				w.delivered = max(w.delivered, revision)
				return Batch{Revision: w.delivered}, nil
			}
			timeout = nil
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// Stop ends the watch. It may be called twice.
func (w *Watcher) Stop() {
	w.stopOnce.Do(func() {
		close(w.stop)
		w.resource.release(w)
	})
}

func (w *Watcher) fail(err error) error {
	w.err = err
	w.initial = nil
	w.Stop()
	return err
}

// release drops a feed that nobody reads any more.
func (r *Resource) release(w *Watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(w.feed.watchers, w)
	if len(w.feed.watchers) == 0 && w.feed != r.all {
		delete(r.feeds, w.interest)
	}
}
