package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/strake-io/strake/store"
)

func getAbsent(s *suite) {
	r := s.put("/a", "1", store.Absent)
	for _, key := range []string{"/", "/a/", "/aa", "/b"} {
		kv, revision, err := s.Get(s.ctx, key)
		if kv != nil || err != nil || revision != r {
			s.Fatalf("Get %s: %+v at %d, %v; want nothing at %d", key, kv, revision, err, r)
		}
	}
}

func readLinearizable(s *suite) {
	var group sync.WaitGroup
	for i := range 4 {
		key := fmt.Sprintf("/k/%d", i)
		group.Go(func() {
			for n := range 20 {
				value := fmt.Sprint(n)
				revision, err := s.Put(s.ctx, store.Put{Key: key, Value: []byte(value), If: store.Any})
				if err != nil {
					s.Errorf("Put: %v", err)
					return
				}
				kv, at, err := s.Get(s.ctx, key)
				if err != nil || kv == nil || string(kv.Value) != value || at < revision {
					s.Errorf("Get after a write at %d: %+v at %d, %v", revision, kv, at, err)
				}
				if at, err := s.Revision(s.ctx); err != nil || at < revision {
					s.Errorf("Revision after a write at %d: %d, %v", revision, at, err)
				}
				if list, err := s.List(s.ctx, key, store.ListOptions{}); err != nil || len(list.KVs) != 1 || list.Revision < revision || string(list.KVs[0].Value) != value {
					s.Errorf("List after a write at %d: %+v, %v", revision, list, err)
				}
			}
		})
	}
	group.Wait()
}

func listOrder(s *suite) {
	for _, key := range []string{"/p/b", "/p/a/z", "/p/a", "/p/a-", "/p/", "/p", "/p0", "/q", "/o", "/p/\xff", "/p/\xff\xff", "/p/é"} {
		s.put(key, key, store.Absent)
	}
	got := s.list("/p/", store.ListOptions{})
	s.same("keys under /p/", []string{"/p/", "/p/a", "/p/a-", "/p/a/z", "/p/b", "/p/é", "/p/\xff", "/p/\xff\xff"}, keysOf(got.KVs))
	if got.Count != 8 || got.More() || got.Revision != s.revision() {
		s.Fatalf("count %d, more %v, revision %d of %d", got.Count, got.More(), got.Revision, s.revision())
	}
	for _, kv := range got.KVs {
		if string(kv.Value) != kv.Key {
			s.Fatalf("%s holds %s", kv.Key, kv.Value)
		}
	}
	s.same("keys under a prefix that ends in 0xff", []string{"/p/\xff", "/p/\xff\xff"}, keysOf(s.list("/p/\xff", store.ListOptions{}).KVs))
	if all := s.list("", store.ListOptions{}); len(all.KVs) != 12 {
		s.Fatalf("the empty prefix has %v", keysOf(all.KVs))
	}
	if none := s.list("/none/", store.ListOptions{}); len(none.KVs) != 0 || none.Count != 0 || none.Revision != s.revision() {
		s.Fatalf("nothing under /none/ is %+v", none)
	}
}

func listLimit(s *suite) {
	for i := range 5 {
		s.put(fmt.Sprintf("/p/%d", i), "", store.Absent)
	}
	for _, c := range []struct {
		limit int
		after string
		keys  []string
		count int64
	}{
		{2, "", []string{"/p/0", "/p/1"}, 5},
		{2, "/p/1", []string{"/p/2", "/p/3"}, 3},
		{2, "/p/3", []string{"/p/4"}, 1},
		{2, "/p/4", []string{}, 0},
		{0, "/p/2", []string{"/p/3", "/p/4"}, 2},
		{9, "/p/15", []string{"/p/2", "/p/3", "/p/4"}, 3}, // After need not exist
		{5, "", []string{"/p/0", "/p/1", "/p/2", "/p/3", "/p/4"}, 5},
	} {
		got := s.list("/p/", store.ListOptions{Limit: c.limit, After: c.after})
		s.same(fmt.Sprintf("limit %d after %q", c.limit, c.after), c.keys, keysOf(got.KVs))
		if got.Count != c.count || got.More() != (int64(len(c.keys)) < c.count) {
			s.Fatalf("limit %d after %q: count %d (want %d), more %v", c.limit, c.after, got.Count, c.count, got.More())
		}
	}
}

