package core

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"
)

var (
	budgetResource = schema.GroupResource{Group: policyv1.GroupName, Resource: "poddisruptionbudgets"}
	// What messages name, which is not always the resource.
	budgetNamed = schema.GroupResource{Group: policyv1.GroupName, Resource: "poddisruptionbudget"}
	podKind     = schema.GroupResource{Resource: "Pod"}
)

// maxDisrupted bounds the evictions that a budget's controller has not seen yet.
const maxDisrupted = 2000

// spend takes one disruption from the budget of the pod, and names the budget.
// unready says that nothing was taken, for a pod that is not ready and does not
// count; this holds for as long as the pod is as it is.
func (e evicting) spend(ctx context.Context, pod *corev1.Pod) (name string, unready bool, err error) {
	budgets, err := e.budgets(ctx, pod)
	if err != nil || len(budgets) == 0 {
		return "", false, err
	}
	if len(budgets) > 1 {
		return "", false, severalBudgets()
	}
	budget := budgets[0]
	if !ready(pod) && letsUnreadyGo(budget) {
		return budget.Name, true, nil
	}
	take := func(obj runtime.Object) error {
		return takeDisruption(obj.(*policyv1.PodDisruptionBudget), pod.Name, metav1.Now())
	}
	if e.req.DryRun {
		return budget.Name, false, take(budget.DeepCopy())
	}
	_, err = e.objects.Update(ctx, e.req, budgetResource, budget.Namespace, budget.Name, take)
	if apierrors.IsConflict(err) {
		err = apierrors.NewTimeoutError(fmt.Sprintf("couldn't update PodDisruptionBudget %q due to conflicts", budget.Name), 10)
	}
	return budget.Name, false, err
}

// budgets are those that select the pod. A selector that is malformed or empty
// selects nothing.
func (e evicting) budgets(ctx context.Context, pod *corev1.Pod) ([]*policyv1.PodDisruptionBudget, error) {
	list, err := e.objects.List(ctx, budgetResource, pod.Namespace)
	if err != nil {
		return nil, err
	}
	var out []*policyv1.PodDisruptionBudget
	for _, obj := range list {
		budget := obj.(*policyv1.PodDisruptionBudget)
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		out = append(out, budget)
	}
	return out, nil
}

func ready(pod *corev1.Pod) bool {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// letsUnreadyGo says that the budget does not protect a pod which is not ready: by
// its policy, or because what it protects is healthy without that pod.
func letsUnreadyGo(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// takeDisruption counts one more disruption, and tells the budget's controller of
// which pod, or says why there may be none.
func takeDisruption(b *policyv1.PodDisruptionBudget, pod string, now metav1.Time) error {
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return beingProcessed(b.Name)
	case b.Status.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(budgetNamed, b.Name, errors.New("pdb disruptions allowed is negative"))
	case len(b.Status.DisruptedPods) > maxDisrupted:
		return apierrors.NewForbidden(budgetNamed, b.Name, errors.New("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case b.Status.DisruptionsAllowed == 0:
		return overBudget(0, whyNone(b))
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptionsAllowed == 0 {
		pdbhelper.UpdateDisruptionAllowedCondition(b)
	}
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	b.Status.DisruptedPods[pod] = now
	return nil
}

func whyNone(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	told := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case told && c.Reason == policyv1.SyncFailedReason:
		// The numbers of a failed sync mean nothing.
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", b.Name, c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	case told:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", b.Name, c.Reason, c.Message)
	}
	return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", b.Name)
}

// beingProcessed asks the client to come back when the budget's controller has seen
// its last change.
func beingProcessed(budget string) error {
	return overBudget(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget))
}

func overBudget(retryAfterSeconds int, cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfterSeconds)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}
