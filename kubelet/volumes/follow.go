package volumes

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// Back-off between attempts to follow an object, doubled up to the maximum.
const (
	followDelay    = 200 * time.Millisecond
	followMaxDelay = 30 * time.Second
)

// follow keeps one entry current until ctx ends, nobody refers to it any more,
// or it is known to be immutable.
func (o *Objects) follow(ctx context.Context, e *objectEntry) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	released := make(chan struct{})
	go func() { // ends with this function: cancel is deferred
		defer close(released)
		select {
		case <-e.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-released }()

	delay := followDelay
	for {
		final, progressed, err := o.followOnce(ctx, e)
		if final || ctx.Err() != nil {
			return
		}
		if progressed {
			delay = followDelay
		}
		if err != nil {
			o.cfg.Logger.V(2).Info("watch of an object that pods refer to ended", "kind", e.ref.Kind.String(), "namespace", e.ref.Namespace, "name", e.ref.Name, "err", err)
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		delay = min(delay*2, followMaxDelay)
	}
}

// followOnce reads the object and watches it until the watch ends. final means
// that it needs no more watching.
func (o *Objects) followOnce(ctx context.Context, e *objectEntry) (final, progressed bool, err error) {
	selector := fields.OneTermEqualSelector("metadata.name", e.ref.Name).String()
	object, revision, err := o.list(ctx, e.ref, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		return false, false, err
	}
	o.set(e, object)
	if immutable(object) {
		return true, true, nil
	}
	w, err := o.watch(ctx, e.ref, metav1.ListOptions{FieldSelector: selector, ResourceVersion: revision, AllowWatchBookmarks: true})
	if err != nil {
		return false, true, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, true, nil
		case event, ok := <-w.ResultChan():
			if !ok {
				return false, true, nil
			}
			switch event.Type {
			case watch.Error:
				return false, true, apierrors.FromObject(event.Object)
			case watch.Bookmark:
				continue
			}
			m, ok := event.Object.(metav1.Object)
			if !ok {
				return false, true, fmt.Errorf("watch delivered a %T", event.Object)
			}
			if m.GetName() != e.ref.Name {
				continue
			}
			if event.Type == watch.Deleted {
				o.set(e, nil)
				continue
			}
			o.set(e, event.Object)
			if immutable(event.Object) {
				return true, true, nil
			}
		}
	}
}

func (o *Objects) list(ctx context.Context, ref Ref, opts metav1.ListOptions) (object any, revision string, err error) {
	if ref.Kind == KindSecret {
		list, err := o.cfg.Client.CoreV1().Secrets(ref.Namespace).List(ctx, opts)
		if err != nil {
			return nil, "", err
		}
		for i := range list.Items {
			if list.Items[i].Name == ref.Name {
				return &list.Items[i], list.ResourceVersion, nil
			}
		}
		return nil, list.ResourceVersion, nil
	}
	list, err := o.cfg.Client.CoreV1().ConfigMaps(ref.Namespace).List(ctx, opts)
	if err != nil {
		return nil, "", err
	}
	for i := range list.Items {
		if list.Items[i].Name == ref.Name {
			return &list.Items[i], list.ResourceVersion, nil
		}
	}
	return nil, list.ResourceVersion, nil
}

func (o *Objects) watch(ctx context.Context, ref Ref, opts metav1.ListOptions) (watch.Interface, error) {
	if ref.Kind == KindSecret {
		return o.cfg.Client.CoreV1().Secrets(ref.Namespace).Watch(ctx, opts)
	}
	return o.cfg.Client.CoreV1().ConfigMaps(ref.Namespace).Watch(ctx, opts)
}

func immutable(object any) bool {
	switch x := object.(type) {
	case *corev1.ConfigMap:
		return x.Immutable != nil && *x.Immutable
	case *corev1.Secret:
		return x.Immutable != nil && *x.Immutable
	}
	return false
}
