// Package historytest checks the histories that concurrent clients of a [store.Store]
// see, while faults happen to it: see internal/history for what is judged and how to run
// it longer. [Run] is the workload; its own tests apply it to every store and fault.
//
// Where storetest checks each guarantee by itself on a store that is well, this checks
// all of them together on one that is not.
package historytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/history"
	"github.com/strake-io/strake/store"
)

const (
	prefix = "/history/"
	keys   = 4
	// callTime bounds one call of a client, so that one on a member that does not
	// answer comes to be of unknown outcome.
	callTime = time.Second
	// A round ends after so many operations of each client or so much time.
	roundOps  = 200
	roundTime = 2 * time.Second
	// healTime is how long the store may take to serve again in spite of faults.
	healTime = time.Minute
)

// Config of a workload.
type Config struct {
	history.Settings
	// Stores are views of one store: its members, or one. Each call and each watch
	// goes to a random one.
	Stores []store.Store
	// Clients that work at once. Default 6.
	Clients int
	// Compact lets the history be compacted at random.
	Compact bool
	// Fault happens to the store, again and again until ctx ends: it ends with the
	// store as it was. Nil does nothing.
	Fault func(ctx context.Context, random *rand.Rand) error
}

// workload is one run.
type workload struct {
	Config
	*history.Checker
	compacted atomic.Int64 // the greatest revision that anybody tried to compact at
	value     atomic.Int64
	watched   counts
}

// counts of what watchers saw.
type counts struct {
	events, resumed, compacted, lists atomic.Int64
}

// Report is what was done and judged.
type Report struct {
	history.Stats
	// Events that watchers had, how often they Resumed, or began anew because history
	// was Compacted; and Lists of old revisions.
	Events, Resumed, Compacted, Lists int64
}

// Run works on the stores, and fails the test where they break the contract.
func Run(t *testing.T, c Config) {
	t.Helper()
	t.Logf("HISTORY_SEED=%d, for %v", c.Seed, c.Time)
	r, err := Check(t.Context(), c)
	t.Logf("%v", r.Stats)
	t.Logf("watches had %d events, were resumed %d times and compacted away %d times; %d lists of old revisions", r.Events, r.Resumed, r.Compacted, r.Lists)
	if err != nil {
		t.Fatalf("HISTORY_SEED=%d: %v", c.Seed, err)
	}
	if r.Writes == 0 || r.Events == 0 || r.Lists == 0 {
		t.Error("nothing was done: nothing was checked")
	}
}

// Check works on the stores, and says how they break the contract.
func Check(ctx context.Context, c Config) (Report, error) {
	if c.Clients == 0 {
		c.Clients = 6
	}
	ctx, cancel := context.WithTimeout(ctx, c.Time+3*healTime)
	defer cancel()
	w := &workload{Config: c}
	err := w.run(ctx)
	r := Report{
		Events: w.watched.events.Load(), Resumed: w.watched.resumed.Load(),
		Compacted: w.watched.compacted.Load(), Lists: w.watched.lists.Load(),
	}
	if w.Checker != nil {
		r.Stats = w.Stats()
	}
	return r, err
}

func (w *workload) run(ctx context.Context) error {
	start, err := w.first(ctx)
	if err != nil {
		return err
	}
	w.Checker = history.NewChecker(start)
	w.Checker.Dir = w.Dir
	ctx, cancel := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel(nil)
	aside := func(what string, f func(context.Context) error) {
		group.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	aside("the witness", w.witness)
	aside("a slow watcher", func(ctx context.Context) error { return w.watcher(ctx, "slow") })
	aside("a watcher that stops and resumes", func(ctx context.Context) error { return w.watcher(ctx, "resuming") })
	aside("a watcher from old revisions", func(ctx context.Context) error { return w.watcher(ctx, "old") })
	aside("a watcher that lists first", func(ctx context.Context) error { return w.watcher(ctx, "listing") })
	aside("a watcher of one key", func(ctx context.Context) error { return w.watcher(ctx, "narrow") })
	aside("a reader of old revisions", w.pastReader)
	if w.Compact {
		aside("compaction", w.compactor)
	}
	if w.Fault != nil {
		aside("the fault", func(ctx context.Context) error { return w.Fault(ctx, w.Random("fault")) })
	}
	err = w.rounds(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// first is the state before the history, once the store serves.
func (w *workload) first(ctx context.Context) (*history.State, error) {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	var list *store.ListResult
	for {
		var err error
		if list, err = w.Stores[0].List(ctx, prefix, store.ListOptions{}); err == nil {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the first list: %w", err)
		}
	}
	s := &history.State{Revision: list.Revision, Keys: map[string]history.KV{}}
	for _, kv := range toKVs(list.KVs) {
		s.Keys[kv.Key] = kv
	}
	return s, nil
}

// rounds of clients that work and are judged.
func (w *workload) rounds(ctx context.Context) error {
	end := time.Now().Add(w.Time)
	var clients []*client
	for i := range w.Clients {
		clients = append(clients, &client{workload: w, id: i, random: w.Random(fmt.Sprint("client ", i)), last: map[string]int64{}})
	}
	for time.Now().Before(end) && ctx.Err() == nil {
		var working sync.WaitGroup
		pause := time.Now().Add(roundTime)
		for _, c := range clients {
			working.Go(func() {
				for n := 0; n < roundOps && time.Now().Before(pause) && ctx.Err() == nil; n++ {
					c.operate(ctx)
				}
			})
		}
		working.Wait()
		if err := w.judge(ctx, clients[0]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge a round: once somebody has read everything, and the witness has come to there.
func (w *workload) judge(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	for {
		out := c.list(ctx)
		if out.Outcome == history.OK {
			if err := w.Wait(ctx, out.Revision); err != nil {
				return err
			}
			return w.Round(out.Revision)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the store does not serve any more: %w", ctx.Err())
		}
	}
}

// any is one of the stores.
func (w *workload) any(random *rand.Rand) store.Store { return w.Stores[random.IntN(len(w.Stores))] }

func toKVs(from []store.KV) []history.KV {
	out := make([]history.KV, len(from))
	for i, kv := range from {
		out[i] = toKV(kv)
	}
	return out
}

func toKV(kv store.KV) history.KV {
	return history.KV{Key: kv.Key, Value: string(kv.Value), Created: kv.CreateRevision, Last: kv.ModRevision}
}

func toEvents(from []store.Event) []history.Event {
	out := make([]history.Event, len(from))
	for i, e := range from {
		out[i] = history.Event{Revision: e.KV.ModRevision, Key: e.KV.Key, Value: string(e.KV.Value), Deleted: e.Type == store.EventDelete}
		if !out[i].Deleted {
			out[i].Created = e.KV.CreateRevision
		}
	}
	return out
}

func isOurs(kvs []store.KV) error {
	for i, kv := range kvs {
		if !strings.HasPrefix(kv.Key, prefix) || i > 0 && kvs[i-1].Key >= kv.Key {
			return fmt.Errorf("a list of %s is in no order, or has what was not asked for: %v", prefix, kvs)
		}
	}
	return nil
}

// passing says that a read or a watch failed because of the fault: nothing was said.
func passing(err error) bool {
	return err != nil && !errors.Is(err, store.ErrCompacted) && !errors.Is(err, store.ErrFutureRevision)
}
