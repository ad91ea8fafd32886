package registry

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

// deletion is what a delete request does to an object: it goes, and next is what the
// client is shown of it; or next is written in its place; or (both unset) it stays as
// it is, since it is on its way out.
type deletion struct {
	remove bool
	next   runtime.Object
}

// decideDeletion follows upstream's rules: the grace period may only get shorter,
// finalizers and whatever else holds the object keep it until they are gone, and
// the propagation policy becomes a finalizer for the garbage collector.
func decideDeletion(res *resource.Resource, old runtime.Object, opts *metav1.DeleteOptions, now time.Time) (deletion, error) {
	next := old.DeepCopyObject()
	obj, err := meta.Accessor(next)
	if err != nil {
		return deletion{}, err
	}
	graceful := res.GracePeriod != nil
	first := obj.GetDeletionTimestamp() == nil
	var grace int64
	shortened := false
	switch {
	case first && graceful:
		grace = max(res.GracePeriod(old, opts), 0)
	case !first && graceful && ptr.Deref(obj.GetDeletionGracePeriodSeconds(), 0) > 0:
		given := *obj.GetDeletionGracePeriodSeconds()
		if opts.GracePeriodSeconds == nil || *opts.GracePeriodSeconds >= given {
			return deletion{}, nil
		}
		grace = max(*opts.GracePeriodSeconds, 0)
		end := obj.GetDeletionTimestamp().Add(time.Duration(grace-given) * time.Second)
		if end.Before(now) {
			// It is over already: what is left is as short as it may be.
			end, grace = now.Truncate(time.Second), min(grace, 1)
		}
		obj.SetDeletionTimestamp(&metav1.Time{Time: end})
		obj.SetDeletionGracePeriodSeconds(&grace)
		shortened = true
	}
	finalizers := deletionFinalizers(res, obj.GetFinalizers(), opts)
	changed := !slices.Equal(finalizers, obj.GetFinalizers())
	if changed {
		obj.SetFinalizers(finalizers)
	}
	kept := len(finalizers) > 0 || res.Held != nil && res.Held(next)
	if grace == 0 && !kept {
		if graceful {
			if first {
				obj.SetDeletionTimestamp(&metav1.Time{Time: now.Truncate(time.Second)})
				bumpGeneration(obj)
			}
			obj.SetDeletionGracePeriodSeconds(&grace)
		}
		return deletion{remove: true, next: next}, nil
	}
	switch {
	case first:
		end := metav1.NewTime(now.Add(time.Duration(grace) * time.Second).Truncate(time.Second))
		obj.SetDeletionTimestamp(&end)
		obj.SetDeletionGracePeriodSeconds(&grace)
		bumpGeneration(obj)
	case !changed && !shortened:
		return deletion{}, nil
	}
	if res.PrepareForDelete != nil {
		res.PrepareForDelete(next)
	}
	return deletion{next: next}, nil
}

// bumpGeneration counts the wish that an object be gone as one of its generations.
func bumpGeneration(obj metav1.Object) {
	if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
}

// deletionFinalizers are the object's finalizers with those of the garbage
// collector as the request wants them.
func deletionFinalizers(res *resource.Resource, finalizers []string, opts *metav1.DeleteOptions) []string {
	orphan := slices.Contains(finalizers, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(finalizers, metav1.FinalizerDeleteDependents)
	switch {
	case opts.OrphanDependents != nil:
		orphan, foreground = *opts.OrphanDependents, false
	case opts.PropagationPolicy != nil:
		orphan = *opts.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *opts.PropagationPolicy == metav1.DeletePropagationForeground
	case !orphan && !foreground:
		orphan = res.DefaultPropagation == metav1.DeletePropagationOrphan
		foreground = res.DefaultPropagation == metav1.DeletePropagationForeground
	}
	out := make([]string, 0, len(finalizers)+1)
	for _, f := range finalizers {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			out = append(out, f)
		}
	}
	if orphan {
		out = append(out, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		out = append(out, metav1.FinalizerDeleteDependents)
	}
	return out
}

// goesWith says whether an update of a deleted object takes away the last thing
// that kept it: it has no finalizers left and its grace period is over.
func goesWith(old, obj metav1.Object) bool {
	grace := old.GetDeletionGracePeriodSeconds()
	return len(obj.GetFinalizers()) == 0 && (grace == nil || *grace == 0)
}

func (r *Registry) held(obj runtime.Object) bool {
	return r.Resource.Held != nil && r.Resource.Held(obj)
}
