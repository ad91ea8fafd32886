package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/strake-io/strake/store"
)

// calls are all methods of a store, each as one call.
func (s *suite) calls(ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Get":      func() error { _, _, err := s.Get(ctx, "/a"); return err },
		"List":     func() error { _, err := s.List(ctx, "/", store.ListOptions{}); return err },
		"Revision": func() error { _, err := s.Revision(ctx); return err },
		"Put": func() error {
			_, err := s.Put(ctx, store.Put{Key: "/a", If: store.Any})
			return err
		},
		"Delete":  func() error { _, err := s.Delete(ctx, "/a", store.Any); return err },
		"Compact": func() error { return s.Compact(ctx, 1) },
		"Watch": func() error {
			w, err := s.Watch(ctx, "/", 0)
			if err == nil {
				defer w.Stop()
				_, err = w.Next(ctx)
			}
			return err
		},
		"ListAndWatch": func() error {
			_, w, err := s.ListAndWatch(ctx, "/")
			if err == nil {
				defer w.Stop()
				_, err = w.Next(ctx)
			}
			return err
		},
	}
}

func contextEnded(s *suite) {
	s.put("/a", "1", store.Absent)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	for name, call := range s.calls(ctx) {
		if err := call(); !errors.Is(err, context.Canceled) {
			s.Errorf("%s with an ended context: %v", name, err)
		}
	}
	if kv := s.get("/a"); kv == nil || string(kv.Value) != "1" {
		s.Fatalf("a write with an ended context happened: %+v", kv)
	}
}

func closes(s *suite) {
	s.put("/a", "1", store.Absent)
	w := s.watch("/", 0)
	waiting := make(chan error, 1)
	go func() {
		_, err := w.Next(s.ctx)
		waiting <- err
	}()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := s.Close(); err != nil {
				s.Errorf("Close: %v", err)
			}
		})
	}
	group.Wait()
	if err := s.Close(); err != nil {
		s.Errorf("Close once more: %v", err)
	}
	if err := <-waiting; !errors.Is(err, store.ErrClosed) {
		s.Errorf("a waiting Next: %v", err)
	}
	if _, err := w.Next(s.ctx); !errors.Is(err, store.ErrClosed) {
		s.Errorf("a later Next: %v", err)
	}
	for name, call := range s.calls(s.ctx) {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			s.Errorf("%s on a closed store: %v", name, err)
		}
	}
	w.Stop()
}
