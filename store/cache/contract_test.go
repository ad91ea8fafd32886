package cache

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/storetest"
)

// TestContract reads a memory store through the cache: what the contract says of
// a store's reads and watches holds of the cache's too.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		f := start(t, Config{})
		<-f.cache.Ready() // its history begins here
		return &through{f}
	})
}

// through is a store whose writes go to the store below and whose reads come
// from the cache above it.
type through struct{ f *fixture }

func (s *through) mapped(err error) error {
	if errors.Is(err, ErrClosed) {
		return store.ErrClosed
	}
	return err
}

func outer(kv store.KV) store.KV {
	kv.Key = strings.TrimPrefix(kv.Key, pods)
	return kv
}

func (s *through) conflict(err error) error {
	var c *store.ConflictError
	if errors.As(err, &c) {
		c = &store.ConflictError{Key: strings.TrimPrefix(c.Key, pods), Current: c.Current}
		if c.Current != nil {
			kv := outer(*c.Current)
			c.Current = &kv
		}
		return c
	}
	return err
}

func (s *through) Put(ctx context.Context, put store.Put) (int64, error) {
	put.Key = pods + put.Key
	revision, err := s.f.store.Put(ctx, put)
	return revision, s.conflict(err)
}

func (s *through) Delete(ctx context.Context, key string, cond store.Condition) (int64, error) {
	revision, err := s.f.store.Delete(ctx, pods+key, cond)
	return revision, s.conflict(err)
}

func (s *through) Get(ctx context.Context, key string) (*store.KV, int64, error) {
	snapshot, err := s.f.pods.Snapshot(ctx, Latest)
	if err != nil {
		return nil, 0, s.mapped(err)
	}
	e := snapshot.Get(pods + key)
	if e == nil {
		return nil, snapshot.Revision(), nil
	}
	kv := outer(e.Object.(*thing).kv)
	return &kv, snapshot.Revision(), nil
}

func (s *through) Revision(ctx context.Context) (int64, error) {
	snapshot, err := s.f.pods.Snapshot(ctx, Latest)
	if err != nil {
		return 0, s.mapped(err)
	}
	return snapshot.Revision(), nil
}

func (s *through) List(ctx context.Context, prefix string, opts store.ListOptions) (*store.ListResult, error) {
	at := Latest
	if opts.Revision != 0 {
		at = Exactly(opts.Revision)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
	}
	snapshot, err := s.f.pods.Snapshot(ctx, at)
	if err != nil {
		return nil, s.mapped(err)
	}
	result := &store.ListResult{Revision: snapshot.Revision()}
	after := ""
	if opts.After != "" {
		after = pods + opts.After
	}
	result.Count = int64(snapshot.Count(pods+prefix, after))
	snapshot.Ascend(pods+prefix, after, func(e *Entry) bool {
		if opts.CountOnly || opts.Limit > 0 && len(result.KVs) == opts.Limit {
			return false
		}
		result.KVs = append(result.KVs, outer(e.Object.(*thing).kv))
		return true
	})
	return result, nil
}

func (s *through) Compact(ctx context.Context, revision int64) error {
	// The cache's own watch is to be past it, or it loads everything anew.
	if err := s.f.cache.latest(ctx); err != nil {
		return s.mapped(err)
	}
	if err := s.f.store.Compact(ctx, revision); err != nil {
		return err
	}
	s.f.pods.mu.Lock()
	defer s.f.pods.mu.Unlock()
	s.f.pods.raiseFloor(revision)
	return nil
}

func (s *through) Close() error {
	s.f.stop()
	return s.f.store.Close()
}

func (s *through) options(prefix string) WatchOptions {
	opts := WatchOptions{ProgressEvery: time.Millisecond}
	if strings.HasSuffix(prefix, "/") {
		opts.Interest.Prefix = pods + prefix
	}
	return opts
}

func (s *through) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if after == 0 {
		_, w, err := s.ListAndWatch(ctx, prefix)
		return w, err
	}
	opts := s.options(prefix)
	opts.After = after
	w, err := s.f.pods.Watch(ctx, opts)
	return &throughWatch{s: s, w: w, prefix: prefix}, s.mapped(err)
}

func (s *through) ListAndWatch(ctx context.Context, prefix string) (*store.ListResult, store.Watch, error) {
	snapshot, w, err := s.f.pods.SnapshotAndWatch(ctx, Latest, s.options(prefix))
	if err != nil {
		return nil, nil, s.mapped(err)
	}
	list := &store.ListResult{Revision: snapshot.Revision()}
	snapshot.Ascend(pods+prefix, "", func(e *Entry) bool {
		list.KVs = append(list.KVs, outer(e.Object.(*thing).kv))
		return true
	})
	return list, &throughWatch{s: s, w: w, prefix: prefix}, nil
}

type throughWatch struct {
	s      *through
	w      *Watcher
	prefix string
	wanted atomic.Int64
}

func (w *throughWatch) Next(ctx context.Context) (store.Batch, error) {
	for {
		batch, err := w.w.Next(ctx)
		if err != nil {
			return store.Batch{}, w.s.mapped(err)
		}
		out := store.Batch{Revision: batch.Revision}
		for _, ev := range batch.Events {
			if !strings.HasPrefix(ev.Entry.Key, pods+w.prefix) {
				continue
			}
			e := store.Event{KV: outer(ev.Entry.Object.(*thing).kv)}
			if ev.Type == Deleted {
				e = store.Event{Type: store.EventDelete, KV: store.KV{Key: e.KV.Key, ModRevision: ev.Entry.Object.(*thing).revision}}
			}
			out.Events = append(out.Events, e)
		}
		if wanted := w.wanted.Load(); len(out.Events) > 0 || wanted > 0 && batch.Revision >= wanted {
			w.wanted.Store(0)
			return out, nil
		}
	}
}

func (w *throughWatch) Progress(ctx context.Context) error {
	revision, err := w.s.Revision(ctx)
	w.wanted.Store(revision)
	return err
}

func (w *throughWatch) Stop() { w.w.Stop() }
