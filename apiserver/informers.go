package apiserver

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/internalinterfaces"
	"k8s.io/client-go/kubernetes"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
)

// Informers makes a factory of shared informers that hand over the watch cache's
// own objects: by pointer, with nothing encoded or decoded. Everybody shares them,
// so they are read-only, as informers' objects are by convention. There is no
// authorisation on this path: it is for parts of the control plane. Types that
// the server does not have are fetched through client. resync is that of
// client-go's factories.
func (s *Server) Informers(client kubernetes.Interface, resync time.Duration) informers.SharedInformerFactory {
	f := &informerFactory{server: s, byType: map[reflect.Type]*registry.Registry{}}
	for _, res := range s.config.Resources {
		f.byType[reflect.TypeOf(res.New())] = s.set.Of(res.GroupVersionResource())
	}
	f.SharedInformerFactory = informers.NewSharedInformerFactory(client, resync)
	return f
}

// ListerWatcher is the source of an informer for one resource, in its stored
// version: see [Server.Informers]. namespace "" means all.
func (s *Server) ListerWatcher(of schema.GroupResource, namespace string) (clientcache.ListerWatcherWithContext, error) {
	r := s.set.Table().Stored(of)
	if r == nil {
		return nil, fmt.Errorf("apiserver: %s is not served", of)
	}
	return &listerWatcher{registry: r, namespace: namespace}, nil
}

// listerWatcher reads the watch cache of one resource.
type listerWatcher struct {
	registry  *registry.Registry
	namespace string
}

// IsWatchListSemanticsUnSupported tells reflectors to list and then watch: there is
// nothing to gain from streaming a list that is a pointer away.
func (*listerWatcher) IsWatchListSemanticsUnSupported() bool { return true }

func (l *listerWatcher) selection(opts metav1.ListOptions) (registry.Selection, error) {
	sel := registry.Selection{Namespace: l.namespace}
	var err error
	if sel.Labels, err = labels.Parse(opts.LabelSelector); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	if sel.Fields, err = fields.ParseSelector(opts.FieldSelector); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	return sel, l.registry.Check(sel)
}

// List implements cache.Lister.
func (l *listerWatcher) List(opts metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), opts)
}

// ListWithContext implements cache.ListerWithContext.
func (l *listerWatcher) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	sel, err := l.selection(opts)
	if err != nil {
		return nil, err
	}
	page, err := l.registry.List(ctx, registry.ListOptions{Selection: sel, Version: opts.ResourceVersion, Match: opts.ResourceVersionMatch})
	if err != nil {
		return nil, err
	}
	list := &internalversion.List{Items: make([]runtime.Object, len(page.Entries))}
	list.ResourceVersion = strconv.FormatInt(page.Revision, 10)
	for i, e := range page.Entries {
		list.Items[i] = e.Object
	}
	return list, nil
}

// Watch implements cache.Watcher.
func (l *listerWatcher) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), opts)
}

// WatchWithContext implements cache.WatcherWithContext.
func (l *listerWatcher) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	sel, err := l.selection(opts)
	if err != nil {
		return nil, err
	}
	after, err := registry.ParseVersion(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	watcher, err := l.registry.Watch(ctx, sel, after, time.Minute)
	if errors.Is(err, store.ErrCompacted) {
		return nil, apierrors.NewResourceExpired("too old resource version: " + opts.ResourceVersion)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &objectWatch{lister: l, sel: sel, watcher: watcher, cancel: cancel, results: make(chan watch.Event), done: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

// objectWatch is a watch.Interface over the cache. Its goroutine ends with Stop,
// which waits for it, with the context, or with the cache.
type objectWatch struct {
	lister  *listerWatcher
	sel     registry.Selection
	watcher *cache.Watcher
	cancel  context.CancelFunc
	results chan watch.Event
	done    chan struct{}
	stop    sync.Once
}

// ResultChan implements watch.Interface.
func (w *objectWatch) ResultChan() <-chan watch.Event { return w.results }

// Stop implements watch.Interface.
func (w *objectWatch) Stop() {
	w.stop.Do(w.cancel)
	<-w.done
}

func (w *objectWatch) run(ctx context.Context) {
	defer close(w.done)
	defer close(w.results)
	defer w.cancel()
	defer w.watcher.Stop()
	for {
		batch, err := w.watcher.Next(ctx)
		if errors.Is(err, cache.ErrExpired) {
			status := apierrors.NewResourceExpired("the watch fell too far behind").Status()
			w.send(ctx, watch.Event{Type: watch.Error, Object: &status})
			return
		}
		if err != nil {
			return
		}
		for i := range batch.Events {
			kind, entry, err := w.lister.registry.Seen(ctx, w.sel, &batch.Events[i])
			if err != nil {
				status := apierrors.NewInternalError(err).Status()
				w.send(ctx, watch.Event{Type: watch.Error, Object: &status})
				return
			}
			if entry != nil && !w.send(ctx, watch.Event{Type: kind, Object: entry.Object}) {
				return
			}
		}
		if len(batch.Events) == 0 && batch.Revision > 0 && !w.send(ctx, w.bookmark(batch.Revision)) {
			return
		}
	}
}

func (w *objectWatch) send(ctx context.Context, ev watch.Event) bool {
	select {
	case w.results <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

// bookmark keeps the reflector's version from falling out of the history.
func (w *objectWatch) bookmark(revision int64) watch.Event {
	obj := w.lister.registry.Resource.New()
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
	return watch.Event{Type: watch.Bookmark, Object: obj}
}

// informerFactory puts informers over the watch cache in place of those that
// client-go's typed accessors would make.
type informerFactory struct {
	informers.SharedInformerFactory
	server *Server
	byType map[reflect.Type]*registry.Registry
}

// InformerFor implements informers.SharedInformerFactory.
func (f *informerFactory) InformerFor(obj runtime.Object, newFunc internalinterfaces.NewInformerFunc) clientcache.SharedIndexInformer {
	r := f.byType[reflect.TypeOf(obj)]
	if r == nil {
		return f.SharedInformerFactory.InformerFor(obj, newFunc)
	}
	return f.SharedInformerFactory.InformerFor(obj, func(_ kubernetes.Interface, resync time.Duration) clientcache.SharedIndexInformer {
		return clientcache.NewSharedIndexInformer(&listerWatcher{registry: r}, r.Resource.New(), resync,
			clientcache.Indexers{clientcache.NamespaceIndex: clientcache.MetaNamespaceIndexFunc})
	})
}

// ForResource implements informers.SharedInformerFactory.
func (f *informerFactory) ForResource(gvr schema.GroupVersionResource) (informers.GenericInformer, error) {
	r := f.server.set.Of(gvr)
	if r == nil || f.byType[reflect.TypeOf(r.Resource.New())] != r {
		return f.SharedInformerFactory.ForResource(gvr)
	}
	informer := f.InformerFor(r.Resource.New(), nil)
	return &genericInformer{informer, gvr.GroupResource()}, nil
}

type genericInformer struct {
	informer clientcache.SharedIndexInformer
	resource schema.GroupResource
}

func (g *genericInformer) Informer() clientcache.SharedIndexInformer { return g.informer }

func (g *genericInformer) Lister() clientcache.GenericLister {
	return clientcache.NewGenericLister(g.informer.GetIndexer(), g.resource)
}
