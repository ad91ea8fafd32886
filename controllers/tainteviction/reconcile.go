package tainteviction

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// View is what one reconcile sees.
type View struct {
	Pod    *corev1.Pod
	Taints []corev1.Taint // of the pod's node, those with effect NoExecute
	// Since is when a taint came that does not say so itself.
	Since func(corev1.Taint) time.Time
}

// Reconcile decides whether the pod has to leave its node, and when.
func Reconcile(v View, now time.Time) controllers.Plan {
	p := v.Pod
	if len(v.Taints) == 0 || p.DeletionTimestamp != nil || podstate.IsTerminal(p) {
		return controllers.Plan{}
	}
	at, leaves := Deadline(v)
	switch {
	case !leaves:
		return controllers.Plan{}
	case now.Before(at):
		return controllers.Plan{After: at.Sub(now)}
	}
	plan := controllers.Do(disrupted(p, now), controllers.Write{Verb: controllers.Delete, Object: p})
	plan.Events = []controllers.Event{{
		About: p, Type: corev1.EventTypeNormal, Reason: "TaintManagerEviction",
		Message: fmt.Sprintf("Marking for deletion Pod %s/%s", p.Namespace, p.Name),
	}}
	return plan
}

// Deadline is when the pod has to leave; leaves is false if it may stay for ever.
// What a toleration grants counts from when both were there, the taint and the pod:
// a pod that comes to a node with an old taint has its time, too.
func Deadline(v View) (at time.Time, leaves bool) {
	bound := boundSince(v.Pod)
	for _, taint := range v.Taints {
		since := v.Since(taint)
		if taint.TimeAdded != nil {
			since = taint.TimeAdded.Time
		}
		if since.Before(bound) {
			since = bound
		}
		until, stays := tolerated(v.Pod.Spec.Tolerations, taint, since)
		if stays {
			continue
		}
		if !leaves || until.Before(at) {
			at, leaves = until, true
		}
	}
	return at, leaves
}

// boundSince is when the pod got its node.
func boundSince(p *corev1.Pod) time.Time {
	if c := podstate.Condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}

// tolerated says until when the tolerations bear the taint; the zero time if they
// do not at all. The first that matches counts.
func tolerated(tolerations []corev1.Toleration, taint corev1.Taint, since time.Time) (until time.Time, stays bool) {
	for i := range tolerations {
		t := &tolerations[i]
		if !matches(t, taint) {
			continue
		}
		if t.TolerationSeconds == nil {
			return time.Time{}, true
		}
		return since.Add(time.Duration(max(0, *t.TolerationSeconds)) * time.Second), false
	}
	return time.Time{}, false
}

func matches(t *corev1.Toleration, taint corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect {
		return false
	}
	if t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case corev1.TolerationOpExists:
		return true
	case "", corev1.TolerationOpEqual:
		return t.Key != "" && t.Value == taint.Value
	}
	return false
}

func disrupted(p *corev1.Pod, now time.Time) controllers.Write {
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager",
			Message: "Taint manager: deleting due to NoExecute taint", LastTransitionTime: metav1.NewTime(now),
		}}},
	})
	if err != nil {
		panic(err) // plain values always encode
	}
	return controllers.Write{
		Verb: controllers.Patch, Object: p, PatchType: types.StrategicMergePatchType, PatchData: data,
		Subresource: "status", Ignore: apierrors.IsNotFound,
	}
}
