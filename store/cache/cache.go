// Package cache is the watch cache: what the API server reads in place of the
// store. It stands between the two.
//
// One watch over the whole tree of the store feeds it. Each resource keeps a
// copy-on-write B-tree of immutable, decoded entries that all readers share by
// pointer; the roots of recent revisions are kept, so that a list at an exact
// revision, a page of it and a consistent read are each a pointer load. Watchers
// hang on feeds by interest (everything, a namespace, one object, one value of
// an index): publishing an event costs as much as there are feeds that want it,
// however many watchers read each. A watcher that falls behind its feed is ended
// with [ErrExpired], never waited for, and none has a goroutine in here.
//
// The rules, which the tests check:
//
//   - A snapshot is one revision, whole. [Latest] is never older than a write
//     that returned before the call.
//   - A watch delivers each event after its start that it is interested in, once
//     and in order, and the events of one revision in one batch.
//   - What the cache hands out is never copied and never changes.
package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/strake-io/strake/store"
)

var (
	// ErrTooOld says that the revision asked for lies before the history that
	// is kept (410 Gone). The chain has [store.ErrCompacted] too. A read may
	// fall back to the store; a watch must start over with a list.
	ErrTooOld = fmt.Errorf("cache: the revision is older than the kept history: %w", store.ErrCompacted)
	// ErrFuture says that the context ended before the cache reached the
	// revision asked for. The chain has [store.ErrFutureRevision] and the
	// context's error too.
	ErrFuture = fmt.Errorf("cache: the revision has not been reached: %w", store.ErrFutureRevision)
	// ErrExpired ends a watcher that fell too far behind (410 Expired).
	ErrExpired = errors.New("cache: the watcher fell too far behind")
	// ErrClosed says that the resource was removed, that the watcher was
	// stopped, or that the cache does not run any more.
	ErrClosed = errors.New("cache: closed")
)

const (
	defaultRoot           = "/registry/"
	defaultHistory        = 4096
	defaultHistoryBytes   = 32 << 20
	defaultEncodingBytes  = 128 << 20
	defaultWatcherBacklog = 4096
	defaultRetryMin       = 100 * time.Millisecond
	defaultRetryMax       = 10 * time.Second
)

