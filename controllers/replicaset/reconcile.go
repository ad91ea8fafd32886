package replicaset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podset"
)

// View is what one reconcile sees.
type View struct {
	Set      *appsv1.ReplicaSet
	Selector labels.Selector
	Pods     []*corev1.Pod // controlled by the set, and the orphans of its namespace
	Related  []*corev1.Pod // of all sets with the same controller; nil if there is none
}

// Reconcile decides which pods to create and delete, and the status.
func Reconcile(v View, now time.Time) controllers.Plan {
	rs := v.Set
	replicas := 1
	if rs.Spec.Replicas != nil {
		replicas = int(*rs.Spec.Replicas)
	}
	d := podset.Decide(podset.Set{
		Owner: rs, Kind: Kind, Replicas: replicas, Selector: v.Selector, Template: &rs.Spec.Template,
		MinReady: time.Duration(rs.Spec.MinReadySeconds) * time.Second, Pods: v.Pods, Related: v.Related,
	}, now)
	return controllers.Plan{
		Steps: d.Steps,
		After: d.Status.Wait,
		Then: func(o controllers.Outcome) []controllers.Write {
			updated := rs.DeepCopy()
			updated.Status = status(rs, d, o, now)
			if apiequality.Semantic.DeepEqual(updated.Status, rs.Status) {
				return nil
			}
			return []controllers.Write{{Verb: controllers.UpdateStatus, Object: updated}}
		},
	}
}

func status(rs *appsv1.ReplicaSet, d podset.Decision, o controllers.Outcome, now time.Time) appsv1.ReplicaSetStatus {
	terminating := d.Status.Terminating
	s := appsv1.ReplicaSetStatus{
		Replicas:             d.Status.Replicas,
		FullyLabeledReplicas: d.Status.FullyLabeled,
		ReadyReplicas:        d.Status.Ready,
		AvailableReplicas:    d.Status.Available,
		TerminatingReplicas:  &terminating,
		ObservedGeneration:   rs.Generation,
	}
	failure := d.FailureReason(o)
	failed := false
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure {
			if failure == "" {
				continue
			}
			failed = true
		}
		s.Conditions = append(s.Conditions, c)
	}
	if failure != "" && !failed {
		s.Conditions = append(s.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(now), Reason: failure, Message: o.Err.Error(),
		})
	}
	return s
}
