package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strake-io/strake/store"
)

// Run loads every resource and follows the store until ctx ends, then ends all
// watchers with [ErrClosed]. A lost store watch is opened again where it broke
// off; where the store's history no longer reaches back so far, everything is
// loaded anew and the difference published. Only a store that was closed under it
// makes Run fail. Run is called once.
func (c *Cache) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return errors.New("cache: Run was called twice")
	}
	defer c.shutdown()
	l := &loop{Cache: c, loads: make(chan load)}
	defer l.loaders.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the loaders are waited for
	pause := c.retryMin
	for {
		opened, err := l.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, store.ErrClosed) {
			return fmt.Errorf("cache: %w", err)
		}
		if errors.Is(err, store.ErrCompacted) {
			l.gap = true
		}
		if opened {
			pause = c.retryMin
		}
		c.log.Info("The store watch was lost", "error", err.Error(), "retryIn", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, c.retryMax)
	}
}

// shutdown ends every resource and refuses new ones.
func (c *Cache) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.watch = nil
	close(c.closed)
	for _, r := range c.resources {
		r.end()
	}
}

// loop is what the goroutine of Run owns.
type loop struct {
	*Cache
	// gap says that the history between the cache and the store is lost.
	gap bool
	// loads brings what loaders of resources added at run time have read.
	loads   chan load
	loaders sync.WaitGroup
	// generation grows with each full load, so that late loads are recognised.
	generation int
	touched    []*Resource
}

// follow opens the store's watch and applies what it brings until it breaks.
func (l *loop) follow(ctx context.Context) (opened bool, err error) {
	watch, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	l.setWatch(watch)
	updates := make(chan update)
	pumpCtx, cancel := context.WithCancel(ctx)
	var pumping sync.WaitGroup
	pumping.Go(func() { pump(pumpCtx, watch, updates) })
	defer func() {
		l.setWatch(nil)
		cancel()
		watch.Stop()
		pumping.Wait()
	}()
	l.startLoaders(ctx)
	for {
		select {
		case u := <-updates:
			if u.err != nil {
				return true, fmt.Errorf("watching the store: %w", u.err)
			}
			l.dispatch(u.batch)
		case <-l.added:
			l.startLoaders(ctx)
		case done := <-l.loads:
			l.finishLoad(done)
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

type update struct {
	batch store.Batch
	err   error
}

// pump brings a watch to where the loop can select on it.
func pump(ctx context.Context, watch store.Watch, to chan<- update) {
	for {
		batch, err := watch.Next(ctx)
		select {
		case to <- update{batch, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// open continues the watch where the cache stands, or loads everything.
func (l *loop) open(ctx context.Context) (store.Watch, error) {
	if l.synced && !l.gap {
		watch, err := l.store.Watch(ctx, l.root, l.progress.revision())
		if !errors.Is(err, store.ErrCompacted) {
			return watch, err
		}
		l.gap = true
	}
	return l.resync(ctx)
}

// resync opens a watch from now, and then loads every resource at some revision
// behind its start. The cache's revision advances only once all are loaded, so
// no reader sees a gap.
func (l *loop) resync(ctx context.Context) (store.Watch, error) {
	revision, err := l.store.Revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("the store's revision: %w", err)
	}
	watch, err := l.store.Watch(ctx, l.root, revision)
	if err != nil {
		return nil, fmt.Errorf("watching the store: %w", err)
	}
	if err := l.loadAll(ctx); err != nil {
		watch.Stop()
		return nil, err
	}
	l.gap = false
	l.metrics.resyncs.Inc()
	l.progress.advance(revision)
	if !l.synced {
		l.synced = true
		close(l.ready)
	}
	return watch, nil
}

// dispatch applies one batch and advances the cache's revision.
func (l *loop) dispatch(batch store.Batch) {
	l.mu.RLock()
	for i := range batch.Events {
		r := l.resourceOf(batch.Events[i].KV.Key)
		if r == nil || r.loading.state == absent {
			continue
		}
		if !r.loading.touched {
			r.loading.touched = true
			l.touched = append(l.touched, r)
		}
		r.loading.writes = append(r.loading.writes, batch.Events[i])
	}
	l.mu.RUnlock()
	for _, r := range l.touched {
		r.loading.touched = false
		if r.loading.state == live {
			r.apply(r.loading.writes)
			clear(r.loading.writes)
			r.loading.writes = r.loading.writes[:0]
		}
	}
	clear(l.touched)
	l.touched = l.touched[:0]
	l.progress.advance(batch.Revision)
}

func (c *Cache) setWatch(watch store.Watch) {
	c.mu.Lock()
	c.watch = watch
	c.mu.Unlock()
}
