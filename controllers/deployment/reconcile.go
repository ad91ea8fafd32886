package deployment

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/owners"
)

// View is what one reconcile sees.
type View struct {
	Deployment *appsv1.Deployment
	Selector   labels.Selector
	Sets       []*appsv1.ReplicaSet // controlled by the deployment, and the orphans of its namespace
	// Named finds any replica set of the namespace by name, nil if there is none.
	Named func(name string) *appsv1.ReplicaSet
	// OldPods lists the pods of the given replica sets that still exist. Only a
	// Recreate deployment asks.
	OldPods func(old []*appsv1.ReplicaSet) []*corev1.Pod
}

// Reconcile decides the deployment's next step. Each step is small: one kind of
// change, then the controller looks at the result.
func Reconcile(v View, now time.Time) controllers.Plan {
	d := v.Deployment
	if v.Selector.Empty() {
		plan := controllers.Plan{Events: []controllers.Event{{
			About: d, Type: corev1.EventTypeWarning, Reason: "SelectingAll",
			Message: "This deployment is selecting all pods. A non-empty selector is required.",
		}}}
		if d.Status.ObservedGeneration < d.Generation {
			status := d.Status
			status.ObservedGeneration = d.Generation
			plan.Steps = controllers.Do(withStatus(d, status, d.Annotations)...).Steps
		}
		return plan
	}
	owned, claims := owners.Claim(d, Kind, v.Selector, v.Sets)
	if len(claims) > 0 {
		return controllers.Do(claims...)
	}
	s := sortOut(d, owned)
	if d.DeletionTimestamp != nil {
		return controllers.Do(withStatus(d, counts(d, s, now), d.Annotations)...)
	}
	if writes := pauseCondition(d, now); len(writes) > 0 {
		return controllers.Do(writes...)
	}
	if writes := syncCurrent(d, s); len(writes) > 0 {
		return controllers.Do(writes...)
	}
	if d.Spec.Paused || wasScaled(d, s) {
		writes := scale(d, s)
		if d.Spec.Paused {
			writes = append(writes, cleanUp(d, s.old)...)
		}
		return controllers.Do(append(writes, withStatus(d, counts(d, s, now), annotations(d, s))...)...)
	}
	return rollout(v, s, now)
}

// rollout takes the next step of the deployment's strategy.
func rollout(v View, s sets, now time.Time) controllers.Plan {
	d := v.Deployment
	var writes []controllers.Write
	if isRolling(d) {
		if s.current == nil {
			return create(v, s, now)
		}
		writes = roll(d, s)
	} else {
		var wait bool
		writes, wait = recreate(d, s, func() []*corev1.Pod { return v.OldPods(s.old) })
		if !wait && s.current == nil {
			return create(v, s, now)
		}
	}
	if len(writes) == 0 && complete(d, &d.Status) {
		writes = cleanUp(d, s.old)
	}
	status := counts(d, s, now)
	progress(d, s, &status, now)
	plan := controllers.Do(append(writes, withStatus(d, status, annotations(d, s))...)...)
	plan.After = untilTimeout(d, &status, now)
	return plan
}

// create makes the replica set of a template that has none yet.
func create(v View, s sets, now time.Time) controllers.Plan {
	d := v.Deployment
	rs := newSet(d, s)
	if other := v.Named(rs.Name); other != nil {
		if metav1.IsControlledBy(other, d) && sameTemplate(&other.Spec.Template, &d.Spec.Template) {
			return controllers.Plan{} // it is there; the claim will see it
		}
		// Another template, or another owner, has the same hash: salt it.
		status := d.Status
		collisions := int32(1)
		if status.CollisionCount != nil {
			collisions = *status.CollisionCount + 1
		}
		status.CollisionCount = &collisions
		return controllers.Do(withStatus(d, status, d.Annotations)...)
	}
	w := controllers.Write{Verb: controllers.Create, Object: rs}
	if size(rs) > 0 {
		w.Done = &controllers.Event{
			About: d, Type: corev1.EventTypeNormal, Reason: "ScalingReplicaSet",
			Message: fmt.Sprintf("Scaled up replica set %s from 0 to %d", rs.Name, size(rs)),
		}
	}
	plan := controllers.Do(w)
	plan.Then = func(o controllers.Outcome) []controllers.Write {
		status := counts(d, s, now)
		if o.Err != nil {
			if hasDeadline(d) {
				setCondition(&status, now, appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonFailedCreate,
					fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, o.Err))
			}
			return withStatus(d, status, d.Annotations)
		}
		if hasDeadline(d) {
			setCondition(&status, now, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonCreated,
				fmt.Sprintf("Created new replica set %q", rs.Name))
		}
		return withStatus(d, status, withRevision(d, rs.Annotations[RevisionAnnotation]))
	}
	return plan
}

