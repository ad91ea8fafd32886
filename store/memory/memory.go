// Package memory is a [store.Store] in this process's memory: a copy-on-write
// B-tree and a bounded log of what happened to it. It is for tests, for
// simulated clusters and for programs whose state may die with them. A snapshot
// and a [Store.Fork] cost the same whatever the store holds.
//
// It starts no goroutine and blocks on nothing but channels, so it runs in a
// testing/synctest bubble, TTLs included.
package memory

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/strake-io/strake/store"
)

const defaultHistory = 10_000

// Config of a memory store. The zero value works.
type Config struct {
	// History is how many writes are remembered for watches and for reads at
	// past revisions. Older ones are compacted as new ones come, so a watcher
	// that falls further behind ends with [store.ErrCompacted]. Each costs what
	// the value before it held. Default 10,000.
	History int
}

// Store is a store.Store in memory. It needs no running; Close stops its timer.
type Store struct {
	mu       sync.RWMutex // guards everything below
	state    state
	history  history
	snapshot *tree // a copy of state.tree that readers share; nil after a write
	watches  map[*watch]struct{}
	closed   bool
	timer    *time.Timer
	wakeAt   time.Time // when timer fires; zero where it is not armed
	// expiring counts timers that are armed or whose function runs.
	expiring sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

type tree = btree.Map[string, *record]

// record is what a key holds. It does not change.
type record struct {
	kv      store.KV
	expires time.Time // zero: never
}

// state is the present.
type state struct {
	revision int64
	tree     *tree
	// expiries orders the keys that have a TTL by when it ends; see expiryKey.
	expiries *btree.Map[string, string]
}

// New makes an empty store, ready for use.
func New(cfg Config) (*Store, error) {
	if cfg.History < 0 {
		return nil, errors.New("store/memory: Config.History is negative")
	}
	if cfg.History == 0 {
		cfg.History = defaultHistory
	}
	return &Store{
		state:   state{revision: 1, tree: new(tree), expiries: new(btree.Map[string, string])},
		history: history{bound: cfg.History},
		watches: map[*watch]struct{}{},
	}, nil
}

// Fork returns a second store with the same content, revision and history, and
// no watches. From then on the two know nothing of each other. It takes the same
// short time however much they hold. A closed store can be forked too.
func (s *Store) Fork() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &Store{
		state: state{
			revision: s.state.revision,
			tree:     s.state.tree.Copy(),
			expiries: s.state.expiries.Copy(),
		},
		history: s.history.fork(),
		watches: map[*watch]struct{}{},
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armTimer()
	return f
}

// Compact implements [store.Store].
func (s *Store) Compact(ctx context.Context, revision int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return store.ErrClosed
	case revision > s.state.revision:
		return store.ErrFutureRevision
	}
	s.history.compact(revision)
	for w := range s.watches {
		w.notify() // it may just have lost its place
	}
	return nil
}

// Close implements [store.Store]. It waits for a TTL that expires just now.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.disarmTimer()
	for w := range s.watches {
		w.notify()
	}
	s.mu.Unlock()
	s.expiring.Wait()
	return nil
}
