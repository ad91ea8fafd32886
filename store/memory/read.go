package memory

import (
	"context"
	"strings"

	"github.com/strake-io/strake/store"
)

// Get implements [store.Reader].
func (s *Store) Get(ctx context.Context, key string) (*store.KV, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, 0, store.ErrClosed
	}
	r, ok := s.state.tree.Get(key)
	if !ok {
		return nil, s.state.revision, nil
	}
	kv := r.kv
	return &kv, s.state.revision, nil
}

// Revision implements [store.Reader].
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	return s.state.revision, nil
}

// List implements [store.Reader]. Only finding the tree takes the lock, not
// reading it.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) (*store.ListResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, revision, err := s.treeAt(opts.Revision)
	if err != nil {
		return nil, err
	}
	return list(t, revision, prefix, opts), nil
}

// treeAt returns a tree that does not change, of a revision or of the present.
func (s *Store) treeAt(revision int64) (*tree, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, 0, store.ErrClosed
	case revision > s.state.revision:
		return nil, 0, store.ErrFutureRevision
	case revision == 0 || revision == s.state.revision:
		return s.present(), s.state.revision, nil
	case revision < s.history.compacted:
		return nil, 0, store.ErrCompacted
	}
	return s.history.past(revision, s.state.tree), revision, nil
}

// present is the tree as it is now, kept from later writes.
func (s *Store) present() *tree {
	if s.snapshot == nil {
		s.snapshot = s.state.tree.Copy()
	}
	return s.snapshot
}

func list(t *tree, revision int64, prefix string, opts store.ListOptions) *store.ListResult {
	result := &store.ListResult{Revision: revision}
	t.Ascend(max(prefix, opts.After), func(key string, r *record) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if opts.After != "" && key == opts.After {
			return true
		}
		result.Count++
		if !opts.CountOnly && (opts.Limit <= 0 || len(result.KVs) < opts.Limit) {
			result.KVs = append(result.KVs, r.kv)
		}
		return true
	})
	return result
}
