package core

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
)

var evictionGVK = policyv1.SchemeGroupVersion.WithKind("Eviction")

func newEviction() runtime.Object { return &policyv1.Eviction{} }

// evictPod deletes a pod on behalf of whoever drains its node, and leaves the
// reason in its conditions.
func evictPod(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
	eviction, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Eviction object: %T", obj))
	}
	if eviction.Name != "" && eviction.Name != req.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	opts := eviction.DeleteOptions.DeepCopy()
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	if len(opts.DryRun) > 0 {
		req.DryRun = true
	} else if req.DryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	current, err := objects.Get(ctx, podResource, req.Namespace, req.Name)
	if err != nil {
		return nil, err
	}
	if err := preconditions(current.(*corev1.Pod), opts.Preconditions); err != nil {
		return nil, err
	}
	if !req.DryRun && marksDisruption(current.(*corev1.Pod)) {
		updated, err := objects.Update(ctx, req, podResource, req.Namespace, req.Name, func(obj runtime.Object) error {
			pod := obj.(*corev1.Pod)
			if err := preconditions(pod, opts.Preconditions); err != nil {
				return err
			}
			setCondition(&pod.Status, corev1.PodCondition{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
				ObservedGeneration: pod.Generation, LastTransitionTime: metav1.Now(),
				Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
		// The condition made a new version of the pod: it is the one to delete.
		if p := opts.Preconditions; p != nil && p.ResourceVersion != nil {
			version := updated.(*corev1.Pod).ResourceVersion
			p.ResourceVersion = &version
		}
	}
	if _, err := objects.Delete(ctx, req, podResource, req.Namespace, req.Name, opts); err != nil {
		return nil, err
	}
	return created(), nil
}

func marksDisruption(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func preconditions(pod *corev1.Pod, p *metav1.Preconditions) error {
	switch {
	case p == nil:
		return nil
	case p.UID != nil && *p.UID != pod.UID:
		return apierrors.NewConflict(podResource, pod.Name,
			fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, pod.UID))
	case p.ResourceVersion != nil && *p.ResourceVersion != pod.ResourceVersion:
		return apierrors.NewConflict(podResource, pod.Name,
			fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, pod.ResourceVersion))
	}
	return nil
}
