package historytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/strake-io/strake/internal/history"
	"github.com/strake-io/strake/store"
)

// client does one operation after the other.
type client struct {
	*workload
	id     int
	random *rand.Rand
	last   map[string]int64 // the last revision of each key that it knows of
}

// operate does one operation, and sometimes dies in the middle of it.
func (c *client) operate(ctx context.Context) {
	limit := callTime
	if c.random.IntN(50) == 0 {
		limit = time.Duration(c.random.IntN(int(3 * time.Millisecond)))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	key := fmt.Sprintf("%s%c", prefix, 'a'+c.random.IntN(keys))
	var out history.Output
	switch n := c.random.IntN(100); {
	case n < 25:
		out = c.get(ctx, key)
	case n < 35:
		out = c.list(ctx)
	case n < 40:
		out = c.now(ctx)
	case n < 55:
		out = c.put(ctx, key, history.Any)
	case n < 70:
		out = c.put(ctx, key, history.Absent)
	case n < 88:
		out = c.put(ctx, key, c.known(key))
	case n < 94:
		out = c.delete(ctx, key, history.Any)
	default:
		out = c.delete(ctx, key, c.known(key))
	}
	for _, kv := range out.KVs {
		c.last[kv.Key] = kv.Last
	}
	if out.Outcome == history.Failed || out.Outcome == history.Unknown {
		time.Sleep(time.Duration(c.random.IntN(int(20 * time.Millisecond)))) // no storm on what does not answer
	} else {
		time.Sleep(time.Duration(c.random.IntN(int(4 * time.Millisecond))))
	}
}

// known is a condition that may hold: what the client saw last.
func (c *client) known(key string) history.Condition {
	if c.last[key] == 0 {
		return history.Absent
	}
	return history.Condition(c.last[key])
}

func (c *client) get(ctx context.Context, key string) history.Output {
	s := c.any(c.random)
	return c.Do(c.id, history.Input{Kind: history.Get, Key: key}, func() (out history.Output) {
		kv, revision, err := s.Get(ctx, key)
		if err != nil {
			return history.Output{Outcome: history.Failed}
		}
		out.Revision = revision
		if kv != nil {
			out.KVs = []history.KV{toKV(*kv)}
		}
		return out
	})
}

func (c *client) list(ctx context.Context) history.Output {
	s := c.any(c.random)
	return c.Do(c.id, history.Input{Kind: history.List}, func() history.Output {
		list, err := s.List(ctx, prefix, store.ListOptions{})
		if err != nil {
			return history.Output{Outcome: history.Failed}
		}
		return history.Output{Revision: list.Revision, KVs: toKVs(list.KVs)}
	})
}

func (c *client) now(ctx context.Context) history.Output {
	s := c.any(c.random)
	return c.Do(c.id, history.Input{Kind: history.Now}, func() history.Output {
		revision, err := s.Revision(ctx)
		if err != nil {
			return history.Output{Outcome: history.Failed}
		}
		return history.Output{Revision: revision}
	})
}

func (c *client) put(ctx context.Context, key string, cond history.Condition) history.Output {
	s := c.any(c.random)
	value := fmt.Sprint(c.value.Add(1))
	out := c.Do(c.id, history.Input{Kind: history.Put, Key: key, Value: value, If: cond}, func() history.Output {
		revision, err := s.Put(ctx, store.Put{Key: key, Value: []byte(value), If: store.Condition(cond)})
		return written(revision, err)
	})
	if out.Outcome == history.OK {
		c.last[key] = out.Revision
	}
	return out
}

func (c *client) delete(ctx context.Context, key string, cond history.Condition) history.Output {
	if cond == history.Absent {
		cond = history.Any
	}
	s := c.any(c.random)
	return c.Do(c.id, history.Input{Kind: history.Delete, Key: key, If: cond}, func() history.Output {
		revision, err := s.Delete(ctx, key, store.Condition(cond))
		return written(revision, err)
	})
}

// written is the output of a write.
func written(revision int64, err error) history.Output {
	var conflict *store.ConflictError
	switch {
	case err == nil:
		return history.Output{Revision: revision}
	case errors.Is(err, store.ErrUncertain):
		return history.Output{Outcome: history.Unknown}
	case errors.As(err, &conflict):
		out := history.Output{Outcome: history.Conflict, Told: true}
		if conflict.Current != nil {
			out.KVs = []history.KV{toKV(*conflict.Current)}
		}
		return out
	}
	return history.Output{Outcome: history.Failed}
}

// pastReader reads states of revisions that were, whole or in pages.
func (w *workload) pastReader(ctx context.Context) error {
	random := w.Random("past")
	for ctx.Err() == nil {
		revision := w.past(random)
		if err := w.readPast(ctx, random, revision); err != nil && ctx.Err() == nil {
			return err
		}
		time.Sleep(time.Duration(random.IntN(int(20 * time.Millisecond))))
	}
	return nil
}

// past is a revision that has been.
func (w *workload) past(random *rand.Rand) int64 {
	reached := w.Reached()
	return max(1, reached-random.Int64N(300))
}

func (w *workload) readPast(ctx context.Context, random *rand.Rand, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	opts := store.ListOptions{Revision: revision, Limit: random.IntN(3)}
	var all []store.KV
	for {
		list, err := w.any(random).List(ctx, prefix, opts)
		switch {
		case passing(err), errors.Is(err, store.ErrCompacted) && revision < w.compacted.Load():
			return nil
		case err != nil:
			return fmt.Errorf("a list at %d, compacted at %d, failed: %w", revision, w.compacted.Load(), err)
		case list.Revision != revision:
			return fmt.Errorf("a list at %d is at %d", revision, list.Revision)
		}
		all = append(all, list.KVs...)
		if !list.More() {
			break
		}
		opts.After = list.KVs[len(list.KVs)-1].Key
	}
	w.watched.lists.Add(1)
	return errors.Join(isOurs(all), w.At(prefix, revision, toKVs(all)))
}

// compactor compacts at revisions that the witness has seen.
func (w *workload) compactor(ctx context.Context) error {
	random := w.Random("compaction")
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(int(200 * time.Millisecond))))
		revision := w.past(random)
		for {
			before := w.compacted.Load()
			if before >= revision || w.compacted.CompareAndSwap(before, revision) {
				break
			}
		}
		short, cancel := context.WithTimeout(ctx, callTime)
		err := w.any(random).Compact(short, revision)
		cancel()
		if err != nil && !passing(err) && ctx.Err() == nil {
			return fmt.Errorf("compacting at %d: %w", revision, err)
		}
	}
	return nil
}
