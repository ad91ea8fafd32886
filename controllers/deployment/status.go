package deployment

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The reasons of a deployment's conditions.
const (
	reasonAvailable          = "MinimumReplicasAvailable"
	reasonUnavailable        = "MinimumReplicasUnavailable"
	reasonCreated            = "NewReplicaSetCreated"
	reasonFound              = "FoundNewReplicaSet"
	reasonUpdated            = "ReplicaSetUpdated"
	reasonComplete           = "NewReplicaSetAvailable"
	reasonFailedCreate       = "ReplicaSetCreateError"
	reasonTimedOut           = "ProgressDeadlineExceeded"
	reasonPaused             = "DeploymentPaused"
	reasonResumed            = "DeploymentResumed"
	noDeadline         int32 = 1<<31 - 1 // this value of progressDeadlineSeconds means none
)

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != noDeadline
}

// counts is the status without what the progress adds: the numbers, and
// whether enough pods are available.
func counts(d *appsv1.Deployment, s sets, now time.Time) appsv1.DeploymentStatus {
	all := s.all()
	status := appsv1.DeploymentStatus{
		ObservedGeneration:  d.Generation,
		Replicas:            sum(all, running),
		UpdatedReplicas:     sum([]*appsv1.ReplicaSet{s.current}, running),
		ReadyReplicas:       sum(all, ready),
		AvailableReplicas:   sum(all, available),
		UnavailableReplicas: max(0, sum(all, size)-sum(all, available)),
		TerminatingReplicas: terminating(all),
		CollisionCount:      d.Status.CollisionCount,
		Conditions:          slices.Clone(d.Status.Conditions),
	}
	if status.AvailableReplicas >= replicas(d)-maxUnavailable(d) {
		setCondition(&status, now, appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonAvailable,
			"Deployment has minimum availability.")
	} else {
		setCondition(&status, now, appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonUnavailable,
			"Deployment does not have minimum availability.")
	}
	return status
}

// terminating is unknown (nil) as long as a replica set has not counted.
func terminating(list []*appsv1.ReplicaSet) *int32 {
	n := int32(0)
	for _, rs := range list {
		switch {
		case rs.Status.TerminatingReplicas != nil:
			n += *rs.Status.TerminatingReplicas
		case size(rs) > 0 || running(rs) > 0:
			return nil
		}
	}
	return &n
}

// progress adds how far the rollout has come.
func progress(d *appsv1.Deployment, s sets, status *appsv1.DeploymentStatus, now time.Time) {
	current := condition(&d.Status, appsv1.DeploymentProgressing)
	subject := fmt.Sprintf("Deployment %q", d.Name)
	if s.current != nil {
		subject = fmt.Sprintf("ReplicaSet %q", s.current.Name)
	}
	if hasDeadline(d) && current == nil && s.current != nil {
		setCondition(status, now, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonFound,
			fmt.Sprintf("Found new replica set %q", s.current.Name))
	}
	finished := status.Replicas == status.UpdatedReplicas && current != nil && current.Reason == reasonComplete
	switch {
	case !hasDeadline(d):
		removeCondition(status, appsv1.DeploymentProgressing)
	case finished:
		// A finished rollout stays so: what happens to its pods later is not a rollout.
	case complete(d, status):
		setCondition(status, now, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonComplete,
			subject+" has successfully progressed.")
	case movedOn(d, status):
		// Written anew each time: its update time is what the deadline counts from.
		removeCondition(status, appsv1.DeploymentProgressing)
		setCondition(status, now, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonUpdated,
			subject+" is progressing.")
		if current != nil && current.Status == corev1.ConditionTrue {
			condition(status, appsv1.DeploymentProgressing).LastTransitionTime = current.LastTransitionTime
		}
	case timedOut(d, status, now):
		setCondition(status, now, appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut,
			subject+" has timed out progressing.")
	}
	if c := failure(s); c != nil {
		setCondition(status, now, appsv1.DeploymentReplicaFailure, c.Status, c.Reason, c.Message)
	} else {
		removeCondition(status, appsv1.DeploymentReplicaFailure)
	}
}

// complete reports whether the rollout is over and every pod available.
func complete(d *appsv1.Deployment, status *appsv1.DeploymentStatus) bool {
	return status.UpdatedReplicas == replicas(d) && status.Replicas == replicas(d) &&
		status.AvailableReplicas == replicas(d) && status.ObservedGeneration >= d.Generation
}

// movedOn reports whether the new status is nearer to the goal than the old one.
func movedOn(d *appsv1.Deployment, status *appsv1.DeploymentStatus) bool {
	old := &d.Status
	return status.UpdatedReplicas > old.UpdatedReplicas ||
		status.Replicas-status.UpdatedReplicas < old.Replicas-old.UpdatedReplicas ||
		status.ReadyReplicas > old.ReadyReplicas ||
		status.AvailableReplicas > old.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, status *appsv1.DeploymentStatus, now time.Time) bool {
	c := condition(status, appsv1.DeploymentProgressing)
	switch {
	case !hasDeadline(d) || c == nil || c.Reason == reasonComplete:
		return false
	case c.Reason == reasonTimedOut:
		return true
	}
	return c.LastUpdateTime.Add(deadline(d)).Before(now)
}

func deadline(d *appsv1.Deployment) time.Duration {
	return time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
}

// untilTimeout is when a rollout that makes no progress has to be looked at
// again, 0 for never.
func untilTimeout(d *appsv1.Deployment, status *appsv1.DeploymentStatus, now time.Time) time.Duration {
	c := condition(status, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || complete(d, status) || c.Reason == reasonTimedOut || c.Reason == reasonComplete {
		return 0
	}
	return max(0, c.LastUpdateTime.Add(deadline(d)).Sub(now)) + time.Second
}

// failure is the first report of a replica set that cannot have its pods, of
// the newest set if it has one.
func failure(s sets) *appsv1.ReplicaSetCondition {
	list := s.old
	if s.current != nil {
		list = append([]*appsv1.ReplicaSet{s.current}, list...)
	}
	for _, rs := range list {
		for i := range rs.Status.Conditions {
			if c := &rs.Status.Conditions[i]; c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
				return c
			}
		}
	}
	return nil
}

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

// setCondition sets a condition unless status and reason are there already.
func setCondition(s *appsv1.DeploymentStatus, now time.Time, t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	at := metav1.NewTime(now)
	since := at
	if old := condition(s, t); old != nil {
		if old.Status == status && old.Reason == reason {
			return
		}
		if old.Status == status {
			since = old.LastTransitionTime
		}
	}
	removeCondition(s, t)
	s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{
		Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: at, LastTransitionTime: since,
	})
}

func removeCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}
