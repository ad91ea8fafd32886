package storetest

import (
	"bytes"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/strake-io/strake/store"
)

func revisionStarts(s *suite) {
	if r := s.revision(); r < 1 {
		s.Fatalf("the empty store is at revision %d", r)
	}
	last := s.revision()
	first := s.put("/a", "1", store.Absent)
	if first < 2 {
		s.Fatalf("the first write got revision %d", first)
	}
	for _, write := range []func() int64{
		func() int64 { return s.put("/b", "1", store.Absent) },
		func() int64 { return s.put("/a", "2", store.Any) },
		func() int64 { return s.delete("/b") },
		func() int64 { return s.put("/b", "2", store.Absent) },
	} {
		if r := write(); r <= last {
			s.Fatalf("a write got revision %d after %d", r, last)
		} else {
			last = r
		}
		if r := s.revision(); r != last {
			s.Fatalf("the store is at revision %d after a write at %d", r, last)
		}
	}
}

func putAbsent(s *suite) {
	r := s.put("/a", "1", store.Absent)
	_, err := s.Put(s.ctx, store.Put{Key: "/a", Value: []byte("2")})
	s.conflict(err, "/a", &store.KV{Key: "/a", Value: []byte("1"), CreateRevision: r, ModRevision: r})
	if now := s.revision(); now != r {
		s.Fatalf("a conflict moved the revision from %d to %d", r, now)
	}
	s.delete("/a")
	s.put("/a", "3", store.Absent)
}

func putAt(s *suite) {
	_, err := s.Put(s.ctx, store.Put{Key: "/a", Value: []byte("0"), If: store.At(1)})
	s.conflict(err, "/a", nil)
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.At(r1))
	_, err = s.Put(s.ctx, store.Put{Key: "/a", Value: []byte("3"), If: store.At(r1)})
	s.conflict(err, "/a", &store.KV{Key: "/a", Value: []byte("2"), CreateRevision: r1, ModRevision: r2})
	s.delete("/a")
	_, err = s.Put(s.ctx, store.Put{Key: "/a", Value: []byte("3"), If: store.At(r2)})
	s.conflict(err, "/a", nil)
}

func putAny(s *suite) {
	s.put("/a", "1", store.Any)
	r := s.put("/a", "2", store.Any)
	if kv := s.get("/a"); kv == nil || string(kv.Value) != "2" || kv.ModRevision != r {
		s.Fatalf("after the second put at %d: %+v", r, kv)
	}
}

func putRevisions(s *suite) {
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.At(r1))
	s.same("a changed key", &store.KV{Key: "/a", Value: []byte("2"), CreateRevision: r1, ModRevision: r2}, s.get("/a"))
	s.delete("/a")
	r3 := s.put("/a", "3", store.Absent)
	s.same("a key made again", &store.KV{Key: "/a", Value: []byte("3"), CreateRevision: r3, ModRevision: r3}, s.get("/a"))
}

func putValues(s *suite) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	binary := []byte{0, 1, 0xff, 0xfe, 0}
	for key, value := range map[string][]byte{"/large": large, "/binary": binary, "/empty": {}} {
		if _, err := s.Put(s.ctx, store.Put{Key: key, Value: value}); err != nil {
			s.Fatalf("Put %s: %v", key, err)
		}
		if kv := s.get(key); kv == nil || !bytes.Equal(kv.Value, value) {
			s.Fatalf("%s came back changed", key)
		}
	}
}

func putOneWinner(s *suite) {
	const writers = 16
	var winners atomic.Int64
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			_, err := s.Put(s.ctx, store.Put{Key: "/a", Value: []byte(strconv.Itoa(i))})
			switch {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, store.ErrConflict):
				s.Errorf("Put: %v", err)
			}
		})
	}
	group.Wait()
	if n := winners.Load(); n != 1 {
		s.Fatalf("%d of %d creations happened", n, writers)
	}
}

func putNoLostUpdate(s *suite) {
	const writers, each = 8, 15
	s.put("/n", "0", store.Absent)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			current, _, err := s.Get(s.ctx, "/n")
			for done := 0; done < each && err == nil; {
				n, _ := strconv.Atoi(string(current.Value))
				var revision int64
				value := []byte(strconv.Itoa(n + 1))
				revision, err = s.Put(s.ctx, store.Put{Key: "/n", Value: value, If: store.At(current.ModRevision)})
				var conflict *store.ConflictError
				if errors.As(err, &conflict) {
					// The conflict carries what a new attempt needs.
					current, err = conflict.Current, nil
					continue
				}
				current = &store.KV{Value: value, ModRevision: revision}
				done++
			}
			if err != nil {
				s.Errorf("incrementing: %v", err)
			}
		})
	}
	group.Wait()
	if got := string(s.get("/n").Value); got != strconv.Itoa(writers*each) {
		s.Fatalf("%d increments made %s", writers*each, got)
	}
}

func deleteConditions(s *suite) {
	_, err := s.Delete(s.ctx, "/a", store.Any)
	s.conflict(err, "/a", nil)
	_, err = s.Delete(s.ctx, "/a", store.At(1))
	s.conflict(err, "/a", nil)
	r1 := s.put("/a", "1", store.Absent)
	r2 := s.put("/a", "2", store.Any)
	_, err = s.Delete(s.ctx, "/a", store.At(r1))
	s.conflict(err, "/a", &store.KV{Key: "/a", Value: []byte("2"), CreateRevision: r1, ModRevision: r2})
	r3, err := s.Delete(s.ctx, "/a", store.At(r2))
	if err != nil || r3 <= r2 {
		s.Fatalf("Delete at %d: revision %d, %v", r2, r3, err)
	}
	if kv := s.get("/a"); kv != nil {
		s.Fatalf("after its deletion the key holds %+v", kv)
	}
	s.put("/a", "3", store.Absent)
	if r4 := s.delete("/a"); r4 != s.revision() {
		s.Fatalf("a deletion returned revision %d, the store is at %d", r4, s.revision())
	}
}
