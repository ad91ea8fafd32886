package cache

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strake-io/strake/store"
)

// loading is where a resource stands between Add and its first state.
type loading struct {
	state loadState
	// generation of the load underway; see loop.generation.
	generation int
	// writes seen but not applied: those of the batch in hand, or those since
	// the load began.
	writes  []store.Event
	touched bool
}

type loadState uint8

const (
	absent   loadState = iota // nobody has begun to load it
	underway                  // a loader reads it; writes are kept meanwhile
	live                      // writes are applied as they come
)

// load is what a loader brings back.
type load struct {
	resource   *Resource
	generation int
	entries    []*Entry
	revision   int64
}

// loadChunk is how many objects one goroutine decodes at a time.
const loadChunk = 256

// read lists and decodes a whole resource at the store's current revision.
func (r *Resource) read(ctx context.Context) (entries []*Entry, revision int64, err error) {
	list, err := r.cache.store.List(ctx, r.prefix, store.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("loading %s: %w", r.prefix, err)
	}
	decoded := make([]*Entry, len(list.KVs))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(decoded); from += loadChunk {
		group.Go(func() error {
			for i := from; i < min(from+loadChunk, len(decoded)); i++ {
				e, err := r.entry(list.KVs[i])
				if err != nil {
					r.undecodable(list.KVs[i], err)
					continue
				}
				decoded[i] = e
			}
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	entries = decoded[:0]
	for _, e := range decoded {
		if e != nil {
			entries = append(entries, e)
		}
	}
	return entries, list.Revision, nil
}

// loadAll reads every resource and then installs them all.
func (l *loop) loadAll(ctx context.Context) error {
	l.generation++
	l.mu.RLock()
	loads := make([]load, 0, len(l.resources))
	for _, r := range l.resources {
		loads = append(loads, load{resource: r})
	}
	l.mu.RUnlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i := range loads {
		group.Go(func() (err error) {
			loads[i].entries, loads[i].revision, err = loads[i].resource.read(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, done := range loads {
		done.resource.loading = loading{state: live, generation: l.generation}
		done.resource.install(done.entries, done.revision)
	}
	return nil
}

// startLoaders begins to load the resources that were added since. From here on
// their writes are kept; a loader's list, which begins later, has all before.
func (l *loop) startLoaders(ctx context.Context) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.resources {
		if r.loading.state == absent {
			l.startLoader(ctx, r)
		}
	}
}

func (l *loop) startLoader(ctx context.Context, r *Resource) {
	generation := l.generation
	r.loading = loading{state: underway, generation: generation}
	l.loaders.Go(func() {
		for pause := l.retryMin; ; pause = min(2*pause, l.retryMax) {
			entries, revision, err := r.read(ctx)
			if err == nil {
				select {
				case l.loads <- load{r, generation, entries, revision}:
				case <-r.gone:
				case <-ctx.Done():
				}
				return
			}
			if ctx.Err() != nil {
				return
			}
			l.log.Error(err, "A resource was not loaded", "prefix", r.prefix, "retryIn", pause)
			select {
			case <-time.After(pause):
			case <-r.gone:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// finishLoad installs a resource that was loaded at run time, and the writes
// since. A full load that came first has done it already.
func (l *loop) finishLoad(done load) {
	r := done.resource
	if r.loading.state != underway || r.loading.generation != done.generation {
		return
	}
	writes := r.loading.writes
	r.loading = loading{state: live, generation: done.generation}
	r.install(done.entries, done.revision)
	r.apply(writes)
}
