package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strake-io/strake/store"
)

func TestConsistentReadSeesWritesOutsideTheRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		f.put(pods+"a", "x")
		revision := f.put("/elsewhere", "y")
		if s := f.snapshot(Latest); s.Revision() < revision {
			t.Errorf("a consistent read at revision %d of %d", s.Revision(), revision)
		}
		f.stop()
	})
}

func TestFutureRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		now := f.put(pods+"a", "x")
		for _, at := range []At{NotOlderThan(now + 5), Exactly(now + 5)} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := f.pods.Snapshot(ctx, at)
			cancel()
			if !errors.Is(err, ErrFuture) || !errors.Is(err, store.ErrFutureRevision) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a read from the future: %v", err)
			}
		}
		// A watch from the future delivers nothing before it.
		w := f.watch(WatchOptions{After: now + 2})
		for range 2 {
			f.put(pods+"a", "skipped")
		}
		r := f.put(pods+"a", "y")
		same(t, "events", []string{fmt.Sprintf("MODIFIED a@%d=y", r)}, story(f.next(w, 1)))
		f.stop()
	})
}

func TestProgressMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		w := f.watch(WatchOptions{After: f.snapshot(Latest).Revision(), ProgressEvery: time.Minute, Interest: Interest{Key: pods + "a"}})
		begun := time.Now()
		last := int64(0)
		for day := range 24 * 60 {
			revision := f.put(pods+"b", fmt.Sprint(day))
			batch, err := w.Next(t.Context())
			if err != nil || len(batch.Events) > 0 || batch.Revision < revision {
				t.Fatalf("after a write at %d: %+v, %v", revision, batch, err)
			}
			last = batch.Revision
		}
		if passed := time.Since(begun); passed != 24*time.Hour {
			t.Errorf("%v passed", passed)
		}
		// A bookmark's revision is where a new watch can begin.
		r := f.put(pods+"a", "x")
		same(t, "events", []string{fmt.Sprintf("ADDED a@%d=x", r)}, story(f.next(f.watch(WatchOptions{After: last}), 1)))
		f.stop()
	})
}

func TestStopEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{})
		w := f.watch(WatchOptions{After: f.snapshot(Latest).Revision()})
		ended := make(chan error, 2)
		go func() {
			_, err := w.Next(t.Context())
			ended <- err
		}()
		go func() {
			_, err := f.pods.Snapshot(t.Context(), NotOlderThan(1000))
			ended <- err
		}()
		synctest.Wait()
		f.stop()
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("after Run ended: %v", err)
			}
		}
		if _, err := f.cache.Add(things("/registry/late/")); !errors.Is(err, ErrClosed) {
			t.Errorf("Add: %v", err)
		}
	})
}
