// Package etcd is a [store.Store] on etcd: a member embedded in this process, which is
// called without any socket, alone or one of several, or the endpoints of an external
// cluster. Keys and values are stored as they come, so that an etcd that
// Kubernetes has written opens here, and the reverse.
//
// The embedded member is durable: a write has returned only after it was synced
// to disk. A lone one needs no quorum for reads: what it has applied is all
// that was ever acknowledged, so a linearizable read costs no round through raft.
//
// etcd itself registers its metrics with prometheus.DefaultRegisterer; that
// cannot be turned off, and nothing else here is process-wide.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/strake-io/strake/store"
)

const (
	defaultQuota              = 8 << 30
	defaultCompactionInterval = 5 * time.Minute
	defaultDialTimeout        = 5 * time.Second
	defaultPageSize           = 10_000
)

// Config of a store. Exactly one of DataDir and Endpoints is set.
type Config struct {
	// DataDir is where the embedded member keeps its data; it is made where
	// missing, with mode 0700.
	DataDir string
	// Cluster makes the embedded member one of several. Default: it is alone.
	Cluster *Cluster
	// Endpoints of an external cluster, as "https://10.0.0.1:2379".
	Endpoints []string
	// TLS for the external cluster: its CA, and our certificate for it. Nil
	// means plain text, or the system's CAs for https endpoints.
	TLS *tls.Config
	// DialTimeout bounds each attempt to connect to an endpoint. Default 5 s.
	DialTimeout time.Duration

	// QuotaBytes is the size of the embedded member's database beyond which
	// writes fail with [store.ErrNoSpace], until deletions and the compaction
	// after them have brought it below nine tenths. Default 8 GiB.
	QuotaBytes int64
	// ReserveBytes is how much of the embedded member's disk stays free: below
	// that, writes but deletions fail with [store.ErrNoSpace], since etcd does
	// not survive a disk that is full. Default 96 MiB; negative reserves none.
	ReserveBytes int64
	// MaxValueBytes bounds one value of the embedded member; larger ones fail
	// with [store.ErrTooLarge]. Default 1.5 MiB, as of any etcd.
	MaxValueBytes int
	// CompactionInterval is how often history is compacted, up to where the
	// store was one interval before. A watch or a paged list can so fall
	// behind by one interval at least. Default 5 min; negative means never.
	CompactionInterval time.Duration
	// Listeners serve etcd's own API of the embedded member, for etcdctl or
	// for API servers in other processes. The store closes them. Default none:
	// this process needs none.
	Listeners []net.Listener
	// ListenerTLS secures the Listeners; it should ask for client certificates,
	// as whoever connects can do everything. Nil means plain text.
	ListenerTLS *tls.Config
	// UnsafeNoFsync lets a crash lose acknowledged writes, for tests only.
	UnsafeNoFsync bool

	// PageSize is how many keys one read of a long list fetches; the pages are
	// of one revision. Default 10,000.
	PageSize int
	// Logger hears of errors at once, of etcd's warnings at verbosity 1 and of
	// the rest of what it says at 4. The zero value is silent.
	Logger logr.Logger
}

// Store is a store.Store and a [store.Runner]: calls wait until Run serves.
type Store struct {
	cfg     Config
	log     logr.Logger
	started atomic.Bool
	ready   chan struct{}
	closing chan struct{} // closed by the first Close, or when Run ends
	closed  sync.Once
	done    chan struct{} // closed when Run has ended

	// calls is held for reading by every call to the backend. Taking it for
	// writing waits for them, and those that come later see that closing is
	// closed.
	calls   sync.RWMutex
	backend *backend // set before ready is closed
	watchID atomic.Int64
	leases  leases
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Runner = (*Store)(nil)
)

// backend is a served etcd, embedded or external.
type backend struct {
	kv     keyValue
	client *clientv3.Client // for leases, and for watches of a cluster
	// member is the state of an embedded member, and disk where it keeps it now: it
	// is another one once it has caught up by a copy of the leader's. Both are nil for
	// an external cluster.
	member mvcc.WatchableKV
	disk   func() diskBackend
	// lone says that the embedded member is the only one; until ends the calls of one
	// of several, and is nil elsewhere.
	lone  bool
	until context.Context
	// alarms are those that an embedded member knows of, and leader who leads it;
	// nil for an external cluster.
	alarms func() []*etcdserverpb.AlarmMember
	leader func() uint64
	// failed brings an error that ends the embedded member.
	failed <-chan error
	// stop frees everything, once no call is underway.
	stop func()
}

