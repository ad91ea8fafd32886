package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/strake-io/strake/store"
)

// maxBatch bounds the events of a batch that is put together from several
// revisions.
const maxBatch = 1000

// memberWatch is a watch of the embedded member, read where etcd publishes, with
// none of the goroutines of etcd's client between. It has none of its own.
type memberWatch struct {
	store   *Store
	stream  mvcc.WatchStream
	id      mvcc.WatchID
	stop    sync.Once
	stopped chan struct{}
	wish    wish

	// Owned by the caller of Next.
	delivered int64
	err       error
}

// watchMember starts a watch in the member. The caller has entered the store.
func (s *Store) watchMember(ctx context.Context, kv mvcc.WatchableKV, prefix string, after int64) (store.Watch, error) {
	w := &memberWatch{store: s, stream: kv.NewWatchStream(), stopped: make(chan struct{}), wish: newWish(), delivered: after}
	from, end := span(prefix)
	if len(end) == 1 && end[0] == 0 {
		end = []byte{} // as etcd has the end of everything inside
	}
	id, err := w.stream.Watch(ctx, clientv3.AutoWatchID, from, end, after+1)
	if err != nil {
		w.Stop()
		return nil, s.readError(ctx, "watching "+prefix, err)
	}
	w.id = id
	return w, nil
}

// Next implements [store.Watch].
func (w *memberWatch) Next(ctx context.Context) (store.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		select {
		case <-w.stopped:
			w.err = store.ErrClosed
		case <-w.store.closing:
			w.err = store.ErrClosed
		default:
		}
		if w.err != nil {
			w.Stop()
			return store.Batch{}, w.err
		}
		if w.wish.grant(w.delivered) {
			return store.Batch{Revision: w.delivered}, nil
		}
		var again <-chan time.Time
		if w.wish.pending(w.delivered) {
			again = time.After(askAgain)
		}
		select {
		case resp, ok := <-w.stream.Chan():
			if batch, some := w.batch(resp, ok); some {
				w.wish.grant(w.delivered)
				return batch, nil
			}
		case <-again:
			w.request()
		case <-w.wish.made:
		case <-w.stopped:
		case <-w.store.closing:
		case <-ctx.Done():
		}
	}
}

// batch makes one batch of a response and of those that wait behind it: the
// member sends a response for each revision. An error is left for the next call
// where there are events before it.
func (w *memberWatch) batch(resp mvcc.WatchResponse, ok bool) (batch store.Batch, some bool) {
	for {
		switch {
		case !ok:
			w.err = store.ErrClosed
			return batch, some
		case resp.CompactRevision != 0:
			w.err = store.ErrCompacted
			return batch, some
		case len(resp.Events) > 0:
			mvcc.ReportEventReceived(len(resp.Events))
			for _, e := range resp.Events {
				batch.Events = append(batch.Events, toEvent(e))
			}
			// The response's own revision may be ahead of what a watch that
			// catches up has been sent.
			w.delivered = resp.Events[len(resp.Events)-1].Kv.ModRevision
		default:
			w.delivered = max(w.delivered, resp.Revision)
		}
		batch.Revision, some = w.delivered, true
		if len(batch.Events) >= maxBatch {
			return batch, some
		}
		select {
		case resp, ok = <-w.stream.Chan():
		default:
			return batch, some
		}
	}
}

// Progress implements [store.Watch].
func (w *memberWatch) Progress(ctx context.Context) error {
	revision, err := w.store.Revision(ctx)
	if err != nil {
		return err
	}
	w.request()
	w.wish.make(revision)
	return nil
}

// request asks the member for progress. It answers once the watch has caught up
// and has room, or else not at all.
func (w *memberWatch) request() {
	select {
	case <-w.stopped:
	default:
		w.stream.RequestProgress(w.id)
	}
}

// Stop implements [store.Watch].
func (w *memberWatch) Stop() {
	w.stop.Do(func() {
		close(w.stopped)
		w.stream.Close()
	})
}
