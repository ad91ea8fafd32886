package cache

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
)

// overEtcd runs a cache over an embedded etcd.
func overEtcd(t testing.TB, cfg etcd.Config) (store.Store, *Resource) {
	t.Helper()
	s, err := etcd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Add(things(pods))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ctxStore, cancelStore := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctxStore); err != nil {
			t.Errorf("the store's Run: %v", err)
		}
	})
	group.Go(func() {
		// The store outlives what reads it.
		defer cancelStore()
		if err := c.Run(ctx); err != nil {
			t.Errorf("the cache's Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	<-r.Ready()
	return s, r
}

// TestOverEtcd has writers that read what they wrote, and watchers that must see
// all of it.
func TestOverEtcd(t *testing.T) {
	const writers, each = 8, 40
	s, r := overEtcd(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true})
	_, all, err := r.SnapshotAndWatch(t.Context(), Latest, WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Stop()
	narrow, err := r.Watch(t.Context(), WatchOptions{Interest: Interest{Prefix: pods + "ns3/"}})
	if err != nil {
		t.Fatal(err)
	}
	defer narrow.Stop()
	var group sync.WaitGroup
	for g := range writers {
		group.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%sns%d/%d", pods, g, i)
				revision, err := s.Put(t.Context(), store.Put{Key: key, Value: []byte("x")})
				if err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if i%10 == 0 { // a write that the cache's watch does not see
					if revision, err = s.Put(t.Context(), store.Put{Key: "/elsewhere/" + key, Value: []byte("x")}); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
				}
				snapshot, err := r.Snapshot(t.Context(), Latest)
				if err != nil || snapshot.Get(key) == nil || snapshot.Revision() < revision {
					t.Errorf("a consistent read after a write at %d: %+v, %v", revision, snapshot, err)
					return
				}
			}
		})
	}
	count := func(w *Watcher, want int, prefix string) {
		last := int64(0)
		for seen := 0; seen < want; {
			batch, err := w.Next(t.Context())
			if err != nil {
				t.Errorf("Next after %d of %d events: %v", seen, want, err)
				return
			}
			for _, ev := range batch.Events {
				if ev.Revision <= last || ev.Type != Added || !strings.HasPrefix(ev.Entry.Key, prefix) {
					t.Errorf("%s of %s at %d after %d", ev.Type, ev.Entry.Key, ev.Revision, last)
				}
				last = ev.Revision
			}
			seen += len(batch.Events)
		}
	}
	group.Go(func() { count(all, writers*each, pods) })
	group.Go(func() { count(narrow, each, pods+"ns3/") })
	group.Wait()
}

// BenchmarkWriteThenRead is a durable write and a consistent read that sees it.
func BenchmarkWriteThenRead(b *testing.B) {
	s, r := overEtcd(b, etcd.Config{DataDir: b.TempDir()})
	value := make([]byte, 2600)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(b.Context(), store.Put{Key: fmt.Sprintf("%s%d", pods, i), Value: value}); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Snapshot(b.Context(), Latest); err != nil {
			b.Fatal(err)
		}
	}
}
