package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
)

// stream is one running watch.
type stream struct {
	*exchange
	out       codec.Output
	sel       registry.Selection
	bookmarks bool
	include   metav1.IncludeObjectPolicy
	// headed: the column definitions have been sent.
	headed bool
	buffer []byte
	// send takes whole events, in buffer.
	send func(events []byte) error
	// ends: the offsets in buffer at which events end; only where each is sent by
	// itself.
	ends []int
}

func (x *exchange) watch() error {
	offer := x.offer()
	offer.Stream = true
	out, err := x.accepts(offer)
	if err != nil {
		return err
	}
	out.Pretty = false
	opts, err := x.listOptions()
	if err != nil {
		return err
	}
	st := &stream{exchange: x, out: out, sel: x.selection(opts), bookmarks: opts.AllowWatchBookmarks}
	if err := x.registry.Check(st.sel); err != nil {
		return err
	}
	if out.View == codec.TableView {
		table, err := x.tableOptions()
		if err != nil {
			return err
		}
		st.include, st.headed = table.IncludeObject, table.NoHeaders
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.watchTimeout(opts))
	defer cancel()
	if _, err := registry.ParseVersion(opts.ResourceVersion); err != nil {
		return err
	}
	initial, watcher, err := st.start(ctx, opts)
	if errors.Is(err, registry.ErrReplaced) {
		return err
	}
	if err == nil {
		defer watcher.Stop()
	}
	contentType := out.Media.String()
	if out.Media == codec.Protobuf {
		contentType += ";stream=watch"
	}
	x.w.Header().Set("Content-Type", contentType)
	serve := func(ctx context.Context) {
		if err != nil {
			// What fails from here on is told by an event, as it would be later.
			st.fail(st.startError(err, opts))
			return
		}
		if err := st.run(ctx, opts, initial, watcher); err != nil {
			// The client is gone, or has been told.
			x.config.Logger.V(2).Info("A watch ended", "path", x.info.Path, "reason", err.Error())
		}
	}
	if websocketWanted(x.r) {
		return st.overWebsocket(ctx, serve)
	}
	st.send = st.sendHTTP
	x.w.WriteHeader(http.StatusOK)
	x.w.Flush()
	serve(ctx)
	return nil
}

// startError is the API error of a watch that did not start.
func (st *stream) startError(err error, opts *internalversion.ListOptions) error {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, store.ErrCompacted):
		return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %s (%d)", opts.ResourceVersion, st.registry.Oldest()))
	case errors.As(err, &status):
		return err
	}
	return apierrors.NewServiceUnavailable("the server is shutting down")
}

// watchTimeout is as long as the client wants, or somewhere between the bounds, so
// that the watches of many clients do not end at the same time.
func (x *exchange) watchTimeout(opts *internalversion.ListOptions) time.Duration {
	if opts.TimeoutSeconds != nil && *opts.TimeoutSeconds > 0 {
		return time.Duration(min(*opts.TimeoutSeconds, 365*24*3600)) * time.Second
	}
	least := x.config.MinWatchTimeout
	return least + time.Duration(x.names.Uint64()%uint64(least))
}

// start opens the watch where the client wants it. initial is what there is
// already, nil where that is not asked for.
func (st *stream) start(ctx context.Context, opts *internalversion.ListOptions) (initial *registry.Page, watcher *cache.Watcher, err error) {
	every := st.config.BookmarkEvery
	send := opts.SendInitialEvents
	if send == nil && (opts.ResourceVersion == "" || opts.ResourceVersion == "0") || send != nil {
		initial, watcher, err = st.registry.SnapshotAndWatch(ctx, st.sel, opts.ResourceVersion, every)
		if err == nil && send != nil && !*send {
			initial.Entries = nil
		}
		return initial, watcher, err
	}
	after, err := registry.ParseVersion(opts.ResourceVersion)
	if err != nil {
		return nil, nil, err
	}
	watcher, err = st.registry.Watch(ctx, st.sel, after, every)
	return nil, watcher, err
}

// run sends events until the watch, its time or the connection ends.
func (st *stream) run(ctx context.Context, opts *internalversion.ListOptions, initial *registry.Page, watcher *cache.Watcher) error {
	var revision int64
	if initial != nil {
		revision = initial.Revision
		for _, e := range initial.Entries {
			if err := st.event(watch.Added, e); err != nil {
				return err
			}
		}
		if opts.SendInitialEvents != nil && *opts.SendInitialEvents && st.bookmarks {
			if err := st.bookmark(revision, map[string]string{metav1.InitialEventsAnnotationKey: "true"}); err != nil {
				return err
			}
		}
		if err := st.flush(); err != nil {
			return err
		}
	}
	st.begun()
	marked := time.Now()
	for {
		batch, err := watcher.Next(ctx)
		switch {
		case ctx.Err() != nil:
			// Its time is over. A last bookmark lets the client go on from here.
			if st.r.Context().Err() == nil && st.bookmarks && revision > 0 {
				if err := st.bookmark(revision, nil); err != nil {
					return err
				}
				return st.flush()
			}
			return nil
		case errors.Is(err, cache.ErrExpired):
			st.fail(apierrors.NewResourceExpired("The watch fell too far behind: start a new list and watch."))
			return err
		case err != nil:
			return err
		}
		for i := range batch.Events {
			if err := st.deliver(ctx, &batch.Events[i]); err != nil {
				return err
			}
		}
		revision = batch.Revision
		if now := time.Now(); st.bookmarks && revision > 0 && now.Sub(marked) >= st.config.BookmarkEvery {
			marked = now
			if err := st.bookmark(revision, nil); err != nil {
				return err
			}
		}
		if err := st.flush(); err != nil {
			return err
		}
	}
}

