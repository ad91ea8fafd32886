package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

// breaking is a store whose watches break on demand, and cannot be opened again
// for a while.
type breaking struct {
	store.Store
	mu      sync.Mutex
	broken  chan error
	refused error
}

func newBreaking(t *testing.T) *breaking {
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &breaking{Store: s, broken: make(chan error)}
}

func (s *breaking) refuse(err error) {
	s.mu.Lock()
	s.refused = err
	s.mu.Unlock()
}

func (s *breaking) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	s.mu.Lock()
	err := s.refused
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	w, err := s.Store.Watch(ctx, prefix, after)
	return &breakingWatch{w, s}, err
}

type breakingWatch struct {
	store.Watch
	s *breaking
}

func (w *breakingWatch) Next(ctx context.Context) (store.Batch, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	var group sync.WaitGroup
	defer group.Wait()
	defer close(done)
	group.Go(func() {
		select {
		case err := <-w.s.broken:
			cancel(err)
		case <-done:
		}
	})
	batch, err := w.Watch.Next(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return batch, err
}

func TestBrokenWatchIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBreaking(t)
		f := start(t, Config{Store: s})
		f.store = s.Store.(*memory.Store)
		f.put(pods+"a", "1")
		first := f.snapshot(Latest)
		w := f.watch(WatchOptions{After: first.Revision()})
		s.refuse(errors.New("no connection"))
		s.broken <- errors.New("the connection broke")
		r2 := f.put(pods+"a", "2")
		r3 := f.put(pods+"b", "1")
		time.Sleep(time.Minute) // many attempts, with growing pauses
		s.refuse(nil)
		same(t, "events across the break", []string{fmt.Sprintf("MODIFIED a@%d=2", r2), fmt.Sprintf("ADDED b@%d=1", r3)}, story(f.next(w, 2)))
		same(t, "a revision inside the break", []string{fmt.Sprintf("a@%d=2", r2)}, content(f.snapshot(Exactly(r2))))
		same(t, "the revision before it", content(first), content(f.snapshot(Exactly(first.Revision()))))
		f.stop()
	})
}

func TestGapIsDiffed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBreaking(t)
		f := start(t, Config{Store: s})
		f.store = s.Store.(*memory.Store)
		for _, key := range []string{"changed", "gone", "same", "remade"} {
			f.put(pods+key, "1")
		}
		first := f.snapshot(Latest)
		all := f.watch(WatchOptions{After: first.Revision()})
		one := f.watch(WatchOptions{After: first.Revision(), Interest: Interest{Key: pods + "gone"}})
		s.refuse(errors.New("no connection"))
		s.broken <- errors.New("the connection broke")
		f.delete(pods + "gone")
		f.delete(pods + "remade")
		remade := f.put(pods+"remade", "2")
		f.put(pods+"passing", "1")
		f.delete(pods + "passing")
		changed := f.put(pods+"changed", "2")
		added := f.put(pods+"new", "1")
		if err := f.store.Compact(t.Context(), added); err != nil {
			t.Fatal(err)
		}
		s.refuse(nil)
		now := f.snapshot(Latest)
		if now.Get(pods+"same") != first.Get(pods+"same") {
			t.Error("an entry that did not change was made anew")
		}
		same(t, "the story of the gap", []string{
			fmt.Sprintf("DELETED remade@%d=1", remade-1), fmt.Sprintf("ADDED remade@%d=2", remade),
			fmt.Sprintf("MODIFIED changed@%d=2", changed), fmt.Sprintf("ADDED new@%d=1", added),
			fmt.Sprintf("DELETED gone@%d=1", added),
		}, story(f.next(all, 5)))
		same(t, "to a narrow watcher", []string{fmt.Sprintf("DELETED gone@%d=1", added)}, story(f.next(one, 1)))
		// What was inside the gap is not known.
		if _, err := f.pods.Snapshot(t.Context(), Exactly(changed)); !errors.Is(err, ErrTooOld) {
			t.Errorf("a snapshot inside the gap: %v", err)
		}
		if _, err := f.pods.Watch(t.Context(), WatchOptions{After: first.Revision()}); !errors.Is(err, ErrTooOld) {
			t.Errorf("a watch from before the gap: %v", err)
		}
		// And it goes on.
		r := f.put(pods+"same", "2")
		same(t, "after the gap", []string{fmt.Sprintf("MODIFIED same@%d=2", r)}, story(f.next(all, 1)))
		f.stop()
	})
}

func TestClosedStoreEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBreaking(t)
		c, err := New(Config{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context()) }()
		<-c.Ready()
		s.Close()
		if err := <-done; !errors.Is(err, store.ErrClosed) {
			t.Errorf("Run over a closed store: %v", err)
		}
	})
}
