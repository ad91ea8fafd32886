// Package store is the contract between Strake and whatever keeps its state:
// bytes under string keys, with one global revision that every write advances.
//
// It stands at the bottom. The API server reads through [store/cache] and
// writes here; nothing else touches it. Implementations are store/memory (a
// copy-on-write tree in this process) and store/etcd (an etcd embedded in this
// process, or the endpoints of an external one). package storetest is the
// contract as code, and every implementation passes it.
//
// # Vocabulary
//
// A revision is a number that grows by at least one with each write, over all
// keys. The first write of a store gets revision 2 or more, so 0 can mean "not
// given" and 1 the empty store, as in etcd. A key's ModRevision is the revision
// of its last write, its CreateRevision that of the write which made it.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrConflict says that a write's condition did not hold. The error in the
	// chain is a *[ConflictError], which carries what the key holds now.
	ErrConflict = errors.New("store: the condition on the key does not hold")
	// ErrCompacted says that the revision asked for has been compacted away.
	ErrCompacted = errors.New("store: the revision has been compacted")
	// ErrFutureRevision says that the revision asked for has not happened yet.
	ErrFutureRevision = errors.New("store: the revision is in the future")
	// ErrClosed says that the store is closed, or not running any more.
	ErrClosed = errors.New("store: closed")
	// ErrUncertain says that a write may or may not have happened: the
	// connection broke or the context ended after it was sent. The caller reads
	// the key to know.
	ErrUncertain = errors.New("store: the outcome of the write is not known")
	// ErrNoSpace says that the store has reached its quota, or the end of its
	// disk, and takes no writes but deletions.
	ErrNoSpace = errors.New("store: no space is left")
	// ErrTooLarge says that a value is larger than the store takes (etcd: 1.5
	// MiB unless configured otherwise). Nothing was written.
	ErrTooLarge = errors.New("store: the value is too large")
)

// ConflictError is the [ErrConflict] of one write: the condition failed and
// Current is what the key holds (nil where it is absent), read in the same
// round trip.
type ConflictError struct {
	Key     string
	Current *KV
}

func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("store: %s: the condition does not hold: the key is absent", e.Key)
	}
	return fmt.Sprintf("store: %s: the condition does not hold: the key is at revision %d", e.Key, e.Current.ModRevision)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// KV is one key at one revision. Value belongs to whoever received the KV and
// is shared between readers: it is read-only.
type KV struct {
	Key            string
	Value          []byte
	CreateRevision int64
	ModRevision    int64
}

// Store is a revisioned key-value store. All methods are safe for concurrent
// use, and block until the outcome is known or ctx ends. Reads and conditional
// writes are linearizable: a read that starts after a write returned sees it.
type Store interface {
	Reader
	Writer
	Watcher

	// Compact forgets the history before revision: what a key held then can no
	// longer be read, and no watch can start before it ([ErrCompacted]). The
	// present is never touched. Compacting at or before an earlier compaction
	// succeeds and changes nothing; a revision that has not happened is
	// [ErrFutureRevision].
	Compact(ctx context.Context, revision int64) error

	// Close ends every watch with [ErrClosed], and makes every later call fail
	// with it. It may be called twice, and concurrently with other calls.
	Close() error
}

// Reader reads one consistent state.
type Reader interface {
	// Get reads one key. kv is nil, with no error, where the key is absent.
	// revision is the store's revision at which that was true.
	Get(ctx context.Context, key string) (kv *KV, revision int64, err error)

	// List reads the keys that start with prefix, in ascending byte order, all
	// at one revision.
	List(ctx context.Context, prefix string, opts ListOptions) (*ListResult, error)

	// Revision is the store's current revision, linearizably: at least that of
	// every write that returned before the call.
	Revision(ctx context.Context) (int64, error)
}

// ListOptions narrows a List. The zero value reads everything as it is now.
type ListOptions struct {
	// Revision to read at; 0 means the current one. A compacted one is
	// [ErrCompacted], one that has not happened [ErrFutureRevision].
	Revision int64
	// Limit is the most keys to return; 0 means all.
	Limit int
	// After continues a list: only keys that sort after it are read. Empty
	// starts at the prefix. Together with Revision it makes pages of one state.
	After string
	// CountOnly leaves KVs empty and only counts.
	CountOnly bool
}

