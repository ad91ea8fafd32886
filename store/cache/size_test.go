package cache

import (
	"fmt"
	"strings"
	"testing"
)

// The size is that of what is there, whatever was written and deleted.
func TestSize(t *testing.T) {
	f := start(t, Config{})
	f.put(pods+"before", "0123456789")
	check := func() {
		t.Helper()
		s := f.snapshot(Latest)
		want := int64(0)
		s.Ascend("", "", func(e *Entry) bool { want += int64(e.Size); return true })
		if entries, bytes := f.pods.Size(); entries != s.Len() || bytes != want {
			t.Errorf("%d entries of %d bytes, want %d of %d", entries, bytes, s.Len(), want)
		}
	}
	check()
	for i := range 50 {
		key := fmt.Sprint(pods, "ns/", i%7)
		f.put(key, strings.Repeat("x", i))
		check()
		if i%5 == 4 {
			f.delete(key)
			check()
		}
	}
	// An old revision inside the history has its own.
	if _, err := f.pods.Snapshot(t.Context(), Exactly(f.cache.Revision()-3)); err != nil {
		t.Error(err)
	}
	check()
}

func TestWatchers(t *testing.T) {
	f := start(t, Config{})
	f.snapshot(Latest)
	check := func(key string, want int) {
		t.Helper()
		if n := f.pods.Watchers(key); n != want {
			t.Errorf("%d watchers of %q, want %d", n, key, want)
		}
	}
	check(pods+"a/x", 0)
	all := f.watch(WatchOptions{})
	f.watch(WatchOptions{Interest: Interest{Prefix: pods + "a/"}})
	f.watch(WatchOptions{Interest: Interest{Key: pods + "a/x"}})
	f.watch(WatchOptions{Interest: Interest{Key: pods + "a/x"}})
	check(pods+"a/x", 4)
	check(pods+"a/y", 2)
	check(pods+"a/", 2)
	check(pods+"b/x", 1)
	check("", 1)
	all.Stop()
	check(pods+"b/x", 0)
	check(pods+"a/x", 3)
}