// newSet is the replica set of the deployment's template, at its first size.
func newSet(d *appsv1.Deployment, s sets) *appsv1.ReplicaSet {
	template := d.Spec.Template.DeepCopy()
	hash := templateHash(template, d.Status.CollisionCount)
	template.Labels = labels.Merge(template.Labels, labels.Set{appsv1.DefaultDeploymentUniqueLabelKey: hash})
	selector := d.Spec.Selector.DeepCopy()
	selector.MatchLabels = labels.Merge(selector.MatchLabels, labels.Set{appsv1.DefaultDeploymentUniqueLabelKey: hash})
	first := nextSize(d, s)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            d.Name + "-" + hash,
			Namespace:       d.Namespace,
			Labels:          labels.Merge(nil, template.Labels),
			OwnerReferences: []metav1.OwnerReference{owners.Ref(d, Kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &first, MinReadySeconds: d.Spec.MinReadySeconds, Selector: selector, Template: *template,
		},
	}
	annotateNew(d, rs, maxRevision(s.old)+1, false)
	return rs
}

// syncCurrent keeps what the newest replica set knows of the deployment in
// step: annotations and minReadySeconds.
func syncCurrent(d *appsv1.Deployment, s sets) []controllers.Write {
	if s.current == nil {
		return nil
	}
	rs := s.current.DeepCopy()
	changed := annotateNew(d, rs, maxRevision(s.old)+1, true)
	if !changed && rs.Spec.MinReadySeconds == d.Spec.MinReadySeconds {
		return nil
	}
	rs.Spec.MinReadySeconds = d.Spec.MinReadySeconds
	return []controllers.Write{{Verb: controllers.Update, Object: rs}}
}

// pauseCondition notes a pause and its end. The time that a deployment is
// paused does not count against its deadline.
func pauseCondition(d *appsv1.Deployment, now time.Time) []controllers.Write {
	if !hasDeadline(d) {
		return nil
	}
	c := condition(&d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == reasonTimedOut {
		return nil // a timeout stays visible until there is progress
	}
	noted := c != nil && c.Reason == reasonPaused
	status := d.Status
	status.Conditions = slices.Clone(status.Conditions)
	switch {
	case d.Spec.Paused && !noted:
		setCondition(&status, now, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case !d.Spec.Paused && noted:
		setCondition(&status, now, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
	return withStatus(d, status, d.Annotations)
}

// annotations are the deployment's, with the revision of its newest replica set.
func annotations(d *appsv1.Deployment, s sets) map[string]string {
	if s.current == nil || s.current.Annotations[RevisionAnnotation] == "" {
		return d.Annotations
	}
	return withRevision(d, s.current.Annotations[RevisionAnnotation])
}

func withRevision(d *appsv1.Deployment, revision string) map[string]string {
	return labels.Merge(d.Annotations, labels.Set{RevisionAnnotation: revision})
}

// withStatus is the write of a status and annotations, none where both are as
// they were.
func withStatus(d *appsv1.Deployment, status appsv1.DeploymentStatus, annotations map[string]string) []controllers.Write {
	if apiequality.Semantic.DeepEqual(d.Status, status) && apiequality.Semantic.DeepEqual(d.Annotations, annotations) {
		return nil
	}
	updated := d.DeepCopy()
	updated.Status, updated.Annotations = status, annotations
	return []controllers.Write{{Verb: controllers.UpdateStatus, Object: updated}}
}
