// Package objects checks the histories that concurrent clients of a Kubernetes API
// server see over ConfigMaps, while servers die and come back: see internal/history for
// what is judged, and how to run it longer. It speaks plain HTTP, so that no client
// library asks twice, and knows nothing of the server: any will do.
//
// What must hold of reads is what the page "Kubernetes API Concepts" says. Where no
// resourceVersion is given they are linearizable, among all servers. "0" may be as old
// as it likes, but is a state that was, and no older than what one client has read from
// the same process before: its cache does not go back. (Of another process, or of one
// that was started again, nothing of the kind is promised.) Any other is not older than
// it says, and an exact one is the state at that revision, or expired.
package objects

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/history"
)

const (
	keys = 4
	// callTime bounds one request: one that has not been answered then is of unknown
	// outcome.
	callTime  = 2 * time.Second
	roundOps  = 100
	roundTime = 2 * time.Second
	// healTime is how long the servers may take to serve again in spite of faults.
	healTime = 2 * time.Minute
)

// Server is one API server.
type Server struct {
	// URL and Client that reach it as one who may write ConfigMaps.
	URL    string
	Client *http.Client
	// Life says which process it is: it grows when the server is started again.
	Life func() int64
}

// Config of a workload.
type Config struct {
	history.Settings
	// Namespace that the ConfigMaps are in.
	Namespace string
	// Servers share one store.
	Servers []*Server
	// Clients that work at once. Default 5.
	Clients int
	// Witness writes every event of the ConfigMaps whose names begin with [Prefix]
	// after a revision to the log, until ctx ends. Default: it watches the servers,
	// one of which must always have the history since the others died.
	Witness func(ctx context.Context, log *history.Log, after int64) error
	// Fault happens to the servers, until ctx ends. Nil does nothing.
	Fault func(ctx context.Context, random *rand.Rand) error
}

// Prefix of the names of all ConfigMaps of a workload.
const Prefix = "history-"

// mark is written at the end of each round.
const mark = Prefix + "mark"

type workload struct {
	Config
	*history.Checker
	value atomic.Int64
	// acknowledged is the greatest revision that a client was told.
	acknowledged atomic.Int64
	counts       counts

	mu    sync.Mutex // guards later
	later []func() error
}

// counts of what was seen beside the operations that are judged as linearizable.
type counts struct {
	events, bookmarks, initial, resumed, expired, lists, expiredLists atomic.Int64
}

// Run works on the servers, and fails the test where they break what they promise.
func Run(t *testing.T, c Config) {
	t.Helper()
	if c.Clients == 0 {
		c.Clients = 5
	}
	t.Logf("HISTORY_SEED=%d, for %v", c.Seed, c.Time)
	ctx, cancel := context.WithTimeout(t.Context(), c.Time+3*healTime)
	defer cancel()
	w := &workload{Config: c}
	if w.Witness == nil {
		w.Witness = w.watchServers
	}
	err := w.run(ctx)
	if w.Checker != nil {
		n := &w.counts
		t.Logf("%v", w.Stats())
		t.Logf("watches had %d events, %d bookmarks and %d initial states, were resumed %d times and expired %d times; %d lists of older revisions, %d expired",
			n.events.Load(), n.bookmarks.Load(), n.initial.Load(), n.resumed.Load(), n.expired.Load(), n.lists.Load(), n.expiredLists.Load())
	}
	if err != nil {
		t.Fatalf("HISTORY_SEED=%d: %v", c.Seed, err)
	}
	if w.Stats().Writes == 0 || w.counts.events.Load() == 0 || w.counts.lists.Load() == 0 {
		t.Error("nothing was done: nothing was checked")
	}
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
	aside("the witness", func(ctx context.Context) error { return w.Witness(ctx, w.Log, start.Revision) })
	for _, kind := range []string{"slow", "resuming", "old", "initial"} {
		aside("the watcher that is "+kind, func(ctx context.Context) error { return w.watcher(ctx, kind) })
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

// first is the state before the history.
func (w *workload) first(ctx context.Context) (*history.State, error) {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	for {
		list, err := w.list(ctx, w.Servers[0], nil)
		if err == nil && list.failure() == nil {
			s := &history.State{Revision: list.revision(), Keys: map[string]history.KV{}}
			for _, kv := range list.kvs() {
				s.Keys[kv.Key] = kv
			}
			return s, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the first list: %w", errors.Join(err, list.failure()))
		}
	}
}

func (w *workload) rounds(ctx context.Context) error {
	end := time.Now().Add(w.Time)
	var clients []*client
	for i := range w.Clients {
		clients = append(clients, newClient(w, i))
	}
	for time.Now().Before(end) && ctx.Err() == nil {
		var working sync.WaitGroup
		errs := make([]error, len(clients))
		pause := time.Now().Add(roundTime)
		for i, c := range clients {
			working.Go(func() {
				for n := 0; n < roundOps && time.Now().Before(pause) && ctx.Err() == nil && errs[i] == nil; n++ {
					errs[i] = c.operate(ctx)
				}
			})
		}
		working.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if err := w.judge(ctx, clients[0]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge a round: everything is read, then a mark is written, and once the witness has
// seen that it has seen all that the clients did.
func (w *workload) judge(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	for {
		out, err := c.listLatest(ctx)
		if err != nil {
			return err
		}
		if out.Outcome == history.OK {
			break
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("nobody serves lists any more: %w", err)
		}
	}
	var marked int64
	for marked == 0 {
		out, err := c.update(ctx, mark, history.Present)
		if err == nil && out.Outcome == history.Conflict {
			out, err = c.create(ctx, mark)
		}
		if err != nil {
			return err
		}
		if out.Outcome == history.OK {
			marked = out.Revision
		} else if err := rest(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("nobody takes writes any more: %w", err)
		}
	}
	if err := w.Wait(ctx, marked); err != nil {
		return err
	}
	if err := w.Round(marked); err != nil {
		return err
	}
	w.mu.Lock()
	later := w.later
	w.later = nil
	w.mu.Unlock()
	for _, check := range later {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// check when the witness has come to the end of the round.
func (w *workload) check(f func() error) {
	w.mu.Lock()
	w.later = append(w.later, f)
	w.mu.Unlock()
}

// told is a revision that a client has seen.
func (w *workload) told(revision int64) {
	for {
		old := w.acknowledged.Load()
		if old >= revision || w.acknowledged.CompareAndSwap(old, revision) {
			return
		}
	}
}

func (w *workload) any(random *rand.Rand) *Server { return w.Servers[random.IntN(len(w.Servers))] }

// rest for a time; it fails where ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
