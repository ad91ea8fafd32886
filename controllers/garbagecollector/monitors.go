package garbagecollector

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers/internal/metadatawatch"
)

// firstSync is how long the start waits for all kinds to be listed. One that
// cannot be listed (no permission, a broken aggregated API) must not keep the
// others from being collected.
const firstSync = 30 * time.Second

// settle is how long after the last change of the served kinds they are
// discovered again.
const settle = time.Second

// definitions are the resources whose objects define further resources.
var definitions = map[schema.GroupResource]bool{
	{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: true,
	{Group: "apiregistration.k8s.io", Resource: "apiservices"}:             true,
}

// monitor is the watch of one resource.
type monitor struct {
	cancel context.CancelFunc // stops an informer of our own
	remove func()             // takes the handler away
	synced cache.DoneChecker
}

// run keeps the monitors in step with what the API serves, until ctx ends.
func (c *controller) run(ctx context.Context) error {
	var wg sync.WaitGroup
	monitors := map[schema.GroupVersionResource]*monitor{}
	defer wg.Wait()
	defer func() {
		for _, m := range monitors {
			m.cancel()
			m.remove()
		}
	}()
	rescan := time.NewTimer(c.config.Resync)
	defer rescan.Stop()
	for first := true; ; first = false {
		c.sync(ctx, &wg, monitors)
		c.enqueue(work{check: c.puzzles.take()})
		if first {
			c.waitForLists(ctx, monitors)
			close(c.ready)
		}
		rescan.Reset(c.config.Resync)
		select {
		case <-ctx.Done():
			return nil
		case <-rescan.C:
		case <-c.rescan:
			select { // several definitions often come at once
			case <-ctx.Done():
				return nil
			case <-time.After(settle):
			}
			select {
			case <-c.rescan:
			default:
			}
		}
	}
}

func (c *controller) waitForLists(ctx context.Context, monitors map[schema.GroupVersionResource]*monitor) {
	ctx, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	checks := make([]cache.DoneChecker, 0, len(monitors))
	for _, m := range monitors {
		checks = append(checks, m.synced)
	}
	cache.WaitFor(ctx, "", checks...)
}

// sync starts and stops monitors.
func (c *controller) sync(ctx context.Context, wg *sync.WaitGroup, monitors map[schema.GroupVersionResource]*monitor) {
	served, err := c.resources.discover(c.env.Client.Discovery())
	if err != nil {
		c.env.Logger.Error(err, "discovery is not complete")
	}
	wanted := map[schema.GroupVersionResource]bool{}
	for _, r := range served {
		wanted[r.gvr] = true
		if monitors[r.gvr] == nil {
			m, err := c.monitor(ctx, wg, r)
			if err != nil {
				c.env.Logger.Error(err, "cannot watch", "resource", r.gvr)
				continue
			}
			monitors[r.gvr] = m
		}
	}
	if err != nil {
		return // what is missing may only have failed
	}
	for gvr, m := range monitors {
		if !wanted[gvr] {
			m.cancel()
			m.remove()
			delete(monitors, gvr)
		}
	}
}

// monitor watches a resource: through the informer that other controllers use
// already, else through one of its own that keeps nothing but metadata.
func (c *controller) monitor(ctx context.Context, wg *sync.WaitGroup, r resource) (*monitor, error) {
	ctx, cancel := context.WithCancel(ctx)
	informer := c.shared[r.gvr]
	own := informer == nil
	if own {
		var err error
		if informer, err = metadatawatch.New(c.env, r.gvr, cache.Indexers{}, slim); err != nil {
			cancel()
			return nil, err
		}
	}
	handle := func(o any) { c.observed(r, o) }
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    handle,
		UpdateFunc: func(_, o any) { handle(o) },
		DeleteFunc: func(o any) { c.gone(r, o) },
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("add handler: %w", err)
	}
	if own {
		wg.Go(func() { informer.RunWithContext(ctx) })
	}
	return &monitor{cancel: cancel, remove: func() { _ = informer.RemoveEventHandler(reg) }, synced: reg.HasSyncedChecker()}, nil
}

// slim keeps of an object's metadata what the graph needs.
func slim(o any) (any, error) {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		OwnerReferences: m.OwnerReferences, Finalizers: m.Finalizers, DeletionTimestamp: m.DeletionTimestamp,
	}}, nil
}

func (c *controller) observed(r resource, o any) {
	m, ok := o.(metav1.Object)
	if !ok {
		return
	}
	c.definition(r)
	n := nodeOf(r.gvr, r.gvk, m)
	w := c.graph.put(n)
	c.enqueue(w)
	for _, ref := range w.misplaced {
		c.env.Recorder.Event(n.reference(), corev1.EventTypeWarning, "OwnerRefInvalidNamespace",
			fmt.Sprintf("ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace %q",
				ref.APIVersion, ref.Kind, n.Namespace, ref.Name, ref.UID, n.Namespace))
	}
}

func (c *controller) gone(r resource, o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	m, ok := o.(metav1.Object)
	if !ok {
		return
	}
	c.definition(r)
	c.absent.add(place{m.GetUID(), r.gvk.GroupKind(), m.GetNamespace(), m.GetName()})
	c.enqueue(c.graph.remove(m.GetUID()))
}

// definition asks for another discovery when the kinds that are served change.
func (c *controller) definition(r resource) {
	if !definitions[r.gvr.GroupResource()] {
		return
	}
	select {
	case c.rescan <- struct{}{}:
	default:
	}
}
