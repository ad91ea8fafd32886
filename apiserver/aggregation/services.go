package aggregation

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// group is goroutines that end together.
type group struct{ wg sync.WaitGroup }

func (g *group) run(f func()) { g.wg.Go(f) }
func (g *group) wait()        { g.wg.Wait() }

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watchServices begins to say which services changed.
func (a *Aggregator) watchServices(ctx context.Context) {
	if a.watching {
		return
	}
	a.watching = true
	for _, of := range []schema.GroupResource{services, endpointSlices} {
		a.parts.run(func() {
			for ctx.Err() == nil {
				if err := a.watchChanges(ctx, of); err != nil && ctx.Err() == nil {
					a.config.Logger.V(1).Info("Watching for changes of services broke off", "resource", of.String(), "error", err.Error())
				}
				pause(ctx, time.Second)
			}
		})
	}
}

func (a *Aggregator) watchChanges(ctx context.Context, of schema.GroupResource) error {
	source, err := a.config.Server.ListerWatcher(of, metav1.NamespaceAll)
	if err != nil {
		return err
	}
	list, err := source.ListWithContext(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	version, err := meta.NewAccessor().ResourceVersion(list)
	if err != nil {
		return err
	}
	watcher, err := source.WatchWithContext(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	// What changed before the watch began may have been missed.
	select {
	case a.touched <- serviceName{}:
	case <-ctx.Done():
		return nil
	}
	for ev := range watcher.ResultChan() {
		if ev.Type == watch.Error {
			return nil
		}
		if name, ok := serviceOf(ev.Object); ok && ev.Type != watch.Bookmark {
			select {
			case a.touched <- name:
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

// serviceOf is the service that an object is, or is the endpoints of.
func serviceOf(obj runtime.Object) (serviceName, bool) {
	switch obj := obj.(type) {
	case *corev1.Service:
		return serviceName{obj.Namespace, obj.Name}, true
	case *discoveryv1.EndpointSlice:
		name := obj.Labels[discoveryv1.LabelServiceName]
		return serviceName{obj.Namespace, name}, name != ""
	}
	return serviceName{}, false
}
