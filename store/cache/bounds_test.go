package cache

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strake-io/strake/store"
)

func TestSlowWatcherIsEnded(t *testing.T) {
	f := start(t, Config{WatcherBacklog: 10, History: 50})
	after := f.snapshot(Latest).Revision()
	slow := f.watch(WatchOptions{After: after})
	slowNarrow := f.watch(WatchOptions{After: after, Interest: Interest{Key: pods + "a"}})
	quiet := f.watch(WatchOptions{After: after, Interest: Interest{Key: pods + "other"}})
	fast := f.watch(WatchOptions{After: after})
	for i := range 100 {
		f.put(pods+"a", fmt.Sprint(i))
		f.next(fast, 1)
	}
	for name, w := range map[string]*Watcher{"everything": slow, "one key": slowNarrow} {
		for range 2 {
			if _, err := w.Next(t.Context()); !errors.Is(err, ErrExpired) {
				t.Errorf("the slow watcher of %s: %v", name, err)
			}
		}
	}
	f.put(pods+"other", "x")
	f.next(quiet, 1)
	if _, err := f.pods.Watch(t.Context(), WatchOptions{After: after}); !errors.Is(err, ErrTooOld) || !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a watch from before the history: %v", err)
	}
	if _, err := f.pods.Snapshot(t.Context(), Exactly(after)); !errors.Is(err, ErrTooOld) {
		t.Errorf("a snapshot from before the history: %v", err)
	}
	if n := len(f.pods.feeds); n != 1 {
		t.Errorf("%d feeds are left, want that of the quiet watcher", n)
	}
}

// A narrow feed holds on to what somebody has yet to read, and not to much more.
func TestFeedForgetsWhatWasRead(t *testing.T) {
	f := start(t, Config{})
	after := f.snapshot(Latest).Revision()
	interest := Interest{Key: pods + "a"}
	kept := func() int {
		f.pods.mu.Lock()
		defer f.pods.mu.Unlock()
		return len(f.pods.feeds[interest].view.Load().log)
	}
	fast := f.watch(WatchOptions{After: after, Interest: interest})
	for i := range 500 {
		f.put(pods+"a", fmt.Sprint(i))
		f.next(fast, 1)
	}
	if n := kept(); n > 2*minFeed {
		t.Errorf("%d events are kept that were all read", n)
	}
	slow := f.watch(WatchOptions{After: f.snapshot(Latest).Revision(), Interest: interest})
	for i := range 500 {
		f.put(pods+"a", fmt.Sprint(i))
		f.next(fast, 1)
	}
	if n := kept(); n < 500 || n > 1000 {
		t.Errorf("%d events are kept, of which one reader wants 500", n)
	}
	for i, ev := range f.next(slow, 500) {
		if got := string(ev.Entry.Object.(*thing).kv.Value); got != fmt.Sprint(i) {
			t.Fatalf("the slow watcher reads %q as event %d", got, i)
		}
	}
	for range 1000 {
		f.put(pods+"a", "x")
		f.next(fast, 1)
		f.next(slow, 1)
	}
	if n := kept(); n > 2*minFeed {
		t.Errorf("%d events are kept after the slow watcher caught up", n)
	}
}

func TestHistoryIsBoundedInBytes(t *testing.T) {
	f := start(t, Config{HistoryBytes: 1000})
	value := strings.Repeat("x", 10)
	for range 500 {
		f.put(pods+"a", value)
	}
	f.snapshot(Latest)
	f.pods.mu.Lock()
	events, versions, weight := len(f.pods.all.view.Load().log), len(f.pods.versions), f.pods.weight
	f.pods.mu.Unlock()
	if events > 100 || versions > 101 || weight > 1000 {
		t.Errorf("%d events and %d versions are kept, of weight %d", events, versions, weight)
	}
	large := strings.Repeat("x", 1000)
	for range 500 {
		f.put(pods+"a", large)
	}
	now := f.snapshot(Latest).Revision()
	f.snapshot(Exactly(now - minHistory))
	if _, err := f.pods.Snapshot(t.Context(), Exactly(now-minHistory-1)); !errors.Is(err, ErrTooOld) {
		t.Errorf("beyond the history: %v", err)
	}
}