// Config of a cache.
type Config struct {
	// Store is followed and read. Required.
	Store store.Store
	// Logger hears of objects that do not decode and of lost watches. The zero
	// value is silent.
	Logger logr.Logger
	// Root is the part of the tree that is followed, ending in a slash; every
	// resource lies below it. Default "/registry/".
	Root string
	// History is how many events of each resource are kept, with the roots of
	// the revisions between them. It bounds how far back an exact read or the
	// start of a watch can reach: raise it where clients page slowly through
	// busy collections. Default 4096.
	History int
	// HistoryBytes bounds what the history of each resource holds beyond the
	// present, counted as stored bytes (decoded and encoded, an object takes a
	// few times as much), so that large objects that change often do not fill
	// the memory. A few dozen events are kept in any case. Default 32 MiB.
	HistoryBytes int
	// EncodingBytes bounds what the encodings of present objects take together: beyond
	// it those that were made first are dropped, and made again when they are asked
	// for. Default 128 MiB; negative means no bound.
	EncodingBytes int64
	// WatcherBacklog is how many undelivered events a watcher may have before
	// it is ended with [ErrExpired]. Default 4096.
	WatcherBacklog int
	// RetryMin and RetryMax bound the pause before a lost store watch is opened
	// again; it doubles from one to the other. Default 100 ms and 10 s.
	RetryMin, RetryMax time.Duration
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Cache holds the resources that were added to it. All methods are safe for
// concurrent use.
type Cache struct {
	store    store.Store
	log      logr.Logger
	root     string
	history  int
	bytes    int
	backlog  int
	retryMin time.Duration
	retryMax time.Duration
	metrics  *metrics
	budget   *budget

	progress progress
	ready    chan struct{}
	closed   chan struct{}
	started  atomic.Bool
	synced   bool // owned by Run: the first load has succeeded

	// added wakes the loop for resources that came at run time.
	added chan struct{}

	mu        sync.RWMutex // guards resources, stopped and watch
	resources map[string]*Resource
	stopped   bool
	watch     store.Watch
}

// New checks cfg and makes a cache. It reads nothing before Run.
func New(cfg Config) (*Cache, error) {
	if cfg.Store == nil {
		return nil, errors.New("cache: Config.Store is required")
	}
	if cfg.Root == "" {
		cfg.Root = defaultRoot
	}
	if !strings.HasSuffix(cfg.Root, "/") {
		return nil, fmt.Errorf("cache: Config.Root %q must end in a slash", cfg.Root)
	}
	if cfg.History < 0 || cfg.HistoryBytes < 0 || cfg.WatcherBacklog < 0 || cfg.RetryMin < 0 || cfg.RetryMax < 0 {
		return nil, errors.New("cache: Config has a negative bound")
	}
	c := &Cache{
		store:     cfg.Store,
		log:       cfg.Logger,
		root:      cfg.Root,
		history:   orDefault(cfg.History, defaultHistory),
		bytes:     orDefault(cfg.HistoryBytes, defaultHistoryBytes),
		backlog:   orDefault(cfg.WatcherBacklog, defaultWatcherBacklog),
		retryMin:  orDefault(cfg.RetryMin, defaultRetryMin),
		retryMax:  orDefault(cfg.RetryMax, defaultRetryMax),
		ready:     make(chan struct{}),
		closed:    make(chan struct{}),
		added:     make(chan struct{}, 1),
		resources: map[string]*Resource{},
	}
	c.retryMax = max(c.retryMin, c.retryMax)
	if c.log.GetSink() == nil {
		c.log = logr.Discard()
	}
	var err error
	if c.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.budget = &budget{limit: orDefault(cfg.EncodingBytes, defaultEncodingBytes), gauge: c.metrics.encodings}
	return c, nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Ready is closed once every resource added before Run has been loaded.
func (c *Cache) Ready() <-chan struct{} { return c.ready }

// Revision is the store's revision that the whole cache has reached.
func (c *Cache) Revision() int64 { return c.progress.revision() }

// Add registers one resource, before Run or while it runs. It returns at once;
// [Resource.Ready] says when the resource is loaded. A prefix that overlaps with
// that of another resource, or lies outside the root, is an error.
func (c *Cache) Add(cfg ResourceConfig) (*Resource, error) {
	if err := cfg.validate(c.root); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, ErrClosed
	}
	for prefix := range c.resources {
		if strings.HasPrefix(prefix, cfg.Prefix) || strings.HasPrefix(cfg.Prefix, prefix) {
			return nil, fmt.Errorf("cache: prefix %q overlaps with %q", cfg.Prefix, prefix)
		}
	}
	r := newResource(c, cfg)
	c.resources[cfg.Prefix] = r
	select {
	case c.added <- struct{}{}:
	default:
	}
	return r, nil
}

// Remove takes a resource away and ends its watchers with [ErrClosed]. It
// reports whether there was one with that prefix.
func (c *Cache) Remove(prefix string) bool {
	c.mu.Lock()
	r := c.resources[prefix]
	delete(c.resources, prefix)
	c.mu.Unlock()
	if r == nil {
		return false
	}
	r.end()
	if v := r.current.Load(); v != nil {
		v.entries.Scan(func(_ string, e *Entry) bool {
			c.budget.replace(e)
			return true
		})
	}
	return true
}

// resourceOf finds the resource that a key belongs to; nil where none does.
func (c *Cache) resourceOf(key string) *Resource {
	for i := len(c.root); i < len(key); i++ {
		if key[i] == '/' {
			if r := c.resources[key[:i+1]]; r != nil {
				return r
			}
		}
	}
	return nil
}

// latest waits until the cache has reached the revision that the store is at now.
func (c *Cache) latest(ctx context.Context) error {
	revision, err := c.store.Revision(ctx)
	if err != nil {
		return fmt.Errorf("cache: the store's revision: %w", err)
	}
	return c.waitFor(ctx, revision)
}
