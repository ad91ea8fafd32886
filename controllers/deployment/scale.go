package deployment

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/controllers"
)

// resize is the write that gives a replica set a size. It is nil where nothing
// would change.
func resize(d *appsv1.Deployment, rs *appsv1.ReplicaSet, to int32) []controllers.Write {
	from := size(rs)
	updated := rs.DeepCopy()
	noted := annotateReplicas(d, updated)
	if from == to && !noted {
		return nil
	}
	updated.Spec.Replicas = &to
	w := controllers.Write{Verb: controllers.Update, Object: updated}
	if from != to {
		direction := "up"
		if to < from {
			direction = "down"
		}
		w.Done = &controllers.Event{
			About: d, Type: corev1.EventTypeNormal, Reason: "ScalingReplicaSet",
			Message: fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, rs.Name, from, to),
		}
	}
	return []controllers.Write{w}
}

// wasScaled reports whether the deployment's size has changed since its replica
// sets were last given theirs.
func wasScaled(d *appsv1.Deployment, s sets) bool {
	for _, rs := range active(s.all()) {
		if noted, ok := annotatedCount(rs, DesiredReplicasAnnotation); ok && noted != replicas(d) {
			return true
		}
	}
	return false
}

// scale follows a change of the deployment's size. In the middle of a rolling
// update every replica set gets its share of it.
func scale(d *appsv1.Deployment, s sets) (writes []controllers.Write) {
	if only, ok := onlyActive(s); ok {
		if only == nil {
			return nil
		}
		return resize(d, only, replicas(d))
	}
	if isSaturated(d, s.current) {
		for _, rs := range active(s.old) {
			writes = append(writes, resize(d, rs, 0)...)
		}
		return writes
	}
	if !isRolling(d) {
		// The rollout, which ends all but one of them, comes next: it is enough
		// to note that the change was seen.
		for _, rs := range active(s.all()) {
			writes = append(writes, resize(d, rs, size(rs))...)
		}
		return writes
	}
	list := active(s.all())
	for i, to := range shares(d, list) {
		writes = append(writes, resize(d, list[i], to)...)
	}
	return writes
}

// onlyActive is the one replica set to scale: the only one with pods or, if
// none has any, the newest. Not ok means several have pods.
func onlyActive(s sets) (*appsv1.ReplicaSet, bool) {
	switch list := active(s.all()); {
	case len(list) == 1:
		return list[0], true
	case len(list) > 1:
		return nil, false
	case s.current != nil:
		return s.current, true
	case len(s.old) > 0:
		return s.old[len(s.old)-1], true
	}
	return nil, true
}

// isSaturated reports whether the replica set has taken over completely.
func isSaturated(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	if rs == nil {
		return false
	}
	noted, ok := annotatedCount(rs, DesiredReplicasAnnotation)
	return ok && size(rs) == replicas(d) && noted == replicas(d) && available(rs) == replicas(d)
}

// shares divides the pods that the deployment may have among the active replica
// sets, in proportion to what they have. It sorts the list, the largest first;
// the largest takes what rounding leaves over.
func shares(d *appsv1.Deployment, list []*appsv1.ReplicaSet) []int32 {
	allowed := int32(0)
	if replicas(d) > 0 {
		allowed = replicas(d) + maxSurge(d)
	}
	change := allowed - sum(list, size)
	slices.SortStableFunc(list, func(a, b *appsv1.ReplicaSet) int {
		age := olderFirst(a, b)
		if change > 0 {
			age = -age // new pods rather go to the newer set
		}
		return cmp.Or(cmp.Compare(size(b), size(a)), age)
	})
	to := make([]int32, len(list))
	spent := int32(0)
	for i, rs := range list {
		share := int32(0)
		if rest := change - spent; change != 0 && rest != 0 {
			share = fraction(d, rs)
			if change > 0 {
				share = min(share, rest)
			} else {
				share = max(share, rest)
			}
		}
		to[i] = size(rs) + share
		spent += share
	}
	if len(to) > 0 {
		to[0] = max(0, to[0]+change-spent)
	}
	return to
}

// fraction is by how much the replica set would change if it kept its part of
// the whole.
func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	if replicas(d) == 0 {
		return -size(rs)
	}
	before, ok := annotatedCount(rs, MaxReplicasAnnotation)
	if !ok || before == 0 {
		// Nothing is noted: the last known size of the whole has to do.
		if before = d.Status.Replicas; before == 0 {
			return 0
		}
	}
	whole := replicas(d) + maxSurge(d)
	return int32(math.Round(float64(size(rs))*float64(whole)/float64(before))) - size(rs)
}
