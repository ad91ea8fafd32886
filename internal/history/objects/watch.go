package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/internal/history"
)

// keptEvents are what a server has in memory for watches to resume from, at the least:
// far below what ours and upstream's keep.
const keptEvents = 100

var (
	// errExpired is the end of a watch from a revision that the server has not any more.
	errExpired = errors.New("too old resource version")
	// errEnough is the end of one by whoever watches.
	errEnough = errors.New("enough")
)

// event of a watch.
type event struct {
	Type   string
	Object body
}

func (e *event) revision() int64 { return number(e.Object.Metadata.ResourceVersion) }

// initialEnd says that it is the bookmark behind the initial state.
func (e *event) initialEnd() bool {
	return e.Object.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true"
}

func (e *event) ours() bool { return strings.HasPrefix(e.Object.Metadata.Name, Prefix) }

// event for the log.
func (e *event) event() history.Event {
	out := history.Event{Revision: e.revision(), Key: e.Object.Metadata.Name, Identity: e.Object.Metadata.UID, Type: e.Type}
	if e.Type == "DELETED" {
		out.Deleted = true
		return out
	}
	out.Value = e.Object.Data["v"]
	if e.Type == history.Added {
		out.Created = out.Revision
	}
	return out
}

// watch once, and give every event to take, until it ends or take fails.
func (w *workload) watch(ctx context.Context, s *Server, query url.Values, take func(*event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	opening := time.AfterFunc(callTime, cancel)
	response, err := w.open(ctx, s, http.MethodGet, w.path(""), query, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	opening.Stop()
	if response.StatusCode == http.StatusGone {
		return errExpired
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("a watch: %s", response.Status)
	}
	events := json.NewDecoder(response.Body)
	for {
		var e event
		if err := events.Decode(&e); err != nil {
			return err
		}
		switch {
		case e.Type == "ERROR" && e.Object.Code == http.StatusGone:
			return errExpired
		case e.Type == "ERROR":
			return fmt.Errorf("a watch: %s", e.Object.Message)
		}
		if err := take(&e); err != nil {
			return fmt.Errorf("%w: %w", errTaken, err)
		}
	}
}

// errTaken is in the chain of the errors of take.
var errTaken = errors.New("not taken")

// watchServers is the witness of those who have no other.
func (w *workload) watchServers(ctx context.Context, log *history.Log, after int64) error {
	random := w.Random("witness")
	expired := 0
	for ctx.Err() == nil {
		err := w.watch(ctx, w.any(random), w.resume(random, after), func(e *event) error {
			var events []history.Event
			if e.Type != "BOOKMARK" && e.ours() {
				events = append(events, e.event())
			}
			if e.revision() < after {
				return fmt.Errorf("at %d it was sent %+v", after, e)
			}
			expired, after = 0, e.revision()
			return log.Append(events, max(after, log.Reached()))
		})
		switch {
		case errors.Is(err, errTaken):
			return err
		case errors.Is(err, errExpired):
			if expired++; expired > 10*len(w.Servers) {
				return fmt.Errorf("no server has the history after %d: %w", after, err)
			}
		}
		if rest(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	return nil
}

// resume is the query of a watch after a revision.
func (w *workload) resume(random *rand.Rand, after int64) url.Values {
	return url.Values{"resourceVersion": {fmt.Sprint(after)}, "timeoutSeconds": {fmt.Sprint(1 + random.IntN(10))}}
}

// watching is where a watcher stands.
type watching struct {
	*workload
	kind   string
	random *rand.Rand
	after  int64
	// from is the process that has sent the event at after.
	from *Server
	life int64
}

// watcher checks one watch after the other against the log.
func (w *workload) watcher(ctx context.Context, kind string) error {
	x := &watching{workload: w, kind: kind, random: w.Random(kind), after: w.Reached()}
	for ctx.Err() == nil {
		var err error
		if kind == "initial" {
			err = x.state(ctx)
		} else {
			err = x.changes(ctx, x.any(x.random))
		}
		switch {
		case errors.Is(err, errEnough):
		case errors.Is(err, errTaken), errors.Is(err, errWrong):
			if ctx.Err() != nil {
				return nil
			}
			return err
		case errors.Is(err, errExpired):
			w.counts.expired.Add(1)
			x.after, x.from = w.Reached(), nil
		}
		w.counts.resumed.Add(1)
		if kind == "old" {
			x.after, x.from = max(1, w.Reached()-x.random.Int64N(200)), nil
		}
		if rest(ctx, time.Duration(x.random.IntN(int(50*time.Millisecond)))) != nil {
			break
		}
	}
	return nil
}

// changes after a revision.
func (x *watching) changes(ctx context.Context, s *Server) error {
	begun, life, count := x.after, s.Life(), 0
	err := x.watch(ctx, s, x.resume(x.random, x.after), func(e *event) error {
		if err := x.take(ctx, e); err != nil {
			return err
		}
		x.from, x.life = s, life
		count++
		return x.manner(count)
	})
	if errors.Is(err, errExpired) && x.from == s && x.life == life && life == s.Life() && x.Writes(begun) < keptEvents {
		return fmt.Errorf("%w: after %d, which this process had sent, there are %d events, and it says %w", errWrong, begun, x.Writes(begun), err)
	}
	return err
}

// take one event: nothing of the log lies between it and the one before.
func (x *watching) take(ctx context.Context, e *event) error {
	revision := e.revision()
	if revision < x.after || revision == x.after && e.Type != "BOOKMARK" {
		return fmt.Errorf("at %d it was sent %+v", x.after, e)
	}
	if err := x.Wait(ctx, revision); err != nil {
		return err
	}
	var sent []history.Event
	if e.Type == "BOOKMARK" {
		x.counts.bookmarks.Add(1)
	} else if e.ours() {
		x.counts.events.Add(1)
		sent = append(sent, e.event())
	}
	if err := x.Between("", x.after, revision, sent); err != nil {
		return err
	}
	x.after = revision
	return nil
}

// manner of a kind of watcher between two events.
func (x *watching) manner(count int) error {
	switch x.kind {
	case "slow":
		time.Sleep(time.Duration(x.random.IntN(int(30 * time.Millisecond))))
	case "resuming":
		if x.random.IntN(30) == 0 {
			return errEnough
		}
	case "old":
		if count > 20 && x.random.IntN(20) == 0 {
			return errEnough
		}
	}
	return nil
}

// state and the changes after it, as one watch.
func (x *watching) state(ctx context.Context) error {
	known := x.acknowledged.Load()
	query := url.Values{"sendInitialEvents": {"true"}, "resourceVersionMatch": {"NotOlderThan"}, "timeoutSeconds": {"5"}}
	begun := false
	var initial []history.KV
	count := 0
	return x.watch(ctx, x.any(x.random), query, func(e *event) error {
		switch {
		case begun:
			if count++; count > 10 && x.random.IntN(10) == 0 {
				return errEnough
			}
			return x.take(ctx, e)
		case e.Type == history.Added:
			if e.ours() {
				initial = append(initial, e.Object.kv())
			}
			return nil
		case e.Type != "BOOKMARK" || !e.initialEnd():
			return fmt.Errorf("within the initial state it was sent %+v", e)
		}
		begun, x.after = true, e.revision()
		if x.after < known {
			return fmt.Errorf("the initial state is of %d, and %d was known", x.after, known)
		}
		if err := x.Wait(ctx, x.after); err != nil {
			return err
		}
		x.counts.initial.Add(1)
		return x.At("", x.after, initial)
	})
}
