package historytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/strake-io/strake/store"
)

// What a store of another process is asked and answers: see serve and remote.
type (
	question struct {
		Key, Prefix string
		List        store.ListOptions
		Put         store.Put
		If          store.Condition
		Revision    int64
		Watch       int64 // chosen by who watches
	}
	answer struct {
		KV       *store.KV
		List     *store.ListResult
		Revision int64
		Batch    *store.Batch
		Error    *failure
	}
	failure struct {
		Kind      string
		Message   string
		Uncertain bool
		Conflict  *store.ConflictError
	}
)

// sentinels are the errors that cross.
var sentinels = map[string]error{
	"compacted": store.ErrCompacted, "future": store.ErrFutureRevision, "closed": store.ErrClosed,
	"space": store.ErrNoSpace, "large": store.ErrTooLarge,
}

func fail(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Message: err.Error(), Uncertain: errors.Is(err, store.ErrUncertain)}
	errors.As(err, &f.Conflict)
	for kind, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			f.Kind = kind
		}
	}
	return f
}

func (f *failure) err() error {
	switch {
	case f == nil:
		return nil
	case f.Conflict != nil:
		return f.Conflict
	}
	err := errors.New(f.Message)
	if sentinel := sentinels[f.Kind]; sentinel != nil {
		err = errors.Join(err, sentinel)
	}
	if f.Uncertain {
		err = errors.Join(err, store.ErrUncertain)
	}
	return err
}

// serve answers for a store.
func serve(s store.Store) http.Handler {
	watches := watches{running: map[int64]store.Watch{}}
	mux := http.NewServeMux()
	call := func(path string, f func(context.Context, question) (answer, error)) {
		mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, r *http.Request) {
			var q question
			if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			a, err := f(r.Context(), q)
			a.Error = fail(err)
			_ = json.NewEncoder(w).Encode(a) // whoever asked may have gone
		})
	}
	call("get", func(ctx context.Context, q question) (a answer, err error) {
		a.KV, a.Revision, err = s.Get(ctx, q.Key)
		return a, err
	})
	call("list", func(ctx context.Context, q question) (a answer, err error) {
		a.List, err = s.List(ctx, q.Prefix, q.List)
		return a, err
	})
	call("revision", func(ctx context.Context, q question) (a answer, err error) {
		a.Revision, err = s.Revision(ctx)
		return a, err
	})
	call("put", func(ctx context.Context, q question) (a answer, err error) {
		a.Revision, err = s.Put(ctx, q.Put)
		return a, err
	})
	call("delete", func(ctx context.Context, q question) (a answer, err error) {
		a.Revision, err = s.Delete(ctx, q.Key, q.If)
		return a, err
	})
	call("compact", func(ctx context.Context, q question) (a answer, err error) {
		return a, s.Compact(ctx, q.Revision)
	})
	call("progress", func(ctx context.Context, q question) (a answer, err error) {
		if watch := watches.get(q.Watch); watch != nil {
			err = watch.Progress(ctx)
		}
		return a, err
	})
	mux.HandleFunc("POST /watch", func(w http.ResponseWriter, r *http.Request) { watches.serve(s, w, r) })
	return mux
}

type watches struct {
	mu      sync.Mutex // guards running
	running map[int64]store.Watch
}

func (w *watches) get(id int64) store.Watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[id]
}

// serve one watch: an answer that it has begun, then one for each batch.
func (w *watches) serve(s store.Store, to http.ResponseWriter, r *http.Request) {
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(to, err.Error(), http.StatusBadRequest)
		return
	}
	say := func(a answer) bool {
		return json.NewEncoder(to).Encode(a) == nil && http.NewResponseController(to).Flush() == nil
	}
	watch, err := s.Watch(r.Context(), q.Prefix, q.Revision)
	if err != nil {
		say(answer{Error: fail(err)})
		return
	}
	defer watch.Stop()
	w.mu.Lock()
	w.running[q.Watch] = watch
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.running, q.Watch)
		w.mu.Unlock()
	}()
	for ok := say(answer{}); ok; {
		batch, err := watch.Next(r.Context())
		if err != nil {
			say(answer{Error: fail(err)})
			return
		}
		ok = say(answer{Batch: &batch})
	}
}
