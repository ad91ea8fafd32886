package memory

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/strake-io/strake/store"
)

// maxBatch bounds the events of one batch, so that a reader far behind does not
// hold the lock for long, nor its own readers up.
const maxBatch = 1000

// watch reads the store's log at a position of its own; it has no queue.
type watch struct {
	store    *Store
	prefix   string
	wake     chan struct{} // holds one token where there may be something new
	stopOnce sync.Once
	stopped  chan struct{}
	// wanted is the revision that Progress asked for; 0 for none.
	wanted atomic.Int64

	// Owned by the caller of Next; position is the revision up to which it has
	// looked.
	position int64
	err      error
}

// Watch implements [store.Watcher].
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, store.ErrClosed
	case after == 0:
		after = s.state.revision
	case after+1 < s.history.compacted:
		return nil, store.ErrCompacted
	}
	return s.watchAfter(prefix, after), nil
}

// ListAndWatch implements [store.Watcher].
func (s *Store) ListAndWatch(ctx context.Context, prefix string) (*store.ListResult, store.Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, store.ErrClosed
	}
	t, revision := s.present(), s.state.revision
	w := s.watchAfter(prefix, revision)
	s.mu.Unlock()
	return list(t, revision, prefix, store.ListOptions{}), w, nil
}

func (s *Store) watchAfter(prefix string, after int64) *watch {
	w := &watch{
		store:    s,
		prefix:   prefix,
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		position: after,
	}
	s.watches[w] = struct{}{}
	return w
}

func (w *watch) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next implements [store.Watch].
func (w *watch) Next(ctx context.Context) (store.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		batch, ok := w.look()
		if w.err != nil {
			w.Stop()
			return store.Batch{}, w.err
		}
		if ok {
			return batch, nil
		}
		select {
		case <-w.wake:
		case <-w.stopped:
		case <-ctx.Done():
			return store.Batch{}, ctx.Err()
		}
	}
}

// look takes what the log has for this watch.
func (w *watch) look() (batch store.Batch, ok bool) {
	s := w.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-w.stopped:
		w.err = store.ErrClosed
	default:
	}
	switch {
	case w.err != nil:
		return store.Batch{}, false
	case s.closed:
		w.err = store.ErrClosed
		return store.Batch{}, false
	case w.position+1 < s.history.compacted:
		w.err = store.ErrCompacted
		return store.Batch{}, false
	}
	log := s.history.log
	for i := s.history.find(w.position + 1); i < len(log) && len(batch.Events) < maxBatch; i++ {
		event := &log[i].event
		w.position = event.KV.ModRevision
		if strings.HasPrefix(event.KV.Key, w.prefix) {
			batch.Events = append(batch.Events, *event)
		}
	}
	batch.Revision = w.position
	wanted := w.wanted.Load()
	asked := wanted != 0
	if wanted <= w.position {
		w.wanted.CompareAndSwap(wanted, 0) // granted
	}
	return batch, len(batch.Events) > 0 || asked
}

// Progress implements [store.Watch].
func (w *watch) Progress(ctx context.Context) error {
	revision, err := w.store.Revision(ctx)
	if err != nil {
		return err
	}
	// The greatest request stands.
	for {
		wanted := w.wanted.Load()
		if wanted >= revision || w.wanted.CompareAndSwap(wanted, revision) {
			break
		}
	}
	w.notify()
	return nil
}

// Stop implements [store.Watch].
func (w *watch) Stop() {
	w.stopOnce.Do(func() {
		close(w.stopped)
		w.store.mu.Lock()
		delete(w.store.watches, w)
		w.store.mu.Unlock()
	})
}