// diskBackend is what is needed of the member's database.
type diskBackend interface {
	Defrag() error
	Size() int64
	SizeInUse() int64
}

// New checks cfg. Nothing is opened before Run.
func New(cfg Config) (*Store, error) {
	if (cfg.DataDir == "") == (len(cfg.Endpoints) == 0) {
		return nil, errors.New("store/etcd: exactly one of Config.DataDir and Config.Endpoints must be set")
	}
	if len(cfg.Endpoints) > 0 && len(cfg.Listeners) > 0 {
		return nil, errors.New("store/etcd: Config.Listeners are those of an embedded member")
	}
	if cfg.Cluster != nil && cfg.DataDir == "" {
		return nil, errors.New("store/etcd: Config.Cluster is of an embedded member")
	}
	if err := cfg.Cluster.validate(); err != nil {
		return nil, err
	}
	if cfg.QuotaBytes < 0 || cfg.PageSize < 0 || cfg.MaxValueBytes < 0 || cfg.DialTimeout < 0 {
		return nil, errors.New("store/etcd: Config has a negative bound")
	}
	if cfg.QuotaBytes == 0 {
		cfg.QuotaBytes = defaultQuota
	}
	if cfg.ReserveBytes == 0 {
		cfg.ReserveBytes = defaultReserve
	}
	if cfg.CompactionInterval == 0 {
		cfg.CompactionInterval = defaultCompactionInterval
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = defaultDialTimeout
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = defaultPageSize
	}
	if cfg.Logger.GetSink() == nil {
		cfg.Logger = logr.Discard()
	}
	return &Store{
		cfg:     cfg,
		log:     cfg.Logger,
		ready:   make(chan struct{}),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}, nil
}

// Ready implements [store.Runner].
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Run implements [store.Runner]. It fails where the data directory cannot be
// opened or is in use, and when the embedded member breaks. An external cluster
// that does not answer is waited for.
func (s *Store) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("store/etcd: Run was called twice")
	}
	defer close(s.done)
	defer func() {
		for _, l := range s.cfg.Listeners {
			l.Close() // where the member never came to serve on it
		}
	}()
	defer s.closed.Do(func() { close(s.closing) })
	ctx, cancel := context.WithCancel(ctx)
	var closing sync.WaitGroup
	defer closing.Wait()
	closing.Go(func() {
		// Close ends Run as ctx does.
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	defer cancel() // before it is waited for

	// Calls that hang are cut off once it can be seen that the store closes.
	calls, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	b, err := s.open(ctx, calls)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("store/etcd: %w", err)
	}
	s.backend = b
	s.leases.client = b.client
	close(s.ready)

	var compacting sync.WaitGroup
	if s.cfg.CompactionInterval > 0 {
		compacting.Go(func() { s.compactPeriodically(ctx) })
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-b.failed:
		err = fmt.Errorf("store/etcd: the embedded member ended: %w", err)
	}
	cancel()
	compacting.Wait()
	s.shut(b, cutOff)
	return err
}

// open serves the backend; ctx is for its start, calls for what is asked of it later.
func (s *Store) open(ctx, calls context.Context) (*backend, error) {
	if s.cfg.DataDir != "" {
		return embedded(ctx, calls, &s.cfg)
	}
	return external(ctx, &s.cfg)
}

// shut waits for the calls underway and frees the backend.
func (s *Store) shut(b *backend, cutOff func()) {
	s.closed.Do(func() { close(s.closing) })
	cutOff()
	if b.member == nil {
		// A call to a cluster that does not answer ends only so.
		b.client.Close()
	}
	s.calls.Lock()
	defer s.calls.Unlock()
	b.stop()
}

// Close implements [store.Store]. It waits until Run has ended, so that the data
// directory is free when it returns.
func (s *Store) Close() error {
	s.closed.Do(func() { close(s.closing) })
	if s.started.Load() {
		<-s.done
	}
	return nil
}

// enter waits until the store serves and keeps it from being freed until leave.
func (s *Store) enter(ctx context.Context) (*backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.closing:
		return nil, store.ErrClosed
	case <-s.ready:
	default:
		select {
		case <-s.closing:
			return nil, store.ErrClosed
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.calls.RLock()
	select {
	case <-s.closing:
		s.calls.RUnlock()
		return nil, store.ErrClosed
	default:
		return s.backend, nil
	}
}

func (s *Store) leave() { s.calls.RUnlock() }

// isClosing says whether the store is closed or about to be.
func (s *Store) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}
