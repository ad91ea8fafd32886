package fakeapi

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func (a *API) delete(gvr schema.GroupVersionResource, ns, name string, opts metav1.DeleteOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	nn := types.NamespacedName{Namespace: ns, Name: name}
	old, ok := a.objects[gvr][nn]
	if !ok {
		return apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	if a.Deny != nil {
		if err := a.Deny("delete", gvr, old); err != nil {
			return err
		}
	}
	o := old.DeepCopyObject()
	m := accessor(o)
	if p := opts.Preconditions; p != nil {
		if p.UID != nil && *p.UID != m.GetUID() {
			return apierrors.NewConflict(gvr.GroupResource(), name, fmt.Errorf("the UID in the precondition differs"))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != m.GetResourceVersion() {
			return apierrors.NewConflict(gvr.GroupResource(), name, fmt.Errorf("the resource version in the precondition differs"))
		}
	}
	a.note("delete", gvr, nn)
	if policy := opts.PropagationPolicy; policy != nil {
		for finalizer, wanted := range map[string]metav1.DeletionPropagation{
			metav1.FinalizerOrphanDependents: metav1.DeletePropagationOrphan,
			metav1.FinalizerDeleteDependents: metav1.DeletePropagationForeground,
		} {
			finalizers := slices.DeleteFunc(slices.Clone(m.GetFinalizers()), func(f string) bool { return f == finalizer })
			if *policy == wanted {
				finalizers = append(finalizers, finalizer)
			}
			m.SetFinalizers(finalizers)
		}
	}
	grace := int64(0)
	switch o := o.(type) {
	case *corev1.Pod:
		switch {
		case opts.GracePeriodSeconds != nil:
			grace = *opts.GracePeriodSeconds
		case o.Spec.NodeName != "" && o.Status.Phase != corev1.PodSucceeded && o.Status.Phase != corev1.PodFailed:
			grace = 30
			if s := o.Spec.TerminationGracePeriodSeconds; s != nil {
				grace = *s
			}
		}
	case *corev1.Namespace:
		o.Status.Phase = corev1.NamespaceTerminating
	}
	if _, namespace := o.(*corev1.Namespace); !namespace && grace == 0 && len(m.GetFinalizers()) == 0 {
		a.remove(gvr, nn, o)
		return nil
	}
	if m.GetDeletionTimestamp() == nil {
		now := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second).Truncate(time.Second))
		m.SetDeletionTimestamp(&now)
		m.SetGeneration(m.GetGeneration() + 1)
	}
	m.SetDeletionGracePeriodSeconds(&grace)
	a.store(watch.Modified, gvr, nn, o)
	return nil
}

func (a *API) deleteCollection(gvr schema.GroupVersionResource, ns string, opts metav1.DeleteOptions) error {
	items, _ := a.snapshot(gvr, ns, nil)
	for _, o := range items {
		if err := a.delete(gvr, ns, accessor(o).GetName(), opts); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// note and what follows need a.mu.

func (a *API) note(verb string, gvr schema.GroupVersionResource, nn types.NamespacedName) {
	if gvr.Resource != "events" {
		a.writes = append(a.writes, verb+" "+gvr.Resource+" "+nn.String())
	}
}

func (a *API) store(event watch.EventType, gvr schema.GroupVersionResource, nn types.NamespacedName, o runtime.Object) {
	a.stamp(o)
	if a.objects[gvr] == nil {
		a.objects[gvr] = map[types.NamespacedName]runtime.Object{}
	}
	a.objects[gvr][nn] = o.DeepCopyObject()
	a.send(event, gvr, nn.Namespace, o)
}

func (a *API) remove(gvr schema.GroupVersionResource, nn types.NamespacedName, o runtime.Object) {
	a.stamp(o)
	delete(a.objects[gvr], nn)
	a.send(watch.Deleted, gvr, nn.Namespace, o)
}

func (a *API) stamp(o runtime.Object) {
	a.revision++
	accessor(o).SetResourceVersion(strconv.FormatInt(a.revision, 10))
}

func (a *API) send(event watch.EventType, gvr schema.GroupVersionResource, ns string, o runtime.Object) {
	for _, w := range a.watchers {
		if w.gvr != gvr || (w.namespace != "" && w.namespace != ns) {
			continue
		}
		e := watch.Event{Type: event, Object: o.DeepCopyObject()}
		if a.Lag == nil {
			w.ch <- e
			continue
		}
		w.pending = append(w.pending, e)
		a.delivery.Add(1)
		time.AfterFunc(a.Lag(gvr), w.deliver)
	}
}

// deliver hands over the oldest late event.
func (w *watcher) deliver() {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	defer w.api.delivery.Done()
	e := w.pending[0]
	w.pending = w.pending[1:]
	if !w.stopped {
		w.ch <- e
	}
}

// backlog is how many events a watcher may be behind. No test comes near it.
const backlog = 20000

func (a *API) watch(gvr schema.GroupVersionResource, ns string, opts metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &watcher{gvr: gvr, namespace: ns, ch: make(chan watch.Event, backlog), api: a}
	since, err := strconv.ParseInt(opts.ResourceVersion, 10, 64)
	if err != nil && opts.ResourceVersion != "" {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	// Between a list and its watch objects may have come or changed. None goes
	// unseen in the tests: informers start before anything moves.
	for nn, o := range a.objects[gvr] {
		rv, _ := strconv.ParseInt(accessor(o).GetResourceVersion(), 10, 64)
		if (ns == "" || ns == nn.Namespace) && rv > since {
			w.ch <- watch.Event{Type: watch.Added, Object: o.DeepCopyObject()}
		}
	}
	a.watchers = append(a.watchers, w)
	return w, nil
}

// ResultChan and Stop make a watcher a watch.Interface.
func (w *watcher) ResultChan() <-chan watch.Event { return w.ch }

func (w *watcher) Stop() {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	if w.stopped {
		return
	}
	w.stopped = true
	w.api.watchers = slices.DeleteFunc(w.api.watchers, func(x *watcher) bool { return x == w })
	close(w.ch)
}
