package registry

import (
	"context"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/store"
)

// Delete deletes an object or begins to. gone says that it is not there any more;
// obj is its last or its new state.
func (r *Registry) Delete(ctx context.Context, w Write, opts *metav1.DeleteOptions) (obj runtime.Object, gone bool, err error) {
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	if opts.GracePeriodSeconds != nil && *opts.GracePeriodSeconds < 0 {
		opts = opts.DeepCopy()
		second := int64(1)
		opts.GracePeriodSeconds = &second
	}
	key := r.key(w.Namespace, w.Name)
	current, err := r.start(ctx, w, key)
	if err != nil {
		return nil, false, err
	}
	for range maxTries {
		if err := ctx.Err(); err != nil {
			return nil, false, r.readError(err, 0)
		}
		if current == nil {
			return nil, false, r.notFound(w.Name)
		}
		obj, gone, retry, err := r.delete(ctx, w, key, opts, current)
		if retry != nil {
			current = retry.state
			continue
		}
		if err == nil || current.certain {
			return obj, gone, err
		}
		fresh, readErr := r.stored(ctx, key)
		if readErr != nil {
			return nil, false, readErr
		}
		if fresh != nil && fresh.revision == current.revision {
			return nil, false, err
		}
		current = fresh
	}
	return nil, false, r.conflict(w.Name)
}

// delete is one try.
func (r *Registry) delete(ctx context.Context, w Write, key string, opts *metav1.DeleteOptions, current *state) (runtime.Object, bool, *again, error) {
	accessor, err := meta.Accessor(current.obj)
	if err != nil {
		return nil, false, nil, apierrors.NewInternalError(err)
	}
	if err := r.preconditions(opts.Preconditions, w.Name, accessor); err != nil {
		return nil, false, nil, err
	}
	if !w.Trusted {
		attributes := r.attributes(&w, admission.Delete, nil, current.obj)
		attributes.Options = deleteOptions(opts)
		if w.Verb == "deletecollection" {
			attributes.Name = ""
		}
		if err := r.set.config.Admission.Admit(ctx, attributes); err != nil {
			return nil, false, nil, err
		}
		if err := r.set.config.Admission.Validate(ctx, attributes); err != nil {
			return nil, false, nil, err
		}
	}
	decision, err := decideDeletion(r.Resource, current.obj, opts, time.Now())
	if err != nil {
		return nil, false, nil, apierrors.NewInternalError(err)
	}
	switch {
	case decision.remove:
		finish, err := r.begin(ctx, w, nil, current.obj)
		if err != nil {
			return nil, false, nil, err
		}
		last := decision.next
		lastAccessor, err := meta.Accessor(last)
		if err != nil {
			finish(false)
			return nil, false, nil, apierrors.NewInternalError(err)
		}
		obj, retry, err := r.remove(ctx, w, key, last, lastAccessor, current)
		finish(err == nil && retry == nil && !w.DryRun)
		return obj, err == nil && retry == nil, retry, err
	case decision.next != nil:
		obj, retry, err := r.mark(ctx, w, key, decision.next, current)
		return obj, false, retry, err
	}
	if !current.certain {
		// Nothing to do, for a state that may be past: ask the store.
		fresh, err := r.stored(ctx, key)
		if err != nil {
			return nil, false, nil, err
		}
		if fresh == nil || fresh.revision != current.revision {
			return nil, false, &again{fresh}, nil
		}
	}
	return current.obj, false, nil, nil
}

// remove deletes the key; last is what the client is shown.
func (r *Registry) remove(ctx context.Context, w Write, key string, last runtime.Object, accessor metav1.Object, current *state) (runtime.Object, *again, error) {
	if w.DryRun {
		return last, nil, nil
	}
	revision, err := r.set.config.Store.Delete(ctx, key, store.At(current.revision))
	if err != nil {
		retry, err := r.lost(ctx, err)
		return nil, retry, err
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	return last, nil, nil
}

// mark writes an object that is being deleted and stays for now.
func (r *Registry) mark(ctx context.Context, w Write, key string, next runtime.Object, current *state) (runtime.Object, *again, error) {
	accessor, err := meta.Accessor(next)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	if w.DryRun {
		return next, nil, nil
	}
	accessor.SetResourceVersion("")
	data, err := r.encode(ctx, next)
	if err != nil {
		return nil, nil, err
	}
	revision, err := r.set.config.Store.Put(ctx, store.Put{Key: key, Value: data, If: store.At(current.revision), TTL: r.ttl(next)})
	if err != nil {
		retry, err := r.lost(ctx, err)
		return nil, retry, err
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	return next, nil, nil
}

// DeleteCollection deletes all that list selects and returns what that was, as it
// was. One that vanishes meanwhile is no error.
func (r *Registry) DeleteCollection(ctx context.Context, w Write, list ListOptions, opts *metav1.DeleteOptions) (*Page, error) {
	page, err := r.List(ctx, list)
	if err != nil {
		return nil, err
	}
	for _, e := range page.Entries {
		accessor, err := meta.Accessor(e.Object)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		one := w
		one.Namespace, one.Name = accessor.GetNamespace(), accessor.GetName()
		if _, _, err := r.Delete(ctx, one, opts); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return page, nil
}
