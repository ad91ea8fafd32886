package cache

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// encodings are how many of a resource's objects have their bytes ready.
func (f *fixture) encodings(prefix string) (ready int) {
	f.snapshot(Latest).Ascend(prefix, "", func(e *Entry) bool {
		if enc := e.encodings.Load(); enc != nil && enc.data.Load() != nil {
			ready++
		}
		return true
	})
	return ready
}

func TestEncodingsAreBounded(t *testing.T) {
	f := start(t, Config{EncodingBytes: 10_000})
	for i := range 100 {
		f.put(fmt.Sprintf("%sns/%03d", pods, i), "x")
	}
	made := 0
	read := func(e *Entry) bool {
		data, err := e.Encoding("json", func() ([]byte, error) { made++; return make([]byte, 1000), nil })
		if err != nil || len(data) != 1000 {
			t.Errorf("%s: %d bytes, %v", e.Key, len(data), err)
		}
		return true
	}
	f.snapshot(Latest).Ascend("", "", read)
	if ready := f.encodings(""); made != 100 || ready != 10 {
		t.Errorf("made %d, %d are ready, want 100 and 10", made, ready)
	}
	// The newest stayed, and whoever asks for another gets it.
	if e := f.snapshot(Latest).Get(pods + "ns/099"); e.encodings.Load().data.Load() == nil {
		t.Error("the newest encoding was dropped")
	}
	read(f.snapshot(Latest).Get(pods + "ns/000"))
	if ready := f.encodings(""); made != 101 || ready != 10 {
		t.Errorf("made %d, %d are ready, want 101 and 10", made, ready)
	}
	// What is replaced or deleted makes room.
	for i := 95; i < 100; i++ {
		f.put(fmt.Sprintf("%sns/%03d", pods, i), "y")
	}
	f.delete(pods + "ns/000")
	f.snapshot(Latest)
	if b := f.cache.budget; b.live != 4 || b.total != 4000 {
		t.Errorf("%d encodings count, %d bytes", b.live, b.total)
	}
	f.snapshot(Latest).Ascend("", "", read)
	if total := f.cache.budget.total; total != 10_000 {
		t.Errorf("%d bytes count", total)
	}
	f.cache.Remove(pods)
	if b := f.cache.budget; b.total != 0 || b.live != 0 {
		t.Errorf("of a resource that was removed %d bytes count", b.total)
	}
}

// The queue of what was made does not grow with the writes.
func TestBudgetForgets(t *testing.T) {
	f := start(t, Config{EncodingBytes: 1 << 30})
	f.put(pods+"ns/other", "x")
	for i := range 10_000 {
		revision := f.put(pods+"ns/a", fmt.Sprint(i))
		if err := f.cache.waitFor(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
		if _, err := f.snapshot(Latest).Get(pods+"ns/a").Encoding("json", func() ([]byte, error) { return []byte("{}"), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if b := f.cache.budget; len(b.made) > 4*minQueue || b.live > 1 || b.total > 2 {
		t.Errorf("%d in the queue, %d count, %d bytes", len(b.made), b.live, b.total)
	}
}

func TestBudgetUnderRace(t *testing.T) {
	f := start(t, Config{EncodingBytes: 5000})
	for i := range 20 {
		f.put(fmt.Sprintf("%sns/%02d", pods, i), "x")
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 500 {
				key := fmt.Sprintf("%sns/%02d", pods, (i+worker)%20)
				if worker == 0 {
					f.put(key, fmt.Sprint(i))
				} else if e := f.snapshot(Latest).Get(key); e != nil {
					_, _ = e.Encoding("json", func() ([]byte, error) { return make([]byte, 900), nil })
				}
				if i%100 == 0 {
					runtime.GC()
				}
			}
		})
	}
	all.Wait()
	b := f.cache.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total > b.limit || b.total < 0 || b.live < 0 || b.total != int64(b.live)*900 {
		t.Errorf("%d bytes of %d encodings count", b.total, b.live)
	}
}
