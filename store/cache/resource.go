package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/store"
)

// ResourceConfig says what one resource is to the cache. The functions are
// called from several goroutines at once.
type ResourceConfig struct {
	// Prefix of the resource's keys, ending in a slash: "/registry/pods/".
	Prefix string
	// Decode makes the object of a stored value, with the KV's ModRevision as
	// its resourceVersion. What it returns is shared by all readers from then
	// on and never written to. Where it fails (or panics) the object is
	// logged, counted and kept out. Required.
	Decode func(store.KV) (runtime.Object, error)
	// WithRevision returns the object with another resourceVersion, as a copy
	// that may share all else with it. It makes the objects of deletions; nil
	// means that deletions carry the last state as it was.
	WithRevision func(obj runtime.Object, revision int64) runtime.Object
	// Indexes name functions that give an object's values, as
	// "spec.nodeName" does of a pod. An object may have none or several.
	Indexes map[string]func(runtime.Object) []string
}

func (cfg *ResourceConfig) validate(root string) error {
	switch {
	case cfg.Decode == nil:
		return errors.New("cache: ResourceConfig.Decode is required")
	case !strings.HasPrefix(cfg.Prefix, root) || cfg.Prefix == root || !strings.HasSuffix(cfg.Prefix, "/"):
		return fmt.Errorf("cache: ResourceConfig.Prefix %q must lie below %q and end in a slash", cfg.Prefix, root)
	}
	for name, fn := range cfg.Indexes {
		if name == "" || fn == nil {
			return fmt.Errorf("cache: index %q of %s has no name or no function", name, cfg.Prefix)
		}
	}
	return nil
}

// Resource is one resource in the cache. All methods are safe for concurrent use.
type Resource struct {
	cache        *Cache
	prefix       string
	decode       func(store.KV) (runtime.Object, error)
	withRevision func(runtime.Object, int64) runtime.Object
	indexNames   []string
	indexFuncs   []func(runtime.Object) []string

	ready chan struct{} // closed when first loaded
	gone  chan struct{} // closed when removed, or the cache stopped

	current atomic.Pointer[version]

	// mu guards what follows, and makes publishing one step for those who
	// start a watch. Readers of current and watchers do not take it.
	mu sync.Mutex
	// floor is the oldest revision that can be read exactly or watched from:
	// the log of all holds every event after it.
	floor    int64
	versions []*version // with revisions from floor on, ascending
	weight   int        // of the events in the log of all
	all      *feed
	feeds    map[Interest]*feed
	ended    bool

	// loading is owned by the loop.
	loading loading
}

func newResource(c *Cache, cfg ResourceConfig) *Resource {
	r := &Resource{
		cache:        c,
		prefix:       cfg.Prefix,
		decode:       cfg.Decode,
		withRevision: cfg.WithRevision,
		ready:        make(chan struct{}),
		gone:         make(chan struct{}),
		all:          newFeed(),
		feeds:        map[Interest]*feed{},
	}
	for name := range cfg.Indexes {
		r.indexNames = append(r.indexNames, name)
	}
	sort.Strings(r.indexNames)
	for _, name := range r.indexNames {
		r.indexFuncs = append(r.indexFuncs, cfg.Indexes[name])
	}
	return r
}

// Prefix of the resource's keys.
func (r *Resource) Prefix() string { return r.prefix }

// Ready is closed once the resource has been loaded.
func (r *Resource) Ready() <-chan struct{} { return r.ready }

// Oldest is the revision behind which a watch can still start.
func (r *Resource) Oldest() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.floor
}

// index finds the number of a named index.
func (r *Resource) index(name string) (int, bool) {
	return slices.BinarySearch(r.indexNames, name)
}

// Snapshot returns the resource at a revision. It waits as long as ctx allows
// for the resource to be loaded and for the revision to be reached; [ErrFuture]
// says that it was not, [ErrTooOld] that it lies before the history.
func (r *Resource) Snapshot(ctx context.Context, at At) (*Snapshot, error) {
	if err := r.waitReady(ctx); err != nil {
		return nil, err
	}
	switch at.kind {
	case atLatest:
		if err := r.cache.latest(ctx); err != nil {
			return nil, err
		}
	case atNotOlderThan, atExactly:
		if err := r.cache.waitFor(ctx, at.revision); err != nil {
			return nil, err
		}
	}
	if at.kind == atExactly {
		v, err := r.versionAt(at.revision)
		if err != nil {
			return nil, err
		}
		return &Snapshot{revision: at.revision, version: v, resource: r}, nil
	}
	return r.newest(), nil
}

