package historytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"

	"github.com/strake-io/strake/store"
)

// remote is the store that another process serves. What says nothing about a write is
// store.ErrUncertain.
type remote struct {
	url    string
	client *http.Client
}

func newRemote(address string) *remote {
	return &remote{url: "http://" + address + "/", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

func (r *remote) post(ctx context.Context, path string, q question) (io.ReadCloser, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return response.Body, nil
}

func (r *remote) ask(ctx context.Context, path string, q question) (a answer, err error) {
	body, err := r.post(ctx, path, q)
	if err != nil {
		return a, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&a); err != nil {
		return a, err
	}
	_, _ = io.Copy(io.Discard, body) // so that the connection is used again
	return a, a.Error.err()
}

func (r *remote) write(ctx context.Context, path string, q question) (int64, error) {
	a, err := r.ask(ctx, path, q)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return 0, err // it was never sent
	}
	if err != nil && a.Error == nil {
		err = fmt.Errorf("%w: %w", store.ErrUncertain, err)
	}
	return a.Revision, err
}

func (r *remote) Get(ctx context.Context, key string) (*store.KV, int64, error) {
	a, err := r.ask(ctx, "get", question{Key: key})
	return a.KV, a.Revision, err
}

func (r *remote) List(ctx context.Context, prefix string, opts store.ListOptions) (*store.ListResult, error) {
	a, err := r.ask(ctx, "list", question{Prefix: prefix, List: opts})
	return a.List, err
}

func (r *remote) Revision(ctx context.Context) (int64, error) {
	a, err := r.ask(ctx, "revision", question{})
	return a.Revision, err
}

func (r *remote) Put(ctx context.Context, put store.Put) (int64, error) {
	return r.write(ctx, "put", question{Put: put})
}

func (r *remote) Delete(ctx context.Context, key string, cond store.Condition) (int64, error) {
	return r.write(ctx, "delete", question{Key: key, If: cond})
}

func (r *remote) Compact(ctx context.Context, revision int64) error {
	_, err := r.ask(ctx, "compact", question{Revision: revision})
	return err
}

func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) ListAndWatch(ctx context.Context, prefix string) (*store.ListResult, store.Watch, error) {
	list, err := r.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	watch, err := r.Watch(ctx, prefix, list.Revision)
	return list, watch, err
}

func (r *remote) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	w := &remoteWatch{remote: r, id: rand.Int64(), answers: make(chan answer)}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx)) // it outlives the call
	begun := make(chan error, 1)
	w.reading.Go(func() { w.read(begun, question{Prefix: prefix, Revision: after, Watch: w.id}) })
	select {
	case err := <-begun:
		if err != nil {
			w.Stop()
			return nil, err
		}
		return w, nil
	case <-ctx.Done():
		w.Stop()
		return nil, ctx.Err()
	}
}

// remoteWatch is a watch in another process.
type remoteWatch struct {
	*remote
	id      int64
	ctx     context.Context // of the watch, not of a call
	cancel  context.CancelFunc
	reading sync.WaitGroup
	answers chan answer // closed when it is lost
}

// read the answers. The first says that it has begun.
func (w *remoteWatch) read(begun chan<- error, q question) {
	defer close(w.answers)
	body, err := w.post(w.ctx, "watch", q)
	if err != nil {
		begun <- err
		return
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	var a answer
	if err = lines.Decode(&a); err == nil {
		err = a.Error.err()
	}
	begun <- err
	for err == nil {
		var a answer
		if err = lines.Decode(&a); err != nil {
			return
		}
		select {
		case w.answers <- a:
		case <-w.ctx.Done():
			return
		}
	}
}

func (w *remoteWatch) Next(ctx context.Context) (store.Batch, error) {
	select {
	case a, ok := <-w.answers:
		switch {
		case !ok:
			return store.Batch{}, io.ErrUnexpectedEOF
		case a.Batch == nil:
			return store.Batch{}, a.Error.err()
		}
		return *a.Batch, nil
	case <-ctx.Done():
		return store.Batch{}, ctx.Err()
	}
}

func (w *remoteWatch) Progress(ctx context.Context) error {
	_, err := w.ask(ctx, "progress", question{Watch: w.id})
	return err
}

func (w *remoteWatch) Stop() {
	w.cancel()
	w.reading.Wait()
}
