package historytest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/history"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/historytest"
	"github.com/strake-io/strake/store/memory"
)

// broken is a store that breaks the contract in one way, now and then.
type broken struct {
	store.Store
	mu    sync.Mutex // guards what follows
	calls int
	kept  map[string]*store.KV

	get   func(b *broken, kv *store.KV, key string) *store.KV
	put   func(b *broken, put store.Put) (revision int64, done bool)
	batch func(batch *store.Batch) error
}

// now says whether it is time: once in a hundred calls.
func (b *broken) now() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	return b.calls%100 == 0
}

func (b *broken) Get(ctx context.Context, key string) (*store.KV, int64, error) {
	kv, revision, err := b.Store.Get(ctx, key)
	if err == nil && b.get != nil {
		kv, revision = b.get(b, kv, key), 0
	}
	return kv, revision, err
}

func (b *broken) Put(ctx context.Context, put store.Put) (int64, error) {
	if b.put != nil && b.now() {
		if revision, done := b.put(b, put); done {
			return revision, nil
		}
	}
	return b.Store.Put(ctx, put)
}

func (b *broken) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	w, err := b.Store.Watch(ctx, prefix, after)
	return &brokenWatch{w, b}, err
}

type brokenWatch struct {
	store.Watch
	*broken
}

func (w *brokenWatch) Next(ctx context.Context) (store.Batch, error) {
	batch, err := w.Watch.Next(ctx)
	if err == nil && w.batch != nil && len(batch.Events) > 0 && w.now() {
		err = w.batch(&batch)
	}
	return batch, err
}

// TestFindsWhatIsBroken: the workload finds every way to break the contract.
func TestFindsWhatIsBroken(t *testing.T) {
	for name, c := range map[string]struct {
		broken *broken
		want   string
	}{
		"a stale read": {&broken{get: func(b *broken, kv *store.KV, key string) *store.KV {
			stale := b.now()
			b.mu.Lock()
			defer b.mu.Unlock()
			if stale {
				return b.kept[key]
			}
			b.kept[key] = kv
			return kv
		}}, "not linearizable"},
		"a write that is acknowledged and not done": {&broken{put: func(b *broken, put store.Put) (int64, bool) {
			now, _ := b.Store.Revision(context.Background())
			return now + 1, true
		}}, "it was acknowledged"},
		"a write whose condition is not looked at": {&broken{put: func(b *broken, put store.Put) (int64, bool) {
			put.If = store.Any
			revision, _ := b.Store.Put(context.Background(), put)
			return revision, true
		}}, "not linearizable"},
		"a write that is done twice": {&broken{put: func(b *broken, put store.Put) (int64, bool) {
			put.If = store.Any
			revision, _ := b.Store.Put(context.Background(), put)
			_, _ = b.Store.Put(context.Background(), put)
			return revision, true
		}}, "twice"},
		"an event that is lost": {&broken{batch: func(batch *store.Batch) error {
			batch.Events = batch.Events[1:]
			return nil
		}}, ""},
		"an event that comes twice": {&broken{batch: func(batch *store.Batch) error {
			batch.Events = append(batch.Events, batch.Events[0])
			return nil
		}}, ""},
		"an event with another value": {&broken{batch: func(batch *store.Batch) error {
			batch.Events[0].KV.Value = []byte("never written")
			batch.Events[0].Type = store.EventPut
			return nil
		}}, ""},
		"history that goes by itself": {&broken{batch: func(batch *store.Batch) error { return store.ErrCompacted }}, "nobody compacted beyond"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := memory.New(memory.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			b := c.broken
			b.Store, b.kept = s, map[string]*store.KV{}
			_, err = historytest.Check(t.Context(), historytest.Config{
				Settings: history.Settings{Seed: 1, Time: 20 * time.Second, Dir: t.TempDir()}, Stores: []store.Store{b},
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
