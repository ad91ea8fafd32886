// Package follow lists objects and watches them from there on, for those parts of the
// API server that keep all objects of a kind by themselves, in a loop that also waits for
// other things. Who only waits for events takes an informer.
package follow

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// most bounds how many events are taken together.
const most = 1000

// See is told of each object: of those that are listed as watch.Added.
type See func(event watch.EventType, obj runtime.Object)

// Open lists all objects, calls listed before the first of them is seen, and watches from
// there on. The caller stops the watch.
func Open(ctx context.Context, source cache.ListerWatcherWithContext, listed func(n int), see See) (watch.Interface, error) {
	list, err := source.ListWithContext(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	version, err := meta.NewAccessor().ResourceVersion(list)
	if err != nil {
		return nil, err
	}
	listed(len(items))
	for _, obj := range items {
		see(watch.Added, obj)
	}
	return source.WatchWithContext(ctx, metav1.ListOptions{ResourceVersion: version})
}

// Take passes an event on. over says that the watch has ended, in good order where err is
// nil.
func Take(event watch.Event, open bool, see See) (over bool, err error) {
	switch {
	case !open:
		return true, nil
	case event.Type == watch.Error:
		return true, apierrors.FromObject(event.Object)
	}
	see(event.Type, event.Object)
	return false, nil
}

// Drain takes the events that are there already, so that many that come together are
// acted on together. An end of the watch is left to be found by the next that waits.
func Drain(watcher watch.Interface, see See) {
	for range most {
		select {
		case event, open := <-watcher.ResultChan():
			if !open {
				return
			}
			see(event.Type, event.Object)
		default:
			return
		}
	}
}
