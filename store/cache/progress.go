package cache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// askAfter is how long a reader waits for a revision to arrive by itself before
// it asks the store for progress, and how long between asking again: the last
// write may have been outside the root, which no event tells of.
const askAfter = 5 * time.Millisecond

// progress is the revision that the whole cache has reached, and those waiting
// for it to grow.
type progress struct {
	at   atomic.Int64
	mu   sync.Mutex    // guards wake
	wake chan struct{} // closed at the next advance; nil while nobody waits
}

func (p *progress) revision() int64 { return p.at.Load() }

// advance publishes a greater revision. One goroutine calls it.
func (p *progress) advance(revision int64) {
	if revision <= p.at.Load() {
		return
	}
	p.at.Store(revision)
	p.mu.Lock()
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
	p.mu.Unlock()
}

// next is closed once the revision has grown from where it was at the call, or
// already is where revision has been reached.
func (p *progress) next(revision int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	wake := p.wake
	if p.at.Load() >= revision {
		close(p.wake)
		p.wake = nil
	}
	return wake
}

// waitFor blocks until the cache has reached the revision.
func (c *Cache) waitFor(ctx context.Context, revision int64) error {
	if c.progress.revision() >= revision {
		return nil
	}
	pause := askAfter
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for c.progress.revision() < revision {
		select {
		case <-c.progress.next(revision):
		case <-timer.C:
			c.askProgress(ctx)
			pause = min(2*pause, 20*askAfter)
			timer.Reset(pause)
		case <-c.closed:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: wanted %d, at %d: %w", ErrFuture, revision, c.progress.revision(), ctx.Err())
		}
	}
	return nil
}

// askProgress asks the store's watch for a mark. A watch that just broke cannot
// give one; the next one will.
func (c *Cache) askProgress(ctx context.Context) {
	c.mu.RLock()
	watch := c.watch
	c.mu.RUnlock()
	if watch == nil {
		return
	}
	if err := watch.Progress(ctx); err != nil && ctx.Err() == nil {
		c.log.V(1).Info("The store watch gives no progress", "error", err.Error())
	}
}
