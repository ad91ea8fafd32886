package memory

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/strake-io/strake/store"
)

// Put implements [store.Writer].
func (s *Store) Put(ctx context.Context, put store.Put) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if put.Key == "" {
		return 0, errors.New("store/memory: a key cannot be empty")
	}
	var expires time.Time
	if put.TTL > 0 {
		expires = time.Now().Add(put.TTL)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	before, _ := s.state.tree.Get(put.Key)
	if err := check(put.If, put.Key, before); err != nil {
		return 0, err
	}
	revision := s.state.revision + 1
	kv := store.KV{Key: put.Key, Value: put.Value, CreateRevision: revision, ModRevision: revision}
	if before != nil {
		kv.CreateRevision = before.kv.CreateRevision
	}
	s.write(before, &record{kv: kv, expires: expires}, store.Event{Type: store.EventPut, KV: kv})
	s.armTimer()
	return revision, nil
}

// Delete implements [store.Writer].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if cond == store.Absent {
		return 0, errors.New("store/memory: a deletion cannot ask for absence")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	before, ok := s.state.tree.Get(key)
	if !ok {
		return 0, &store.ConflictError{Key: key}
	}
	if err := check(cond, key, before); err != nil {
		return 0, err
	}
	s.delete(before)
	return s.state.revision, nil
}

// check says whether a condition holds for what a key has.
func check(cond store.Condition, key string, now *record) error {
	switch {
	case cond == store.Any, cond == store.Absent && now == nil:
		return nil
	case now == nil:
		return &store.ConflictError{Key: key}
	case cond != store.Absent && now.kv.ModRevision == int64(cond):
		return nil
	}
	kv := now.kv
	return &store.ConflictError{Key: key, Current: &kv}
}

func (s *Store) delete(before *record) {
	kv := store.KV{Key: before.kv.Key, CreateRevision: before.kv.CreateRevision, ModRevision: s.state.revision + 1}
	s.write(before, nil, store.Event{Type: store.EventDelete, KV: kv})
}

// write makes one change, remembers it and tells the watches. after is nil for a
// deletion.
func (s *Store) write(before, after *record, event store.Event) {
	key := event.KV.Key
	s.snapshot = nil
	s.state.revision = event.KV.ModRevision
	if before != nil && !before.expires.IsZero() {
		s.state.expiries.Delete(expiryKey(before))
	}
	if after == nil {
		s.state.tree.Delete(key)
	} else {
		s.state.tree.Set(key, after)
		if !after.expires.IsZero() {
			s.state.expiries.Set(expiryKey(after), key)
		}
	}
	s.history.add(change{event: event, before: before}, s.state.tree)
	for w := range s.watches {
		if strings.HasPrefix(key, w.prefix) {
			w.notify()
		}
	}
}
