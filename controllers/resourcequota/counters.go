package resourcequota

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/metadatawatch"
)

// retry is after how long a kind that is not served is looked for again.
const retry = 30 * time.Second

// counters watch the kinds of which quotas limit the number, from the moment that one
// does, and count their objects by namespace. A kind that is not served is looked for
// now and then.
type counters struct {
	env  *controllers.Env
	wake func(of schema.GroupResource, namespace string)
	// wanted are kinds to begin with.
	wanted chan schema.GroupResource

	mu  sync.Mutex
	all map[schema.GroupResource]cache.SharedIndexInformer // nil: asked for
}

func newCounters(env *controllers.Env, wake func(schema.GroupResource, string)) *counters {
	return &counters{env: env, wake: wake, wanted: make(chan schema.GroupResource, 16), all: map[schema.GroupResource]cache.SharedIndexInformer{}}
}

// count is how many objects there are in a namespace; false: not known yet. The quotas
// that limit the kind are woken when it is.
func (c *counters) count(of schema.GroupResource, namespace string) (int, bool) {
	c.mu.Lock()
	informer, asked := c.all[of]
	if !asked {
		select {
		case c.wanted <- of:
			c.all[of] = nil
		default: // at the next resync
		}
	}
	c.mu.Unlock()
	if informer == nil || !informer.HasSynced() {
		return 0, false
	}
	keys, err := informer.GetIndexer().IndexKeys(cache.NamespaceIndex, namespace)
	return len(keys), err == nil
}

// run begins with kinds as they are asked for, until ctx ends.
func (c *counters) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.env.Client.Discovery()))
	for {
		select {
		case <-ctx.Done():
			return nil
		case of := <-c.wanted:
			gvr, err := mapper.ResourceFor(of.WithVersion(""))
			if err == nil {
				wg.Go(func() { c.follow(ctx, of, gvr) })
				continue
			}
			if !meta.IsNoMatchError(err) {
				c.env.Logger.Error(err, "cannot find what a quota counts", "resource", of)
			}
			mapper.Reset()
			wg.Go(func() { c.later(ctx, of) })
		}
	}
}

// later asks again.
func (c *counters) later(ctx context.Context, of schema.GroupResource) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(retry):
	}
	c.mu.Lock()
	delete(c.all, of)
	c.mu.Unlock()
	c.wake(of, metav1.NamespaceAll)
}

// nameOnly is what counting needs of an object.
func nameOnly(o any) (any, error) {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok {
		m.Labels, m.Annotations, m.ManagedFields, m.OwnerReferences, m.Finalizers = nil, nil, nil, nil, nil
	}
	return o, nil
}

// informer watches the metadata of a kind and wakes the quotas of a namespace in which
// an object goes.
func (c *counters) informer(of schema.GroupResource, gvr schema.GroupVersionResource) (cache.SharedIndexInformer, error) {
	informer, err := metadatawatch.New(c.env, gvr, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nameOnly)
	if err != nil {
		return nil, err
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(o any) {
		if gone, is := o.(cache.DeletedFinalStateUnknown); is {
			o = gone.Obj
		}
		if m, err := meta.Accessor(o); err == nil {
			c.wake(of, m.GetNamespace())
		}
	}})
	return informer, err
}

// follow counts the objects of a kind until ctx ends.
func (c *counters) follow(ctx context.Context, of schema.GroupResource, gvr schema.GroupVersionResource) {
	informer, err := c.informer(of, gvr)
	if err != nil {
		c.env.Logger.Error(err, "cannot count", "resource", gvr)
		return
	}
	c.mu.Lock()
	c.all[of] = informer
	c.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			c.wake(of, metav1.NamespaceAll)
		}
	})
	informer.RunWithContext(ctx)
}