// ListResult is a consistent piece of the store.
type ListResult struct {
	KVs []KV
	// Revision at which all of it was read.
	Revision int64
	// Count is how many keys match, those behind the limit included and those
	// before After not.
	Count int64
}

// More says whether Limit cut the result short.
func (r *ListResult) More() bool { return int64(len(r.KVs)) < r.Count }

// Condition on the ModRevision of a key before a write.
type Condition int64

const (
	// Absent holds where the key does not exist.
	Absent Condition = 0
	// Any always holds.
	Any Condition = -1
)

// At holds where the key exists and its ModRevision is revision.
func At(revision int64) Condition { return Condition(revision) }

// Put is one conditional write of a key. The store keeps Value: the caller does
// not change it after the call.
type Put struct {
	Key   string
	Value []byte
	// If must hold for the write to happen. The zero value creates.
	If Condition
	// TTL removes the key after that time, as a deletion that watchers see, and
	// starts anew with each write. The key never goes before the TTL; a store may
	// let it stay for a few seconds more, or for a twentieth of the TTL (a minute
	// at most), so that keys can expire together. 0 means never.
	TTL time.Duration
}

// Writer changes one key at a time, atomically.
type Writer interface {
	// Put writes the key if the condition holds, and returns the revision of
	// the write. Otherwise nothing changes and the error is a *[ConflictError].
	// [ErrUncertain] means it may have happened.
	Put(ctx context.Context, put Put) (revision int64, err error)

	// Delete removes the key if the condition holds, and returns the revision
	// of the deletion. Deleting what is absent is a conflict with a nil
	// Current, also under [Any]. [Absent] is not a legal condition here.
	Delete(ctx context.Context, key string, cond Condition) (revision int64, err error)
}

// EventType says what a write did to a key.
type EventType uint8

const (
	// EventPut is a creation (CreateRevision == ModRevision) or a change.
	EventPut EventType = iota
	// EventDelete is a deletion. KV has the key and, as ModRevision, the
	// revision of the deletion; Value is nil.
	EventDelete
)

// Event is one write to one key.
type Event struct {
	Type EventType
	KV   KV
}

// Batch is the next piece of a watch: the writes of one or more whole revisions,
// in order. Everything that happened to the prefix up to and including Revision
// has been delivered once the batch is. A batch without events is a progress
// mark.
type Batch struct {
	Events   []Event
	Revision int64
}

// Watcher follows changes.
type Watcher interface {
	// Watch delivers every write to keys under prefix with a revision greater
	// than after, from the store's history first and then as they happen; after
	// 0 means from now. It fails with [ErrCompacted] where the history no
	// longer reaches back so far, here or from the first Next.
	//
	// A watch is ordered (revisions never go back), unique (no write twice),
	// atomic (the writes of one revision come in one batch), reliable (no gap)
	// and resumable (a watch after a batch's Revision continues it).
	Watch(ctx context.Context, prefix string, after int64) (Watch, error)

	// ListAndWatch is a list of everything under prefix at one revision, and
	// the watch of every write after it, with no gap.
	ListAndWatch(ctx context.Context, prefix string) (*ListResult, Watch, error)
}

// Watch is a running watch. One goroutine at a time calls Next; Progress and
// Stop may be called from anywhere.
type Watch interface {
	// Next blocks until there is a batch. It fails with ctx's error when ctx
	// ends (the watch goes on), and for good with [ErrCompacted] (the watch
	// fell behind the history), [ErrClosed] (the store was closed, or Stop
	// called) or an error of the connection. The batch belongs to the caller,
	// the values in it are shared and read-only.
	Next(ctx context.Context) (Batch, error)

	// Progress asks for a batch, with or without events, that reaches at least
	// the store's revision as of the call. It does not wait for it.
	Progress(ctx context.Context) error

	// Stop ends the watch and frees what it holds. It may be called twice.
	Stop()
}

// Runner is implemented by stores with something to run: an embedded server, a
// connection to keep. Whoever assembles the store calls Run once, in its own
// goroutine, and waits for Ready before first use.
type Runner interface {
	// Run blocks until ctx ends, then closes the store and returns nil once
	// every goroutine it started has ended.
	Run(ctx context.Context) error
	// Ready is closed when the store serves.
	Ready() <-chan struct{}
}
