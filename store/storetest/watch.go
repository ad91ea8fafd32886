package storetest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/strake-io/strake/store"
)

func watchFromNow(s *suite) {
	s.put("/a", "before", store.Absent)
	w := s.watch("/", 0)
	r1 := s.put("/a", "1", store.Any)
	r2 := s.put("/b", "2", store.Absent)
	s.same("events", []string{fmt.Sprintf("put /a@%d=1", r1), fmt.Sprintf("put /b@%d=2", r2)}, story(s.next(w, 2)))
}

func watchFromHistory(s *suite) {
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.Any)
	r3 := s.delete("/a")
	w := s.watch("/", r1)
	r4 := s.put("/a", "4", store.Absent)
	s.same("events", []string{
		fmt.Sprintf("put /a@%d=2", r2), fmt.Sprintf("delete /a@%d", r3), fmt.Sprintf("put /a@%d=4", r4),
	}, story(s.next(w, 3)))
}

func watchPrefix(s *suite) {
	w := s.watch("/p/", 0)
	all := s.watch("", 0)
	for _, key := range []string{"/p", "/p/a", "/p0", "/o/p/", "/p/\xff", "/q"} {
		s.put(key, "", store.Absent)
	}
	last := s.put("/p/z", "", store.Absent)
	events := s.next(w, 3)
	got := []string{}
	for _, e := range events {
		got = append(got, e.KV.Key)
	}
	s.same("keys", []string{"/p/a", "/p/\xff", "/p/z"}, got)
	if r := events[2].KV.ModRevision; r != last {
		s.Fatalf("the last event has revision %d, want %d", r, last)
	}
	s.next(all, 7)
}

func watchEvents(s *suite) {
	w := s.watch("/", 0)
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.Any)
	r3 := s.delete("/a")
	events := s.next(w, 3)
	s.same("the creation", store.Event{Type: store.EventPut, KV: store.KV{Key: "/a", Value: []byte("1"), CreateRevision: r1, ModRevision: r1}}, events[0])
	s.same("the change", store.Event{Type: store.EventPut, KV: store.KV{Key: "/a", Value: []byte("2"), CreateRevision: r1, ModRevision: r2}}, events[1])
	d := events[2]
	if d.Type != store.EventDelete || d.KV.Key != "/a" || d.KV.ModRevision != r3 || d.KV.Value != nil {
		s.Fatalf("the deletion at %d is %+v", r3, d)
	}
}

