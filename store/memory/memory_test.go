package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
	"github.com/strake-io/strake/store/storetest"
)

func open(t testing.TB, cfg memory.Config) *memory.Store {
	t.Helper()
	s, err := memory.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return open(t, memory.Config{}) })
}

func TestContractOfFork(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return open(t, memory.Config{}).Fork() })
}

func put(t testing.TB, s store.Store, key, value string) int64 {
	t.Helper()
	revision, err := s.Put(t.Context(), store.Put{Key: key, Value: []byte(value), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func state(t testing.TB, s store.Store, revision int64) map[string]string {
	t.Helper()
	list, err := s.List(t.Context(), "", store.ListOptions{Revision: revision})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, kv := range list.KVs {
		m[kv.Key] = string(kv.Value)
	}
	return m
}

// For the race detector: a read at a past revision begins at a tree that was kept
// on the way.
func TestForksReadThePastAtOnce(t *testing.T) {
	s := open(t, memory.Config{})
	first := put(t, s, "/a", "1")
	for range 600 {
		put(t, s, "/a", "2")
	}
	var readers sync.WaitGroup
	for range 3 {
		f := s.Fork()
		defer f.Close()
		readers.Go(func() {
			for range 50 {
				list, err := f.List(t.Context(), "", store.ListOptions{Revision: first})
				if err != nil || len(list.KVs) != 1 || string(list.KVs[0].Value) != "1" {
					t.Errorf("the first revision: %+v, %v", list, err)
				}
			}
		})
	}
	readers.Wait()
}

func TestForksAreIndependent(t *testing.T) {
	s := open(t, memory.Config{})
	before := put(t, s, "/a", "1")
	put(t, s, "/b", "1")
	f := s.Fork()
	defer f.Close()
	put(t, s, "/a", "s")
	put(t, f, "/a", "f")
	put(t, f, "/c", "f")

	if diff := cmp.Diff(map[string]string{"/a": "s", "/b": "1"}, state(t, s, 0)); diff != "" {
		t.Errorf("the original (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"/a": "f", "/b": "1", "/c": "f"}, state(t, f, 0)); diff != "" {
		t.Errorf("the fork (-want +got):\n%s", diff)
	}
	// The history went along, and each has its own since.
	for name, one := range map[string]store.Store{"s": s, "f": f} {
		if diff := cmp.Diff(map[string]string{"/a": "1"}, state(t, one, before)); diff != "" {
			t.Errorf("the past of %s (-want +got):\n%s", name, diff)
		}
		w, err := one.Watch(t.Context(), "/a", before)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := w.Next(t.Context())
		w.Stop()
		if err != nil || len(batch.Events) != 1 || string(batch.Events[0].KV.Value) != name {
			t.Errorf("a watch of %s: %+v, %v", name, batch, err)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := open(t, memory.Config{History: 600})
	for i := range 2000 {
		put(t, s, fmt.Sprintf("/k/%d", i%10), fmt.Sprint(i))
	}
	now, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for back := range int64(600) {
		// Ten keys, written in turn: the last ten writes before are the state.
		m := state(t, s, now-back)
		last := 1999 - int(back)
		if len(m) != 10 || m[fmt.Sprintf("/k/%d", last%10)] != fmt.Sprint(last) || m[fmt.Sprintf("/k/%d", (last-9)%10)] != fmt.Sprint(last-9) {
			t.Fatalf("%d writes ago the state was %v", back, m)
		}
	}
	if _, err := s.List(t.Context(), "", store.ListOptions{Revision: now - 700}); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a list far back: %v", err)
	}
}

func TestSlowWatchEnds(t *testing.T) {
	s := open(t, memory.Config{History: 10})
	w, err := s.Watch(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for i := range 100 {
		put(t, s, "/a", fmt.Sprint(i))
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Next of a watch that fell behind the history: %v", err)
	}
}

func TestTTLInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.Config{})
		start := time.Now()
		for i := range 24 {
			ttl := time.Duration(24-i) * time.Hour
			if _, err := s.Put(t.Context(), store.Put{Key: fmt.Sprintf("/e/%02d", i), TTL: ttl}); err != nil {
				t.Fatal(err)
			}
		}
		f := s.Fork()
		defer f.Close()
		for _, one := range []store.Store{s, f} {
			w, err := one.Watch(t.Context(), "", 25)
			if err != nil {
				t.Fatal(err)
			}
			var keys, want []string
			for i := 23; i >= 0; i-- {
				want = append(want, fmt.Sprintf("/e/%02d", i))
			}
			for len(keys) < len(want) {
				batch, err := w.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range batch.Events {
					keys = append(keys, e.KV.Key)
				}
				if one == store.Store(s) && time.Since(start) != time.Duration(len(keys))*time.Hour {
					t.Fatalf("%d keys had expired after %v", len(keys), time.Since(start))
				}
			}
			w.Stop()
			if diff := cmp.Diff(want, keys); diff != "" {
				t.Errorf("the order of expiries (-want +got):\n%s", diff)
			}
		}
	})
}

func TestCloseStopsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.Config{})
		if _, err := s.Put(t.Context(), store.Put{Key: "/a", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		time.Sleep(2 * time.Hour)
		if f := s.Fork(); f != nil {
			f.Close()
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s := open(b, memory.Config{})
	value := make([]byte, 2048)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(context.Background(), store.Put{Key: fmt.Sprintf("/k/%d", i%10000), Value: value, If: store.Any}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func BenchmarkFork(b *testing.B) {
	for _, keys := range []int{100, 100_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			s := open(b, memory.Config{})
			for i := range keys {
				put(b, s, fmt.Sprintf("/k/%d", i), "")
			}
			for b.Loop() {
				s.Fork().Close()
			}
		})
	}
}