func (r *Resource) newest() *Snapshot {
	// In this order: the loop publishes a version before it advances the
	// revision, so the version has every write up to the revision read here.
	revision := r.cache.progress.revision()
	v := r.current.Load()
	return &Snapshot{revision: max(revision, v.revision), version: v, resource: r}
}

// Changed is the revision of the newest write to the resource that the cache has
// seen: while it stays the same, so does every entry. It waits for the resource to
// be loaded, and for nothing else.
func (r *Resource) Changed(ctx context.Context) (int64, error) {
	if err := r.waitReady(ctx); err != nil {
		return 0, err
	}
	return r.current.Load().revision, nil
}

// Size is how many entries there are at present, and the bytes of their stored
// values. It waits for nothing: it is 0 while the resource is not loaded.
func (r *Resource) Size() (entries int, bytes int64) {
	v := r.current.Load()
	if v == nil {
		return 0, 0
	}
	return v.entries.Len(), v.bytes
}

// Watchers is how many watches would be told of a change of the entry with a key,
// those by an index apart. Of a key that ends in a slash: of any entry below it.
func (r *Resource) Watchers(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.all.watchers)
	if len(r.feeds) == 0 {
		return n
	}
	for i := len(r.prefix); i < len(key); i++ {
		if key[i] == '/' {
			if f := r.feeds[Interest{Prefix: key[:i+1]}]; f != nil {
				n += len(f.watchers)
			}
		}
	}
	if f := r.feeds[Interest{Key: key}]; f != nil {
		n += len(f.watchers)
	}
	return n
}

func (r *Resource) waitReady(ctx context.Context) error {
	select {
	case <-r.gone:
		return ErrClosed
	default:
	}
	select {
	case <-r.ready:
		return nil
	default:
	}
	select {
	case <-r.gone:
		return ErrClosed
	case <-r.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %s is not loaded yet: %w", ErrFuture, r.prefix, ctx.Err())
	}
}

// versionAt finds the state as of a revision that the cache has reached.
func (r *Resource) versionAt(revision int64) (*version, error) {
	r.mu.Lock()
	if revision < r.floor {
		floor := r.floor
		r.mu.Unlock()
		return nil, fmt.Errorf("%w: wanted %d, have %d and newer", ErrTooOld, revision, floor)
	}
	i := sort.Search(len(r.versions), func(i int) bool { return r.versions[i].revision >= revision })
	if i == len(r.versions) {
		v := r.versions[i-1]
		r.mu.Unlock()
		return v, nil
	}
	v := r.versions[i]
	later := eventsBetween(r.all.view.Load().log, revision, v.revision)
	if len(later) == 0 {
		r.mu.Unlock()
		return v, nil
	}
	// The revision lies inside one batch of the store's watch: take the newer
	// events back from the version after it.
	v = v.edit()
	r.mu.Unlock()
	for i := len(later) - 1; i >= 0; i-- {
		v.undo(&later[i])
	}
	v.revision = revision
	return v, nil
}

// eventsBetween is the part of a log with revisions in (after, upTo].
func eventsBetween(log []Event, after, upTo int64) []Event {
	from := sort.Search(len(log), func(i int) bool { return log[i].Revision > after })
	to := from + sort.Search(len(log)-from, func(i int) bool { return log[from+i].Revision > upTo })
	return log[from:to:to]
}

// end closes the resource for good.
func (r *Resource) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	close(r.gone)
	r.all.fail(ErrClosed)
	for _, f := range r.feeds {
		f.fail(ErrClosed)
	}
}

// entry decodes one stored object.
func (r *Resource) entry(kv store.KV) (*Entry, error) {
	obj, err := r.object(kv)
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: kv.Key, Revision: kv.ModRevision, CreateRevision: kv.CreateRevision, Size: len(kv.Value), Object: obj, budget: r.cache.budget}
	if len(r.indexFuncs) == 0 {
		return e, nil
	}
	e.values = make([][]string, len(r.indexFuncs))
	for i, fn := range r.indexFuncs {
		values := slices.DeleteFunc(slices.Clone(fn(obj)), func(v string) bool { return strings.Contains(v, "\x00") })
		slices.Sort(values)
		e.values[i] = slices.Compact(values)
	}
	return e, nil
}

func (r *Resource) object(kv store.KV) (obj runtime.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoding panicked: %v", p)
		}
	}()
	obj, err = r.decode(kv)
	if err == nil && obj == nil {
		err = errors.New("decoding gave no object")
	}
	return obj, err
}

// at is the same object as of another revision.
func (r *Resource) at(e *Entry, revision int64) *Entry {
	obj := e.Object
	if r.withRevision != nil {
		obj = r.withRevision(obj, revision)
	}
	return &Entry{Key: e.Key, Revision: revision, CreateRevision: e.CreateRevision, Size: e.Size, Object: obj, values: e.values}
}
