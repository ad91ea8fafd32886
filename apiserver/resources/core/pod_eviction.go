package core

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

var evictionGVK = policyv1.SchemeGroupVersion.WithKind("Eviction")

func newEviction() runtime.Object { return &policyv1.Eviction{} }

// evictionTries bounds how often an eviction starts over because the pod changed
// while it was decided.
const evictionTries = 20

// evictPod deletes a pod on behalf of whoever drains its node, where the disruption
// budget of the pod allows it, and leaves the reason in its conditions.
func evictPod(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
	eviction, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Eviction object: %T", obj))
	}
	if eviction.Name != req.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	opts := eviction.DeleteOptions.DeepCopy()
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	if err := checkEvictionOptions(req.Name, opts); err != nil {
		return nil, err
	}
	if len(opts.DryRun) > 0 {
		req.DryRun = true
	} else if req.DryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	e := evicting{objects: objects, req: req, opts: opts, pinned: opts.Preconditions != nil && opts.Preconditions.ResourceVersion != nil}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	return created(), nil
}

// checkEvictionOptions refuses options that no deletion takes, and that to delete what
// cannot be read, which an eviction has to read.
func checkEvictionOptions(name string, opts *metav1.DeleteOptions) error {
	if ptr.Deref(opts.IgnoreStoreReadErrorWithClusterBreakingPotential, false) {
		at := field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential")
		return apierrors.NewInvalid(evictionGVK.GroupKind(), name, field.ErrorList{
			field.Invalid(at, true, "can not be set for pod eviction, try after removing the option"),
		})
	}
	if errs := validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "DeleteOptions"}, "", errs)
	}
	return nil
}

// evicting is one eviction.
type evicting struct {
	objects resource.Objects
	req     resource.Request
	opts    *metav1.DeleteOptions
	// pinned: the client itself says of which version of the pod it speaks.
	pinned bool
}

func (e evicting) run(ctx context.Context) error {
	var pod *corev1.Pod
	for try := 1; ; try++ {
		var err error
		if pod, err = e.pod(ctx); err != nil {
			return err
		}
		if !outsideBudgets(pod) {
			break
		}
		// A pod that is starting could become ready, and count, at any moment.
		err = e.delete(ctx, pod, pod.Status.Phase == corev1.PodPending && pod.DeletionTimestamp == nil)
		if !apierrors.IsConflict(err) || e.pinned || try == evictionTries || ctx.Err() != nil {
			return err
		}
	}
	budget, unready, err := e.spend(ctx, pod)
	if err != nil {
		return err
	}
	err = e.delete(ctx, pod, unready)
	if apierrors.IsConflict(err) && unready && !e.pinned {
		// The pod may have become ready since: the client is to ask again.
		return beingProcessed(budget)
	}
	return err
}

func (e evicting) pod(ctx context.Context) (*corev1.Pod, error) {
	obj, err := e.objects.Get(ctx, podResource, e.req.Namespace, e.req.Name)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}

// delete marks the pod as disrupted and deletes it; exactly says that it must still
// be as it was when that was decided.
func (e evicting) delete(ctx context.Context, decided *corev1.Pod, exactly bool) error {
	opts := e.opts
	if exactly && !e.pinned {
		opts = opts.DeepCopy()
		requireVersion(opts, decided.ResourceVersion)
	}
	if !e.req.DryRun {
		updated, err := e.objects.Update(ctx, e.req, podResource, e.req.Namespace, e.req.Name, func(obj runtime.Object) error {
			pod := obj.(*corev1.Pod)
			if err := preconditions(pod, opts.Preconditions); err != nil {
				return err
			}
			setCondition(&pod.Status, corev1.PodCondition{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
				LastTransitionTime: metav1.Now(), Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
			})
			return nil
		})
		if err != nil {
			return err
		}
		// The condition made a new version of the pod: it is the one to delete.
		if p := opts.Preconditions; p != nil && p.ResourceVersion != nil {
			opts = opts.DeepCopy()
			requireVersion(opts, updated.(*corev1.Pod).ResourceVersion)
		}
	}
	_, err := e.objects.Delete(ctx, e.req, podResource, e.req.Namespace, e.req.Name, opts)
	return err
}

func requireVersion(opts *metav1.DeleteOptions, version string) {
	if opts.Preconditions == nil {
		opts.Preconditions = &metav1.Preconditions{}
	}
	opts.Preconditions.ResourceVersion = ptr.To(version)
}

// outsideBudgets says that no budget counts the pod: it has ended, is ending, or has
// not begun.
func outsideBudgets(pod *corev1.Pod) bool {
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return true
	}
	return pod.DeletionTimestamp != nil
}

func preconditions(pod *corev1.Pod, p *metav1.Preconditions) error {
	switch {
	case p == nil:
		return nil
	case p.UID != nil && *p.UID != "" && *p.UID != pod.UID:
		return apierrors.NewConflict(podKind, pod.Name,
			fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, pod.UID))
	case p.ResourceVersion != nil && *p.ResourceVersion != "" && *p.ResourceVersion != pod.ResourceVersion:
		return apierrors.NewConflict(podKind, pod.Name,
			fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, pod.ResourceVersion))
	}
	return nil
}

// severalBudgets is the answer where more than one budget selects the pod.
func severalBudgets() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
		Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
	}}
}