func listPages(s *suite) {
	want := []string{}
	for i := range 25 {
		key := fmt.Sprintf("/p/%02d", i)
		s.put(key, "old", store.Absent)
		want = append(want, key)
	}
	got := []string{}
	opts := store.ListOptions{Limit: 10}
	for {
		page := s.list("/p/", opts)
		for _, kv := range page.KVs {
			if string(kv.Value) != "old" {
				s.Fatalf("a page at revision %d has a later value of %s", opts.Revision, kv.Key)
			}
			got = append(got, kv.Key)
		}
		if !page.More() {
			break
		}
		if opts.Revision != 0 && page.Revision != opts.Revision {
			s.Fatalf("a page at revision %d says %d", opts.Revision, page.Revision)
		}
		opts.Revision, opts.After = page.Revision, got[len(got)-1]
		s.put("/p/24", "new", store.Any)
		s.put(fmt.Sprintf("/p/2%d-new", len(got)/10), "new", store.Any)
		if len(got) == 10 {
			s.delete("/p/15")
		}
	}
	s.same("all pages", want, got)
}

func listCountOnly(s *suite) {
	for i := range 7 {
		s.put(fmt.Sprintf("/p/%d", i), "", store.Absent)
	}
	got := s.list("/p/", store.ListOptions{CountOnly: true})
	if got.Count != 7 || len(got.KVs) != 0 || got.Revision != s.revision() {
		s.Fatalf("got %+v", got)
	}
	if got := s.list("/p/", store.ListOptions{CountOnly: true, After: "/p/4"}); got.Count != 2 {
		s.Fatalf("after /p/4: %+v", got)
	}
}

func listPast(s *suite) {
	// A model beside the store: the state after each write.
	type snapshot struct {
		revision int64
		state    []string
	}
	state := map[string]string{}
	var past []snapshot
	for i := range 60 {
		key := fmt.Sprintf("/p/%d", i*7%11)
		var revision int64
		if _, ok := state[key]; ok && i%3 == 0 {
			revision = s.delete(key)
			delete(state, key)
		} else {
			state[key] = fmt.Sprint(i)
			revision = s.put(key, state[key], store.Any)
		}
		past = append(past, snapshot{revision, render(state)})
	}
	for _, p := range past {
		got := s.list("/p/", store.ListOptions{Revision: p.revision})
		if got.Revision != p.revision {
			s.Fatalf("a list at %d says revision %d", p.revision, got.Revision)
		}
		then := map[string]string{}
		for _, kv := range got.KVs {
			then[kv.Key] = string(kv.Value)
		}
		s.same(fmt.Sprintf("the state at %d", p.revision), p.state, render(then))
	}
}

func listFuture(s *suite) {
	r := s.put("/a", "1", store.Absent)
	_, err := s.List(s.ctx, "/", store.ListOptions{Revision: r + 1000})
	if !errors.Is(err, store.ErrFutureRevision) {
		s.Fatalf("a list at revision %d of %d: %v", r+1000, r, err)
	}
}

func compact(s *suite) {
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.Any)
	r3 := s.put("/b", "1", store.Absent)
	if err := s.Compact(s.ctx, r3+1000); !errors.Is(err, store.ErrFutureRevision) {
		s.Fatalf("compacting at a future revision: %v", err)
	}
	for range 2 { // the second changes nothing
		if err := s.Compact(s.ctx, r2); err != nil {
			s.Fatalf("Compact at %d: %v", r2, err)
		}
	}
	if err := s.Compact(s.ctx, r1); err != nil {
		s.Fatalf("compacting before an earlier compaction: %v", err)
	}
	if _, err := s.List(s.ctx, "/", store.ListOptions{Revision: r1}); !errors.Is(err, store.ErrCompacted) {
		s.Fatalf("a list before the compaction: %v", err)
	}
	if got := s.list("/", store.ListOptions{Revision: r2}); len(got.KVs) != 1 || string(got.KVs[0].Value) != "2" {
		s.Fatalf("a list at the revision of the compaction: %+v", got)
	}
	if err := s.Compact(s.ctx, r3); err != nil {
		s.Fatalf("compacting the present: %v", err)
	}
	got := s.list("/", store.ListOptions{})
	s.same("the present", []store.KV{
		{Key: "/a", Value: []byte("2"), CreateRevision: r1, ModRevision: r2},
		{Key: "/b", Value: []byte("1"), CreateRevision: r3, ModRevision: r3},
	}, got.KVs)
}
