package history

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Event is one write, as a watch tells of it.
type Event struct {
	Revision int64
	Key      string
	Value    string // empty for a deletion
	Deleted  bool
	// Created is the revision at which the key was made, for a put; 0 where that is
	// not told.
	Created int64
	// Identity of the object, where there is one: no other has it.
	Identity string
	// Type as the watch calls it, where it tells a creation ([Added]) from a change.
	Type string
}

// Added is the type of an event that makes a key.
const Added = "ADDED"

// write is an event in the log.
type write struct {
	Event
	seen   int64 // when the witness had it
	before KV    // what the key held; its Last is 0 where it was absent
}

// Log is every write in the order of revisions, as the witness saw them. It is safe
// for concurrent use.
type Log struct {
	time func() int64

	mu      sync.Mutex // guards what follows
	start   *State
	now     map[string]KV
	writes  []write
	perKey  map[string][]int // indexes in writes
	reached int64
	grown   chan struct{}
}

// NewLog begins at a state. time is that of the history.
func NewLog(start *State, time func() int64) *Log {
	l := &Log{time: time, start: start, now: map[string]KV{}, perKey: map[string][]int{}, reached: start.Revision, grown: make(chan struct{})}
	for key, kv := range start.Keys {
		l.now[key] = kv
	}
	return l
}

// Append takes the next events of the witness, which then has everything up to a
// revision. It says what is wrong with them.
func (l *Log) Append(events []Event, reached int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.time()
	for _, e := range events {
		if e.Revision <= l.reached {
			return fmt.Errorf("the witness is at %d and is sent %+v", l.reached, e)
		}
		if e.Revision > reached {
			return fmt.Errorf("a batch up to %d has %+v", reached, e)
		}
		if err := l.add(e, seen); err != nil {
			return err
		}
	}
	if reached < l.reached {
		return fmt.Errorf("the witness went back from %d to %d", l.reached, reached)
	}
	l.reached = reached
	close(l.grown)
	l.grown = make(chan struct{})
	return nil
}

func (l *Log) add(e Event, seen int64) error {
	before := l.now[e.Key]
	if e.Type != "" && (e.Type == Added) != (before.Last == 0) {
		return fmt.Errorf("the witness is sent %+v, and the key held %+v", e, before)
	}
	l.perKey[e.Key] = append(l.perKey[e.Key], len(l.writes))
	l.writes = append(l.writes, write{Event: e, seen: seen, before: before})
	l.reached = e.Revision
	if e.Deleted {
		if before.Last == 0 {
			return fmt.Errorf("the witness is sent the deletion of what does not exist: %+v", e)
		}
		delete(l.now, e.Key)
		return nil
	}
	created := before.Created
	if before.Last == 0 {
		created = e.Revision
	}
	if e.Created != 0 && created != e.Created {
		return fmt.Errorf("the witness is sent %+v, but the key was made at %d", e, created)
	}
	l.now[e.Key] = KV{Key: e.Key, Value: e.Value, Created: created, Last: e.Revision}
	return nil
}

// Reached is the revision up to which the log is complete.
func (l *Log) Reached() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reached
}

// Wait until the log has reached a revision.
func (l *Log) Wait(ctx context.Context, revision int64) error {
	for {
		l.mu.Lock()
		reached, grown := l.reached, l.grown
		l.mu.Unlock()
		if reached >= revision {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("the witness is at %d and does not reach %d: %w", reached, revision, ctx.Err())
		}
	}
}

// between are the writes after one revision up to another.
func (l *Log) between(after, upTo int64) []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := func(revision int64) int {
		return sort.Search(len(l.writes), func(i int) bool { return l.writes[i].Revision > revision })
	}
	from, to := first(after), first(upTo)
	if from >= to {
		return nil
	}
	return slices.Clone(l.writes[from:to])
}

// Between checks what a watch of a prefix was sent after one revision up to another.
// The log has reached the latter.
func (l *Log) Between(prefix string, after, upTo int64, sent []Event) error {
	var want []Event
	for _, w := range l.between(after, upTo) {
		if strings.HasPrefix(w.Key, prefix) {
			want = append(want, w.Event)
		}
	}
	if slices.Equal(want, sent) {
		return nil
	}
	return fmt.Errorf("a watch of %q after %d up to %d was sent\n%s\nand what happened is\n%s", prefix, after, upTo, lines(sent), lines(want))
}

// Writes counts what happened after a revision, as far as the log has come.
func (l *Log) Writes(after int64) int { return len(l.between(after, l.Reached())) }

// At checks what was read of a prefix at a revision that the log has reached.
func (l *Log) At(prefix string, revision int64, read []KV) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision < l.start.Revision {
		return nil // before the history
	}
	want := map[string]KV{}
	for key, kv := range l.start.Keys {
		want[key] = kv
	}
	for key, at := range l.perKey {
		i := sort.Search(len(at), func(i int) bool { return l.writes[at[i]].Revision > revision })
		if i == 0 {
			continue
		}
		w := l.writes[at[i-1]]
		if w.Deleted {
			delete(want, key)
			continue
		}
		want[key] = KV{Key: key, Value: w.Value, Created: w.Created, Last: w.Revision}
	}
	have := map[string]bool{}
	for _, kv := range read {
		if held, is := want[kv.Key]; !is || !held.equal(kv) || have[kv.Key] {
			return fmt.Errorf("read at %d: %+v, and it held %+v", revision, kv, held)
		}
		have[kv.Key] = true
	}
	for key, kv := range want {
		if strings.HasPrefix(key, prefix) && !have[key] {
			return fmt.Errorf("read at %d: not %+v, which was there", revision, kv)
		}
	}
	return nil
}

// Latest is what a key holds as far as the log knows, and whether it exists.
func (l *Log) Latest(key string) (KV, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kv, exists := l.now[key]
	return kv, exists
}

func lines(events []Event) string {
	var out strings.Builder
	for _, e := range events {
		fmt.Fprintf(&out, "  %+v\n", e)
	}
	return out.String()
}
