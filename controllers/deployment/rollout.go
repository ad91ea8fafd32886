package deployment

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// roll is the next step of a rolling update: first the new replica set grows as
// far as the surge allows, then the old ones shrink as far as availability allows.
func roll(d *appsv1.Deployment, s sets) []controllers.Write {
	if size(s.current) != replicas(d) {
		if writes := resize(d, s.current, nextSize(d, s)); len(writes) > 0 {
			return writes
		}
	}
	return shrinkOld(d, s)
}

// nextSize is the size that the new replica set (which may not exist yet) may have now.
func nextSize(d *appsv1.Deployment, s sets) int32 {
	now, want := size(s.current), replicas(d)
	if !isRolling(d) || now > want {
		return want
	}
	free := want + maxSurge(d) - sum(s.all(), size)
	return now + min(max(free, 0), want-now)
}

// shrinkOld takes pods away from the old replica sets. Pods that are not
// available go first: they help nobody.
func shrinkOld(d *appsv1.Deployment, s sets) (writes []controllers.Write) {
	if sum(s.old, size) == 0 {
		return nil
	}
	least := replicas(d) - maxUnavailable(d)
	newUnavailable := int32(0)
	if s.current != nil {
		newUnavailable = size(s.current) - available(s.current)
	}
	budget := sum(s.all(), size) - least - newUnavailable
	if budget <= 0 {
		return nil
	}
	to := map[*appsv1.ReplicaSet]int32{}
	for _, rs := range s.old {
		broken := min(budget, max(0, size(rs)-available(rs)))
		to[rs] = size(rs) - broken
		budget -= broken
	}
	// A status may still count pods that the set has been told to give up.
	spare := sum(s.all(), func(rs *appsv1.ReplicaSet) int32 { return min(available(rs), size(rs)) }) - least
	for _, rs := range s.old {
		n := min(max(spare, 0), to[rs])
		to[rs] -= n
		spare -= n
	}
	for _, rs := range s.old {
		if to[rs] != size(rs) {
			writes = append(writes, resize(d, rs, to[rs])...)
		}
	}
	return writes
}

// recreate is the next step of a deployment that must never run two versions at
// once. Wait means old pods still run.
func recreate(d *appsv1.Deployment, s sets, pods func() []*corev1.Pod) (writes []controllers.Write, wait bool) {
	for _, rs := range active(s.old) {
		writes = append(writes, resize(d, rs, 0)...)
	}
	if len(writes) > 0 {
		return writes, true
	}
	if oldPodsRun(s, pods) {
		return nil, true
	}
	if s.current == nil || size(s.current) == replicas(d) {
		return nil, false
	}
	return resize(d, s.current, replicas(d)), false
}

func oldPodsRun(s sets, pods func() []*corev1.Pod) bool {
	if sum(s.old, running) > 0 {
		return true
	}
	if len(s.old) == 0 {
		return false
	}
	for _, p := range pods() {
		if !podstate.IsTerminal(p) {
			return true
		}
	}
	return false
}

// cleanUp deletes the oldest replica sets beyond the history limit, of those
// that are empty and settled.
func cleanUp(d *appsv1.Deployment, old []*appsv1.ReplicaSet) (writes []controllers.Write) {
	if d.Spec.RevisionHistoryLimit == nil {
		return nil
	}
	var alive []*appsv1.ReplicaSet
	for _, rs := range old {
		if rs.DeletionTimestamp == nil {
			alive = append(alive, rs)
		}
	}
	slices.SortStableFunc(alive, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revision(a), revision(b)), olderFirst(a, b))
	})
	for _, rs := range alive[:max(0, len(alive)-int(*d.Spec.RevisionHistoryLimit))] {
		if running(rs) == 0 && size(rs) == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			writes = append(writes, controllers.Write{Verb: controllers.Delete, Object: rs})
		}
	}
	return writes
}