// deliver sends one change as this watch sees it.
func (st *stream) deliver(ctx context.Context, ev *cache.Event) error {
	kind, entry, err := st.registry.Seen(ctx, st.sel, ev)
	if err != nil {
		st.fail(err)
		return err
	}
	if entry == nil {
		return nil
	}
	return st.event(kind, entry)
}

func (st *stream) event(kind watch.EventType, e *cache.Entry) error {
	st.metrics.watchEvent(st.exchange)
	switch st.out.View {
	case codec.TableView:
		return st.table(kind, e.Object)
	case codec.PartialView, codec.PartialListView:
		item, err := partialOf(e, st.out)
		if err != nil {
			return err
		}
		return st.append(kind, nil, item)
	}
	item, err := itemOf(e, st.out.Media)
	if err != nil {
		return err
	}
	return st.append(kind, e.Object, item)
}

// append puts an event into the buffer. obj tells the kind of the item; nil means
// a metadata view.
func (st *stream) append(kind watch.EventType, obj runtime.Object, item []byte) error {
	gvk := codec.Output{View: codec.PartialView, Beta: st.out.Beta}.Kind()
	switch {
	case obj != nil:
		gvk = st.kindFor(obj)
	case st.out.Media != codec.Protobuf:
		// The JSON of a metadata view has its kind in it.
		gvk.Kind, gvk.Group, gvk.Version = "", "", ""
	}
	st.buffer = codec.AppendEvent(st.buffer, st.out.Media, string(kind), gvk, item)
	st.ends = append(st.ends, len(st.buffer))
	if len(st.buffer) < 64<<10 {
		return nil
	}
	return st.flush()
}

func (st *stream) table(kind watch.EventType, obj runtime.Object) error {
	include := st.include
	if include == metav1.IncludeNone && marksInitialEvents(obj) {
		include = metav1.IncludeMetadata
	}
	row, err := codec.Row(&st.resource.Table, st.out, st.resource.GVK, obj, include, time.Now())
	if err != nil {
		return err
	}
	var columns []metav1.TableColumnDefinition
	if !st.headed {
		columns = codec.Columns(&st.resource.Table)
		st.headed = true
	}
	table := codec.NewTable(st.out, metav1.ListMeta{ResourceVersion: versionOf(obj)}, columns, row)
	item, err := codec.Item(codec.JSON, table)
	if err != nil {
		return err
	}
	return st.append(kind, nil, item)
}

// marksInitialEvents: such a bookmark shows its metadata in any case.
func marksInitialEvents(obj runtime.Object) bool {
	accessor, err := meta.Accessor(obj)
	return err == nil && accessor.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// bookmark tells the client how far it has seen everything.
func (st *stream) bookmark(revision int64, annotations map[string]string) error {
	obj := st.resource.New()
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if selfDescribing(obj) {
		obj.GetObjectKind().SetGroupVersionKind(st.resource.GVK)
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	accessor.SetAnnotations(annotations)
	switch st.out.View {
	case codec.TableView:
		return st.table(watch.Bookmark, obj)
	case codec.PartialView, codec.PartialListView:
		if obj, err = codec.Partial(obj, st.out.Beta); err != nil {
			return err
		}
		item, err := codec.Item(st.out.Media, obj)
		if err != nil {
			return err
		}
		return st.append(watch.Bookmark, nil, item)
	}
	item, err := codec.Item(st.out.Media, obj)
	if err != nil {
		return err
	}
	return st.append(watch.Bookmark, obj, item)
}

// fail sends an ERROR event, which ends the watch.
func (st *stream) fail(err error) {
	status := st.statusOf(err)
	status.TypeMeta = metav1.TypeMeta{}
	item, encodeErr := codec.Item(st.out.Media, status)
	if encodeErr != nil {
		return
	}
	st.buffer = codec.AppendEvent(st.buffer, st.out.Media, string(watch.Error), statusKind, item)
	st.ends = append(st.ends, len(st.buffer))
	// The connection is closed after this in any case.
	_ = st.flush()
}

func (st *stream) flush() error {
	if len(st.buffer) == 0 {
		return nil
	}
	err := st.send(st.buffer)
	st.buffer, st.ends = st.buffer[:0], st.ends[:0]
	return err
}

func (st *stream) sendHTTP(events []byte) error {
	_, err := st.w.Write(events)
	if err == nil {
		st.w.Flush()
	}
	return err
}
