package objects

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/internal/history"
)

// client does one operation after the other.
type client struct {
	*workload
	id     int
	random *rand.Rand
	last   map[string]seen    // what it knows of each key
	read   map[*Server]living // the newest that it has read from each server
}

type seen struct {
	revision int64
	uid      string
}

// living is a revision that one process has served.
type living struct{ life, revision int64 }

func newClient(w *workload, id int) *client {
	return &client{workload: w, id: id, random: w.Random(fmt.Sprint("client ", id)), last: map[string]seen{}, read: map[*Server]living{}}
}

// operate does one operation. Its error is what is wrong with the answer by itself.
func (c *client) operate(ctx context.Context) error {
	if c.random.IntN(40) == 0 { // it dies in the middle
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.random.IntN(int(5*time.Millisecond))))
		defer cancel()
	}
	key := fmt.Sprintf("%s%c", Prefix, 'a'+c.random.IntN(keys))
	var out history.Output
	var err error
	switch n := c.random.IntN(100); {
	case n < 18:
		out, err = c.get(ctx, key)
	case n < 26:
		out, err = c.listLatest(ctx)
	case n < 40:
		err = c.listOlder(ctx)
	case n < 55:
		out, err = c.create(ctx, key)
	case n < 68:
		out, err = c.update(ctx, key, c.known(key))
	case n < 74:
		out, err = c.update(ctx, key, history.Present)
	case n < 84:
		out, err = c.patch(ctx, key, c.known(key))
	case n < 90:
		out, err = c.patch(ctx, key, history.Present)
	case n < 96:
		out, err = c.delete(ctx, key, c.known(key))
	default:
		out, err = c.delete(ctx, key, history.Any)
	}
	most := 5 * time.Millisecond
	if out.Outcome == history.Failed || out.Outcome == history.Unknown {
		most *= 10
	}
	time.Sleep(time.Duration(c.random.IntN(int(most))))
	return err
}

// known is a condition that may hold.
func (c *client) known(key string) history.Condition {
	if c.last[key].revision == 0 {
		return history.Present
	}
	return history.Condition(c.last[key].revision)
}

// write makes a request that changes a key, and records it.
func (c *client) write(ctx context.Context, in history.Input, request func(s *Server) (reply, error)) (history.Output, error) {
	s := c.any(c.random)
	var wrong error
	out := c.Do(c.id, in, func() history.Output {
		r, err := request(s)
		switch {
		case errors.Is(err, errUnsent), err == nil && r.code == http.StatusTooManyRequests:
			return history.Output{Outcome: history.Failed}
		case err != nil || r.silent():
			return history.Output{Outcome: history.Unknown}
		case r.code == http.StatusConflict, r.code == http.StatusNotFound:
			return history.Output{Outcome: history.Conflict}
		case r.failure() != nil:
			wrong = fmt.Errorf("%+v: %w", in, r.failure())
			return history.Output{Outcome: history.Unknown}
		case in.Kind == history.Delete:
			out := history.Output{}
			if r.body.Details != nil {
				out.Identity = string(r.body.Details.UID)
			}
			delete(c.last, in.Key)
			return out
		}
		if kv := r.body.kv(); kv.Key != in.Key || kv.Value != in.Value {
			wrong = fmt.Errorf("%+v was answered with %+v", in, kv)
		}
		c.last[in.Key] = seen{r.revision(), r.body.Metadata.UID}
		c.told(r.revision())
		return history.Output{Revision: r.revision()}
	})
	return out, wrong
}

func (c *client) fresh() string { return fmt.Sprint(c.value.Add(1)) }

// object is a ConfigMap as JSON.
func object(name, value string, cond history.Condition) map[string]any {
	metadata := map[string]any{"name": name}
	if cond > 0 {
		metadata["resourceVersion"] = strconv.FormatInt(int64(cond), 10)
	}
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": map[string]any{"v": value}}
}

func (c *client) create(ctx context.Context, key string) (history.Output, error) {
	in := history.Input{Kind: history.Put, Key: key, Value: c.fresh(), If: history.Absent}
	return c.write(ctx, in, func(s *Server) (reply, error) {
		return c.do(ctx, s, http.MethodPost, c.path(""), nil, "application/json", object(key, in.Value, in.If))
	})
}

func (c *client) update(ctx context.Context, key string, cond history.Condition) (history.Output, error) {
	in := history.Input{Kind: history.Put, Key: key, Value: c.fresh(), If: cond}
	return c.write(ctx, in, func(s *Server) (reply, error) {
		return c.do(ctx, s, http.MethodPut, c.path(key), nil, "application/json", object(key, in.Value, cond))
	})
}

func (c *client) patch(ctx context.Context, key string, cond history.Condition) (history.Output, error) {
	in := history.Input{Kind: history.Put, Key: key, Value: c.fresh(), If: cond}
	return c.write(ctx, in, func(s *Server) (reply, error) {
		return c.do(ctx, s, http.MethodPatch, c.path(key), nil, "application/merge-patch+json", object(key, in.Value, cond))
	})
}

