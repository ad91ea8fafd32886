// Package podset keeps a number of identical pods: what replica sets and
// replication controllers have in common.
package podset

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/owners"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// burst is how many pods one reconcile creates or deletes at most.
const burst = 500

// Set is a wanted set of pods with what is known about it.
type Set struct {
	Owner    controllers.Object
	Kind     schema.GroupVersionKind
	Replicas int
	Selector labels.Selector
	Template *corev1.PodTemplateSpec
	MinReady time.Duration
	// Pods are the candidates: those that the owner controls, and orphans.
	Pods []*corev1.Pod
	// Related are the pods of the sets that belong to the same controller; nil
	// means the set stands alone. They count when the fullest node is looked for.
	Related []*corev1.Pod
}

// Status counts the pods of a set.
type Status struct {
	Replicas, FullyLabeled, Ready, Available, Terminating int32
	// Wait is when the next pod becomes available, 0 if none is on the way.
	Wait time.Duration
}

// Decision is what is to be done about a set.
type Decision struct {
	Steps  []controllers.Step
	Status Status
	// Missing is how many pods the steps create; negative if they delete.
	Missing int
}

// Decide compares what is with what is wanted.
func Decide(s Set, now time.Time) Decision {
	var candidates, terminating []*corev1.Pod
	for _, p := range s.Pods {
		switch {
		case podstate.IsActive(p):
			candidates = append(candidates, p)
		case podstate.IsTerminating(p) && metav1.IsControlledBy(p, s.Owner) && s.Selector.Matches(labels.Set(p.Labels)):
			terminating = append(terminating, p)
		}
	}
	active, claims := owners.Claim(s.Owner, s.Kind, s.Selector, candidates)

	d := Decision{Status: count(s, active, len(terminating), now), Missing: s.Replicas - len(active)}
	switch {
	case len(claims) > 0:
		// First it must be certain whose pods these are; the count comes when
		// the informer has shown the answer.
		d.Steps = append(d.Steps, controllers.Step{Writes: claims})
		d.Missing = 0
	case s.Owner.GetDeletionTimestamp() != nil:
		d.Missing = 0
	case d.Missing > 0:
		d.Steps = append(d.Steps, controllers.Step{Writes: creates(s, min(d.Missing, burst)), Mode: controllers.SlowStart})
	case d.Missing < 0:
		related := s.Related
		if related == nil {
			related = active
		}
		victims := podstate.Victims(active, crowd(active, related), now)[:min(-d.Missing, burst)]
		d.Steps = append(d.Steps, controllers.Step{Writes: deletes(s, victims), Mode: controllers.Together})
	}
	return d
}

func count(s Set, active []*corev1.Pod, terminating int, now time.Time) Status {
	st := Status{Replicas: int32(len(active)), Terminating: int32(terminating)}
	wanted := labels.Set(s.Template.Labels).AsSelectorPreValidated()
	for _, p := range active {
		if wanted.Matches(labels.Set(p.Labels)) {
			st.FullyLabeled++
		}
		if podstate.IsReady(p) {
			st.Ready++
		}
		available, wait := podstate.Available(p, s.MinReady, now)
		if available {
			st.Available++
		}
		st.Wait = controllers.Sooner(st.Wait, wait)
	}
	return st
}

// crowd counts, for each pod, the active related pods on its node.
func crowd(pods, related []*corev1.Pod) map[*corev1.Pod]int {
	perNode := map[string]int{}
	for _, p := range related {
		if podstate.IsActive(p) {
			perNode[p.Spec.NodeName]++
		}
	}
	ranks := make(map[*corev1.Pod]int, len(pods))
	for _, p := range pods {
		ranks[p] = perNode[p.Spec.NodeName]
	}
	return ranks
}

func creates(s Set, n int) []controllers.Write {
	writes := make([]controllers.Write, n)
	for i := range writes {
		writes[i] = controllers.Write{
			Verb:   controllers.Create,
			Object: newPod(s),
			Done:   &controllers.Event{About: s.Owner, Type: corev1.EventTypeNormal, Reason: "SuccessfulCreate", Message: "Created pod: %s"},
			Failed: &controllers.Event{About: s.Owner, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "Error creating: %s"},
		}
	}
	return writes
}

func deletes(s Set, victims []*corev1.Pod) []controllers.Write {
	writes := make([]controllers.Write, len(victims))
	for i, p := range victims {
		writes[i] = controllers.Write{
			Verb:   controllers.Delete,
			Object: p,
			Done:   &controllers.Event{About: s.Owner, Type: corev1.EventTypeNormal, Reason: "SuccessfulDelete", Message: "Deleted pod: %s"},
			Failed: &controllers.Event{About: s.Owner, Type: corev1.EventTypeWarning, Reason: "FailedDelete", Message: "Error deleting: %s"},
		}
	}
	return writes
}

func newPod(s Set) *corev1.Pod {
	t := s.Template.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       s.Owner.GetNamespace(),
			GenerateName:    namePrefix(s.Owner.GetName()),
			Labels:          t.Labels,
			Annotations:     t.Annotations,
			Finalizers:      t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{owners.Ref(s.Owner, s.Kind)},
		},
		Spec: t.Spec,
	}
}

// namePrefix is what pod names begin with. A dash follows the owner's name
// where the result can still begin a pod's name.
func namePrefix(owner string) string {
	if len(validation.IsDNS1123Subdomain(owner+"-x")) == 0 {
		return owner + "-"
	}
	return owner
}

// FailureReason is the reason of the ReplicaFailure condition after a plan
// failed. It is empty if the failure had nothing to do with the number of pods.
func (d Decision) FailureReason(o controllers.Outcome) string {
	switch {
	case o.Err == nil || d.Missing == 0:
		return ""
	case d.Missing > 0:
		return "FailedCreate"
	}
	return "FailedDelete"
}