// write makes n writes from each of several goroutines at once, some of them
// deletions, and returns the story of all, in order.
func (s *suite) write(writers, n int) []string {
	s.Helper()
	var mu sync.Mutex
	var written []store.Event
	var group sync.WaitGroup
	for g := range writers {
		group.Go(func() {
			key := fmt.Sprintf("/w/%d", g)
			for i := range n {
				e := store.Event{Type: store.EventPut, KV: store.KV{Key: key, Value: fmt.Append(nil, i)}}
				var err error
				if i%5 == 4 {
					e.Type = store.EventDelete
					e.KV.ModRevision, err = s.Delete(s.ctx, key, store.Any)
				} else {
					e.KV.ModRevision, err = s.Put(s.ctx, store.Put{Key: key, Value: e.KV.Value, If: store.Any})
				}
				if err != nil {
					s.Errorf("writing: %v", err)
					return
				}
				mu.Lock()
				written = append(written, e)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	sort.Slice(written, func(i, j int) bool { return written[i].KV.ModRevision < written[j].KV.ModRevision })
	return story(written)
}

// follow collects n events and checks what holds of every batch on the way.
func (s *suite) follow(w store.Watch, after int64, n int) []store.Event {
	var events []store.Event
	for len(events) < n {
		batch, err := w.Next(s.ctx)
		if err != nil {
			s.Errorf("Next after %d of %d events: %v", len(events), n, err)
			return events
		}
		for i, e := range batch.Events {
			if e.KV.ModRevision <= after {
				s.Errorf("an event at revision %d in a batch after %d: not ordered, not unique, or a revision torn apart", e.KV.ModRevision, after)
			}
			if e.KV.ModRevision > batch.Revision {
				s.Errorf("an event at revision %d in a batch up to %d", e.KV.ModRevision, batch.Revision)
			}
			if i > 0 && e.KV.ModRevision < batch.Events[i-1].KV.ModRevision {
				s.Errorf("revision %d after %d in one batch", e.KV.ModRevision, batch.Events[i-1].KV.ModRevision)
			}
		}
		if batch.Revision < after {
			s.Errorf("a batch up to %d after one up to %d", batch.Revision, after)
		}
		after = batch.Revision
		events = append(events, batch.Events...)
	}
	return events
}

func watchReliable(s *suite) {
	const writers, each = 6, 50
	start := s.revision()
	live := s.watch("/w/", start)
	var events []store.Event
	var group sync.WaitGroup
	group.Go(func() { events = s.follow(live, start, writers*each) })
	want := s.write(writers, each)
	group.Wait()
	s.same("a watch beside the writers", want, story(events))
	s.same("a watch from the history", want, story(s.follow(s.watch("/w/", start), start, writers*each)))
}

func watchResumable(s *suite) {
	const writers, each = 4, 25
	start := s.revision()
	var group sync.WaitGroup
	var want []string
	group.Go(func() { want = s.write(writers, each) })
	var got []store.Event
	at := start
	for len(got) < writers*each {
		w := s.watch("/w/", at)
		for range 3 {
			if len(got) == writers*each {
				break
			}
			batch, err := w.Next(s.ctx)
			if err != nil {
				s.Fatalf("Next: %v", err)
			}
			got = append(got, batch.Events...)
			at = batch.Revision
		}
		w.Stop()
	}
	group.Wait()
	s.same("all pieces together", want, story(got))
}

func watchProgress(s *suite) {
	w := s.watch("/p/", 0)
	if err := w.Progress(s.ctx); err != nil {
		s.Fatalf("Progress: %v", err)
	}
	if batch, err := w.Next(s.ctx); err != nil || len(batch.Events) > 0 || batch.Revision < s.revision() {
		s.Fatalf("a mark where nothing has happened, at %d: %+v, %v", s.revision(), batch, err)
	}
	s.put("/p/a", "", store.Absent)
	for i := range 3 {
		s.put("/elsewhere", fmt.Sprint(i), store.Any)
		want := s.revision()
		if err := w.Progress(s.ctx); err != nil {
			s.Fatalf("Progress: %v", err)
		}
		for at := int64(0); at < want; {
			batch, err := w.Next(s.ctx)
			if err != nil {
				s.Fatalf("Next, waiting for revision %d, at %d: %v", want, at, err)
			}
			at = batch.Revision
		}
	}
	// A mark is a promise: nothing older comes after it.
	r := s.put("/p/b", "", store.Absent)
	if events := s.next(w, 1); events[0].KV.ModRevision != r {
		s.Fatalf("after the mark came %v", story(events))
	}
}

func watchNextContext(s *suite) {
	w := s.watch("/", 0)
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := w.Next(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Fatalf("Next with a cancelled context: %v", err)
	}
	r := s.put("/a", "1", store.Absent)
	s.same("after it", []string{fmt.Sprintf("put /a@%d=1", r)}, story(s.next(w, 1)))
}

func watchStop(s *suite) {
	w := s.watch("/", 0)
	done := make(chan error, 1)
	go func() {
		_, err := w.Next(s.ctx)
		done <- err
	}()
	w.Stop()
	w.Stop()
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		s.Fatalf("a waiting Next: %v", err)
	}
	if _, err := w.Next(s.ctx); !errors.Is(err, store.ErrClosed) {
		s.Fatalf("a later Next: %v", err)
	}
	s.put("/a", "1", store.Absent)
}

func watchCompacted(s *suite) {
	r1 := s.put("/a", "1", store.Absent)
	s.put("/a", "2", store.Any)
	r3 := s.put("/a", "3", store.Any)
	r4 := s.put("/a", "4", store.Any)
	if err := s.Compact(s.ctx, r3); err != nil {
		s.Fatalf("Compact: %v", err)
	}
	w, err := s.Watch(s.ctx, "/", r1)
	if err == nil {
		s.Cleanup(w.Stop)
		_, err = w.Next(s.ctx)
	}
	if !errors.Is(err, store.ErrCompacted) {
		s.Fatalf("a watch after %d, compacted at %d: %v", r1, r3, err)
	}
	s.same("a watch from the compaction on", []string{fmt.Sprintf("put /a@%d=4", r4)}, story(s.next(s.watch("/", r3), 1)))
}

func listAndWatch(s *suite) {
	const writers, each = 4, 30
	start := s.revision()
	var group sync.WaitGroup
	var want []string
	group.Go(func() { want = s.write(writers, each) })
	// Applying the events after the list to the list gives the final state,
	// wherever among the writes the list was taken.
	for range 3 {
		list, w, err := s.ListAndWatch(s.ctx, "/w/")
		if err != nil {
			s.Fatalf("ListAndWatch: %v", err)
		}
		s.Cleanup(w.Stop)
		state := map[string]string{}
		for _, kv := range list.KVs {
			state[kv.Key] = string(kv.Value)
		}
		group.Go(func() {
			// writers*each writes are made in all, one revision each.
			rest := int(start + writers*each - list.Revision)
			for _, e := range s.follow(w, list.Revision, rest) {
				if e.Type == store.EventDelete {
					delete(state, e.KV.Key)
				} else {
					state[e.KV.Key] = string(e.KV.Value)
				}
			}
			final := map[string]string{}
			for _, kv := range s.list("/w/", store.ListOptions{Revision: start + writers*each}).KVs {
				final[kv.Key] = string(kv.Value)
			}
			s.same("list and events", render(final), render(state))
		})
	}
	group.Wait()
	if len(want) != writers*each {
		s.Fatalf("%d writes were made", len(want))
	}
}

func render(state map[string]string) []string {
	lines := []string{}
	for k, v := range state {
		lines = append(lines, k+"="+v)
	}
	sort.Strings(lines)
	return lines
}

func ttlExpires(s *suite) {
	w := s.watch("/", 0)
	_, err := s.Put(s.ctx, store.Put{Key: "/a", Value: []byte("1"), TTL: time.Second})
	if err != nil {
		s.Fatalf("Put with a TTL: %v", err)
	}
	s.put("/b", "1", store.Absent)
	events := s.next(w, 3)
	if e := events[2]; e.Type != store.EventDelete || e.KV.Key != "/a" || e.KV.ModRevision <= events[1].KV.ModRevision {
		s.Fatalf("in place of the expiry came %v", story(events[2:]))
	}
	if kv := s.get("/a"); kv != nil {
		s.Fatalf("the expired key holds %+v", kv)
	}
	if s.get("/b") == nil {
		s.Fatal("a key without a TTL went too")
	}
}

func ttlRenewed(s *suite) {
	// The order of the expiries says whether TTLs were renewed, with no clock.
	put := func(key string, ttl time.Duration) {
		if _, err := s.Put(s.ctx, store.Put{Key: key, If: store.Any, TTL: ttl}); err != nil {
			s.Fatalf("Put %s with TTL %v: %v", key, ttl, err)
		}
	}
	put("/renewed", time.Second)
	put("/kept", time.Second)
	put("/renewed", 5*time.Second)
	put("/kept", 0)
	w := s.watch("/", 0)
	put("/probe", 2*time.Second)
	for {
		e := s.next(w, 1)[0]
		if e.Type != store.EventDelete {
			continue
		}
		if e.KV.Key != "/probe" {
			s.Fatalf("%s expired by the TTL of an earlier write", e.KV.Key)
		}
		return
	}
}