// delete an object: cond is Any, or the revision, with which goes the UID.
func (c *client) delete(ctx context.Context, key string, cond history.Condition) (history.Output, error) {
	if cond == history.Present {
		cond = history.Any
	}
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if cond > 0 {
		version := strconv.FormatInt(int64(cond), 10)
		options.Preconditions = &metav1.Preconditions{ResourceVersion: &version}
		if uid := types.UID(c.last[key].uid); uid != "" && c.random.IntN(2) == 0 {
			options.Preconditions.UID = &uid
		}
	}
	in := history.Input{Kind: history.Delete, Key: key, If: cond}
	return c.write(ctx, in, func(s *Server) (reply, error) {
		return c.do(ctx, s, http.MethodDelete, c.path(key), nil, "application/json", options)
	})
}

func (c *client) get(ctx context.Context, key string) (history.Output, error) {
	s := c.any(c.random)
	var wrong error
	out := c.Do(c.id, history.Input{Kind: history.Get, Key: key}, func() history.Output {
		r, err := c.do(ctx, s, http.MethodGet, c.path(key), nil, "", nil)
		switch {
		case err != nil || r.silent() || r.code == http.StatusTooManyRequests:
			return history.Output{Outcome: history.Failed}
		case r.code == http.StatusNotFound:
			delete(c.last, key)
			return history.Output{}
		case r.failure() != nil:
			wrong = r.failure()
			return history.Output{Outcome: history.Failed}
		}
		c.last[key] = seen{r.revision(), r.body.Metadata.UID}
		c.told(r.revision())
		return history.Output{KVs: []history.KV{r.body.kv()}}
	})
	return out, wrong
}

// listLatest is a list without a resourceVersion: it is linearizable.
func (c *client) listLatest(ctx context.Context) (history.Output, error) {
	s := c.any(c.random)
	life := s.Life()
	var wrong error
	out := c.Do(c.id, history.Input{Kind: history.List}, func() history.Output {
		r, err := c.list(ctx, s, nil)
		switch {
		case err != nil || r.silent() || r.code == http.StatusTooManyRequests:
			return history.Output{Outcome: history.Failed}
		case r.failure() != nil:
			wrong = r.failure()
			return history.Output{Outcome: history.Failed}
		}
		c.told(r.revision())
		c.served(s, life, r.revision())
		return history.Output{Revision: r.revision(), KVs: r.kvs()}
	})
	return out, wrong
}

// served notes what a process has served.
func (c *client) served(s *Server, life, revision int64) {
	if life != s.Life() {
		return // one or the other
	}
	if before := c.read[s]; before.life != life || before.revision < revision {
		c.read[s] = living{life, revision}
	}
}

// listOlder is a list that need not be of the present.
func (c *client) listOlder(ctx context.Context) error {
	s := c.any(c.random)
	life, before := s.Life(), c.read[s]
	known := c.acknowledged.Load()
	query := url.Values{}
	kind := c.random.IntN(4)
	switch {
	case kind == 0 || known == 0:
		kind = 0
		query.Set("resourceVersion", "0")
	case kind == 1:
		query.Set("resourceVersion", fmt.Sprint(known))
		query.Set("resourceVersionMatch", "NotOlderThan")
	case kind == 2:
		known = max(1, known-c.random.Int64N(200))
		query.Set("resourceVersion", fmt.Sprint(known))
		query.Set("resourceVersionMatch", "Exact")
	case kind == 3:
		query.Set("limit", fmt.Sprint(1+c.random.IntN(2)))
	}
	r, err := c.pages(ctx, s, query)
	switch {
	case errors.Is(err, errWrong):
		return err
	case err != nil || r.silent() || r.code == http.StatusTooManyRequests:
		return nil
	case r.code == http.StatusGone && kind >= 2:
		c.counts.expiredLists.Add(1)
		return nil
	case r.failure() != nil:
		return fmt.Errorf("a list with %v: %w", query, r.failure())
	}
	at := r.revision()
	switch {
	case kind == 0 && before.life == life && life == s.Life() && at < before.revision:
		return fmt.Errorf("a list of any revision is at %d, and the same process has served this client %d", at, before.revision)
	case (kind == 1 || kind == 3) && at < known:
		return fmt.Errorf("a list with %v is at %d, where %d was known", query, at, known)
	case kind == 2 && at != known:
		return fmt.Errorf("a list at exactly %d is at %d", known, at)
	}
	if kind != 2 && kind != 3 {
		c.served(s, life, at)
	}
	c.counts.lists.Add(1)
	kvs := r.kvs()
	c.check(func() error {
		if at > c.Reached() {
			return fmt.Errorf("a list with %v is at %d, and what was written later is at %d", query, at, c.Reached())
		}
		if err := c.At("", at, kvs); err != nil {
			return fmt.Errorf("a list with %v: %w", query, err)
		}
		return nil
	})
	return nil
}

// errWrong is an answer that is wrong by itself.
var errWrong = errors.New("this cannot be")

// pages of a list, as one.
func (c *client) pages(ctx context.Context, s *Server, query url.Values) (reply, error) {
	all, err := c.list(ctx, s, query)
	for err == nil && all.failure() == nil && all.body.Metadata.Continue != "" {
		var next reply
		next, err = c.list(ctx, s, url.Values{"limit": query["limit"], "continue": {all.body.Metadata.Continue}})
		if err != nil || next.failure() != nil {
			return next, err
		}
		if next.revision() != all.revision() {
			return next, fmt.Errorf("%w: pages of %d and %d", errWrong, all.revision(), next.revision())
		}
		next.body.Items = append(all.body.Items, next.body.Items...)
		all = next
	}
	return all, err
}
