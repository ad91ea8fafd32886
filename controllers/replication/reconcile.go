package replication

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podset"
)

// View is what one reconcile sees.
type View struct {
	Controller *corev1.ReplicationController
	Pods       []*corev1.Pod // controlled by it, and the orphans of its namespace
}

// Reconcile decides which pods to create and delete, and the status.
func Reconcile(v View, now time.Time) controllers.Plan {
	rc := v.Controller
	replicas := 1
	if rc.Spec.Replicas != nil {
		replicas = int(*rc.Spec.Replicas)
	}
	template := rc.Spec.Template
	if template == nil {
		return controllers.Plan{}
	}
	d := podset.Decide(podset.Set{
		Owner: rc, Kind: Kind, Replicas: replicas, Selector: labels.Set(rc.Spec.Selector).AsSelectorPreValidated(),
		Template: template, MinReady: time.Duration(rc.Spec.MinReadySeconds) * time.Second, Pods: v.Pods,
	}, now)
	return controllers.Plan{
		Steps: d.Steps,
		After: d.Status.Wait,
		Then: func(o controllers.Outcome) []controllers.Write {
			updated := rc.DeepCopy()
			updated.Status = status(rc, d, o, now)
			if apiequality.Semantic.DeepEqual(updated.Status, rc.Status) {
				return nil
			}
			return []controllers.Write{{Verb: controllers.UpdateStatus, Object: updated}}
		},
	}
}

func status(rc *corev1.ReplicationController, d podset.Decision, o controllers.Outcome, now time.Time) corev1.ReplicationControllerStatus {
	s := corev1.ReplicationControllerStatus{
		Replicas:             d.Status.Replicas,
		FullyLabeledReplicas: d.Status.FullyLabeled,
		ReadyReplicas:        d.Status.Ready,
		AvailableReplicas:    d.Status.Available,
		ObservedGeneration:   rc.Generation,
	}
	failure := d.FailureReason(o)
	failed := false
	for _, c := range rc.Status.Conditions {
		if c.Type == corev1.ReplicationControllerReplicaFailure {
			if failure == "" {
				continue
			}
			failed = true
		}
		s.Conditions = append(s.Conditions, c)
	}
	if failure != "" && !failed {
		s.Conditions = append(s.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerReplicaFailure, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(now), Reason: failure, Message: o.Err.Error(),
		})
	}
	return s
}
