// Package storetest is the contract of [store.Store] as code: [Run] checks every
// guarantee that package store states, each as a sub-test named after it, and
// says in its failure which rule was broken. Every implementation passes it,
// and so does every wrapper around one.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strake-io/strake/store"
)

// patience is how long a call may take before the suite gives up on it. It is
// no measure of speed.
const patience = 30 * time.Second

// Factory makes an empty store that serves, and registers its clean-up with t.
type Factory func(t testing.TB) store.Store

// Run checks the contract. Each sub-test makes a store of its own.
func Run(t *testing.T, factory Factory) {
	for _, c := range []struct {
		name string
		rule string
		run  func(*suite)
	}{
		{"Revision/StartsAboveZero", "an empty store is at revision 1 or more, its first write at 2 or more, and each write at a greater one", revisionStarts},
		{"Put/Absent", "a put under Absent creates, and conflicts with the current value where the key exists", putAbsent},
		{"Put/At", "a put under At changes the key at that very revision, and conflicts otherwise", putAt},
		{"Put/Any", "a put under Any always happens", putAny},
		{"Put/Revisions", "CreateRevision is that of the write that made the key, ModRevision that of the last; a key made again starts anew", putRevisions},
		{"Put/Values", "values come back as they were written, empty and large ones too", putValues},
		{"Put/OneWinner", "of concurrent writes under one condition exactly one happens", putOneWinner},
		{"Put/NoLostUpdate", "increments by read and conditional write are never lost", putNoLostUpdate},
		{"Delete/Conditions", "a delete happens where its condition holds, and conflicts otherwise; an absent key conflicts with a nil Current", deleteConditions},
		{"Get/Absent", "an absent key is a nil KV with the revision and no error", getAbsent},
		{"Read/Linearizable", "a read that starts after a write returned sees it", readLinearizable},
		{"List/Order", "a list has the keys that start with the prefix, no other, in byte order", listOrder},
		{"List/Limit", "Limit cuts, Count counts what is behind the limit too, After excludes what is before", listLimit},
		{"List/Pages", "pages read at one revision make one state, whatever is written meanwhile", listPages},
		{"List/CountOnly", "CountOnly counts and returns no keys", listCountOnly},
		{"List/PastRevision", "a list at a past revision is the state as it was", listPast},
		{"List/FutureRevision", "a list at a revision that has not happened is ErrFutureRevision", listFuture},
		{"Compact", "compaction takes the past and leaves the present; reads before it are ErrCompacted", compact},
		{"Watch/FromNow", "a watch after 0 has every write since the call and none before", watchFromNow},
		{"Watch/FromHistory", "a watch after a revision begins with the history since", watchFromHistory},
		{"Watch/Prefix", "a watch has the keys under its prefix and no other", watchPrefix},
		{"Watch/Events", "events say what the write did: revisions, value, and for a deletion its revision and no value", watchEvents},
		{"Watch/OrderedUniqueReliable", "a watch among concurrent writers has each write once, in order, without a gap, in batches of whole revisions", watchReliable},
		{"Watch/Resumable", "a watch after a batch's Revision continues the one that had it", watchResumable},
		{"Watch/Progress", "Progress brings a batch that reaches the store's revision, also after writes elsewhere", watchProgress},
		{"Watch/NextContext", "Next ends with its context's error, and the watch goes on", watchNextContext},
		{"Watch/Stop", "after Stop, which may be called twice, Next fails with ErrClosed, also one that waits", watchStop},
		{"Watch/Compacted", "a watch from before the compaction fails with ErrCompacted, at once or at the first Next", watchCompacted},
		{"Watch/ListAndWatch", "ListAndWatch is one state and every write after it, with no gap and nothing twice", listAndWatch},
		{"TTL/Expires", "a key goes after its TTL, as a deletion that watchers see", ttlExpires},
		{"TTL/Renewed", "each write starts the TTL anew, and one without TTL ends it", ttlRenewed},
		{"Context", "a call whose context has ended fails with its error", contextEnded},
		{"Close", "Close ends watches and fails every later call with ErrClosed; it may be called twice and concurrently", closes},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "TTL/") {
				t.Parallel() // these wait for the clock
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			defer func() {
				if t.Failed() {
					t.Logf("the rule broken: %s", c.rule)
				}
			}()
			c.run(&suite{TB: t, ctx: ctx, Store: factory(t)})
		})
	}
}

// suite is a store with calls that fail the test in place of returning errors.
type suite struct {
	testing.TB
	store.Store
	ctx context.Context
}

func (s *suite) put(key, value string, cond store.Condition) int64 {
	s.Helper()
	revision, err := s.Put(s.ctx, store.Put{Key: key, Value: []byte(value), If: cond})
	if err != nil {
		s.Fatalf("Put %s under %d: %v", key, cond, err)
	}
	return revision
}

func (s *suite) delete(key string) int64 {
	s.Helper()
	revision, err := s.Delete(s.ctx, key, store.Any)
	if err != nil {
		s.Fatalf("Delete %s: %v", key, err)
	}
	return revision
}

func (s *suite) get(key string) *store.KV {
	s.Helper()
	kv, _, err := s.Get(s.ctx, key)
	if err != nil {
		s.Fatalf("Get %s: %v", key, err)
	}
	return kv
}

func (s *suite) list(prefix string, opts store.ListOptions) *store.ListResult {
	s.Helper()
	result, err := s.List(s.ctx, prefix, opts)
	if err != nil {
		s.Fatalf("List %s %+v: %v", prefix, opts, err)
	}
	return result
}

func (s *suite) revision() int64 {
	s.Helper()
	revision, err := s.Revision(s.ctx)
	if err != nil {
		s.Fatalf("Revision: %v", err)
	}
	return revision
}

func (s *suite) watch(prefix string, after int64) store.Watch {
	s.Helper()
	w, err := s.Watch(s.ctx, prefix, after)
	if err != nil {
		s.Fatalf("Watch %s after %d: %v", prefix, after, err)
	}
	s.Cleanup(w.Stop)
	return w
}

// next collects batches until n events have come.
func (s *suite) next(w store.Watch, n int) []store.Event {
	s.Helper()
	var events []store.Event
	for len(events) < n {
		batch, err := w.Next(s.ctx)
		if err != nil {
			s.Fatalf("Next after %d of %d events: %v", len(events), n, err)
		}
		events = append(events, batch.Events...)
	}
	return events
}

// conflict checks that err is a conflict that carries want, nil for absence.
func (s *suite) conflict(err error, key string, want *store.KV) {
	s.Helper()
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, store.ErrConflict) {
		s.Fatalf("got error %v, want a conflict", err)
	}
	if diff := cmp.Diff(&store.ConflictError{Key: key, Current: want}, conflict); diff != "" {
		s.Fatalf("the conflict does not carry what the key holds (-want +got):\n%s", diff)
	}
}

func (s *suite) same(what string, want, got any) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func keysOf(kvs []store.KV) []string {
	keys := []string{}
	for _, kv := range kvs {
		keys = append(keys, kv.Key)
	}
	return keys
}

// story renders events as "put a@5=x" and "delete a@6".
func story(events []store.Event) []string {
	lines := []string{}
	for _, e := range events {
		if e.Type == store.EventDelete {
			lines = append(lines, fmt.Sprintf("delete %s@%d", e.KV.Key, e.KV.ModRevision))
		} else {
			lines = append(lines, fmt.Sprintf("put %s@%d=%s", e.KV.Key, e.KV.ModRevision, e.KV.Value))
		}
	}
	return lines
}
