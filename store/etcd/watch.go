package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/strake-io/strake/store"
)

// streamKey sets each watch on a stream of its own, because etcd answers a
// request for progress only once every watch of the stream has caught up.
const streamKey = "strake-watch"

// askAgain is how long to wait for progress before it is asked for once more:
// etcd drops the request while a watch catches up.
const askAgain = 50 * time.Millisecond

// watch is a watch through etcd's client.
type watch struct {
	store  *Store
	client *clientv3.Client
	prefix string
	ctx    context.Context // of the watch itself, not of any call
	cancel context.CancelFunc
	stop   sync.Once
	events clientv3.WatchChan
	wish   wish

	// Owned by the caller of Next.
	delivered int64
	err       error
}

// Watch implements [store.Watcher].
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (store.Watch, error) {
	if after == 0 {
		var err error
		if after, err = s.Revision(ctx); err != nil {
			return nil, err
		}
	}
	b, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if b.member != nil {
		return s.watchMember(ctx, b.member, prefix, after)
	}
	w := &watch{store: s, client: b.client, prefix: prefix, delivered: after, wish: newWish()}
	// It outlives the call, and ends by Stop or with the store.
	stream := metadata.AppendToOutgoingContext(context.WithoutCancel(ctx), streamKey, strconv.FormatInt(s.watchID.Add(1), 10))
	w.ctx, w.cancel = context.WithCancel(clientv3.WithRequireLeader(stream))
	from, end := span(prefix)
	opened := make(chan clientv3.WatchChan, 1)
	go func() {
		opened <- b.client.Watch(w.ctx, string(from),
			clientv3.WithRange(string(end)), clientv3.WithRev(after+1), clientv3.WithFragment())
	}()
	// Where there is no connection, opening blocks until there is one.
	select {
	case w.events = <-opened:
		return w, nil
	case <-ctx.Done():
		w.cancel()
		<-opened
		return nil, ctx.Err()
	case <-s.closing:
		w.cancel()
		<-opened
		return nil, store.ErrClosed
	}
}

// ListAndWatch implements [store.Watcher].
func (s *Store) ListAndWatch(ctx context.Context, prefix string) (*store.ListResult, store.Watch, error) {
	list, err := s.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	w, err := s.Watch(ctx, prefix, list.Revision)
	if err != nil {
		return nil, nil, err
	}
	return list, w, nil
}

// Next implements [store.Watch].
func (w *watch) Next(ctx context.Context) (store.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		if w.store.isClosing() || w.ctx.Err() != nil {
			w.err = store.ErrClosed
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
		case resp, ok := <-w.events:
			if !ok {
				w.err = errors.New("store/etcd: the watch was lost")
				continue
			}
			if batch, ok := w.batch(&resp); ok {
				w.wish.grant(w.delivered)
				return batch, nil
			}
		case <-again:
			w.request(ctx)
		case <-w.wish.made:
		case <-w.store.closing:
		case <-w.ctx.Done():
		case <-ctx.Done():
		}
	}
}

// batch makes a batch of a response; ok is false where there is nothing to tell.
func (w *watch) batch(resp *clientv3.WatchResponse) (batch store.Batch, ok bool) {
	if err := resp.Err(); err != nil {
		w.err = fmt.Errorf("store/etcd: watching %s: %w", w.prefix, err)
		if resp.CompactRevision != 0 || errors.Is(err, rpctypes.ErrCompacted) {
			w.err = store.ErrCompacted
		}
		return batch, false
	}
	if len(resp.Events) == 0 {
		if !resp.IsProgressNotify() || resp.Header.Revision < w.delivered {
			return batch, false
		}
		w.delivered = resp.Header.Revision
		return store.Batch{Revision: w.delivered}, true
	}
	batch.Events = make([]store.Event, len(resp.Events))
	for i, e := range resp.Events {
		batch.Events[i] = toEvent((*mvccpb.Event)(e))
	}
	// The header may be ahead of what a watch that catches up has been sent.
	w.delivered = resp.Events[len(resp.Events)-1].Kv.ModRevision
	batch.Revision = w.delivered
	return batch, true
}

func toEvent(e *mvccpb.Event) store.Event {
	event := store.Event{KV: toKV(e.Kv)}
	if e.Type == mvccpb.Event_DELETE {
		event.Type = store.EventDelete
		event.KV.Value = nil
	}
	return event
}

// Progress implements [store.Watch].
func (w *watch) Progress(ctx context.Context) error {
	revision, err := w.store.Revision(ctx)
	if err != nil {
		return err
	}
	w.request(ctx)
	w.wish.make(revision)
	return nil
}

// request asks etcd for progress, once. Where the connection is lost it blocks
// until there is one again, or ctx ends.
func (w *watch) request(ctx context.Context) {
	asking, cancel := context.WithCancel(w.ctx) // which names the watch's stream
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if _, err := w.store.enter(asking); err != nil {
		return
	}
	defer w.store.leave()
	if err := w.client.RequestProgress(asking); err != nil && asking.Err() == nil {
		w.store.log.V(1).Info("etcd takes no request for progress", "error", err.Error())
	}
}

// Stop implements [store.Watch].
func (w *watch) Stop() { w.stop.Do(w.cancel) }
