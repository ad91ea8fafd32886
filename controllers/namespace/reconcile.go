package namespace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/strake-io/strake/controllers"
)

// View is what one reconcile sees of a namespace that is being deleted.
type View struct {
	Namespace *corev1.Namespace
	// Contents is what the namespace still holds, by resource.
	Contents []Content
	// DiscoveryErr is what kept the list of resources from being complete.
	DiscoveryErr error
}

// Content are the objects of one resource in the namespace.
type Content struct {
	Resource schema.GroupVersionResource
	Items    []metav1.PartialObjectMetadata
	// Err is what kept them from being listed.
	Err error
	// Collection says that the resource can be deleted as a whole.
	Collection bool
	// Grace is how long the objects may take to go, for those that take time.
	Grace time.Duration
}

// Waits between two looks at what is left.
const (
	again         = 50 * time.Millisecond // after deletes went out
	finalizerWait = 8 * time.Second       // where only finalizers hold objects
)

// Reconcile decides the next step of emptying the namespace: pods first, since
// they may need everything else to end well, then all the rest, and when nothing
// is left the namespace itself.
func Reconcile(v View, now time.Time) controllers.Plan {
	ns := v.Namespace
	if ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return controllers.Plan{}
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		updated := ns.DeepCopy()
		updated.Status.Phase = corev1.NamespaceTerminating
		return controllers.Do(controllers.Write{Verb: controllers.UpdateStatus, Object: updated})
	}
	var left []Content
	clean := v.DiscoveryErr == nil
	for _, c := range v.Contents {
		clean = clean && c.Err == nil && len(c.Items) == 0
		if len(c.Items) > 0 {
			left = append(left, c)
		}
	}
	if clean {
		return finalize(v, now)
	}
	turn := slices.DeleteFunc(slices.Clone(left), func(c Content) bool { return !isPods(c.Resource) })
	if len(turn) == 0 {
		turn = left
	}
	deletes := remove(turn)
	plan := controllers.Plan{After: wait(turn, len(deletes) > 0)}
	if len(deletes) > 0 {
		plan.Steps = []controllers.Step{{Writes: deletes, Mode: controllers.Together}}
	}
	plan.Then = func(o controllers.Outcome) []controllers.Write { return report(v, o.Err, now) }
	return plan
}

func isPods(r schema.GroupVersionResource) bool { return r.Group == "" && r.Resource == "pods" }

// wait is the time until the next look.
func wait(turn []Content, acted bool) time.Duration {
	if acted {
		return again
	}
	longest := time.Duration(0)
	for _, c := range turn {
		longest = max(longest, c.Grace)
	}
	if longest == 0 {
		return finalizerWait
	}
	return longest/2 + time.Second
}

// remove are the deletes of what is not on its way out already.
func remove(turn []Content) (writes []controllers.Write) {
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	for _, c := range turn {
		var fresh []*metav1.PartialObjectMetadata
		for i := range c.Items {
			if c.Items[i].DeletionTimestamp == nil {
				fresh = append(fresh, &c.Items[i])
			}
		}
		switch {
		case len(fresh) == 0:
		case c.Collection:
			all := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: fresh[0].Namespace, Name: "*"}}
			writes = append(writes, controllers.Write{Verb: controllers.DeleteCollection, Object: all, Resource: c.Resource, DeleteOptions: opts})
		default:
			for _, o := range fresh {
				writes = append(writes, controllers.Write{Verb: controllers.Delete, Object: o, Resource: c.Resource, DeleteOptions: opts})
			}
		}
	}
	return writes
}

// report writes down what stands in the way.
func report(v View, deleteErr error, now time.Time) []controllers.Write {
	updated := v.Namespace.DeepCopy()
	updated.Status.Conditions = conditions(v, deleteErr, now)
	if apiequality.Semantic.DeepEqual(updated.Status, v.Namespace.Status) {
		return nil
	}
	return []controllers.Write{{Verb: controllers.UpdateStatus, Object: updated}}
}

func finalize(v View, now time.Time) controllers.Plan {
	if writes := report(v, nil, now); len(writes) > 0 && len(v.Namespace.Status.Conditions) > 0 {
		// Whoever still waits for another finalizer sees that it is not the content.
		return controllers.Do(writes...)
	}
	updated := v.Namespace.DeepCopy()
	updated.Spec.Finalizers = slices.DeleteFunc(updated.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	return controllers.Do(controllers.Write{Verb: controllers.Finalize, Object: updated})
}

// conditions are the namespace's conditions after this pass.
func conditions(v View, deleteErr error, now time.Time) []corev1.NamespaceCondition {
	var errs []string
	for _, c := range v.Contents {
		if c.Err != nil {
			errs = append(errs, c.Err.Error())
		}
	}
	if deleteErr != nil {
		errs = append(errs, deleteErr.Error())
	}
	counts, finalizers := remaining(v.Contents)
	out := slices.Clone(v.Namespace.Status.Conditions)
	set := func(t corev1.NamespaceConditionType, bad bool, badReason, badMessage, reason, message string) {
		status := corev1.ConditionFalse
		if bad {
			status, reason, message = corev1.ConditionTrue, badReason, badMessage
		}
		at := slices.IndexFunc(out, func(c corev1.NamespaceCondition) bool { return c.Type == t })
		if at < 0 {
			out = append(out, corev1.NamespaceCondition{Type: t})
			at = len(out) - 1
		}
		if out[at].Status != status || out[at].Reason != reason || out[at].Message != message {
			out[at] = corev1.NamespaceCondition{Type: t, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now)}
		}
	}
	set(corev1.NamespaceDeletionDiscoveryFailure, v.DiscoveryErr != nil,
		"DiscoveryFailed", discoveryFailure(v.DiscoveryErr),
		"ResourcesDiscovered", "All resources successfully discovered")
	set(corev1.NamespaceDeletionGVParsingFailure, false, "", "",
		"ParsedGroupVersions", "All legacy kube types successfully parsed")
	set(corev1.NamespaceDeletionContentFailure, len(errs) > 0,
		"ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", len(errs), strings.Join(errs, ", ")),
		"ContentDeleted", "All content successfully deleted, may be waiting on finalization")
	set(corev1.NamespaceContentRemaining, len(counts) > 0,
		"SomeResourcesRemain", "Some resources are remaining: "+list(counts, " has %d resource instances"),
		"ContentRemoved", "All content successfully removed")
	set(corev1.NamespaceFinalizersRemaining, len(finalizers) > 0,
		"SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+list(finalizers, " in %d resource instances"),
		"ContentHasNoFinalizers", "All content-preserving finalizers finished")
	return out
}

func discoveryFailure(err error) string {
	if err == nil {
		return ""
	}
	var groups *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &groups) {
		return fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(groups.Groups), err)
	}
	return err.Error()
}

// remaining counts what is left by resource and by finalizer.
func remaining(contents []Content) (counts, finalizers map[string]int) {
	counts, finalizers = map[string]int{}, map[string]int{}
	for _, c := range contents {
		if len(c.Items) == 0 {
			continue
		}
		counts[c.Resource.Resource+"."+c.Resource.Group] += len(c.Items)
		for i := range c.Items {
			for _, f := range c.Items[i].Finalizers {
				finalizers[f]++
			}
		}
	}
	return counts, finalizers
}

func list(counts map[string]int, format string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s"+format, name, counts[name]))
	}
	return strings.Join(parts, ", ")
}
