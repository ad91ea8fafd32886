package podstate

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Victims returns the pods in the order in which a controller with too many of
// them deletes: the one that is missed least comes first. Crowd says how many
// related replicas each pod shares its node with; from the fullest node go the first.
func Victims(pods []*corev1.Pod, crowd map[*corev1.Pod]int, now time.Time) []*corev1.Pod {
	order := slices.Clone(pods)
	slices.SortStableFunc(order, func(a, b *corev1.Pod) int { return compareVictims(a, b, crowd, now) })
	return order
}

func compareVictims(a, b *corev1.Pod, crowd map[*corev1.Pod]int, now time.Time) int {
	aReady, bReady := IsReady(a), IsReady(b)
	if c := cmp.Or(
		falseFirst(a.Spec.NodeName != "", b.Spec.NodeName != ""),
		cmp.Compare(phaseRank(a), phaseRank(b)),
		falseFirst(aReady, bReady),
		cmp.Compare(deletionCost(a), deletionCost(b)),
		cmp.Compare(crowd[b], crowd[a]),
	); c != 0 {
		return c
	}
	if aReady && bReady {
		if c, decided := youngerFirst(readySince(a).Time, readySince(b).Time, now, a, b); decided {
			return c
		}
	}
	for _, sidecars := range []bool{false, true} {
		if c := cmp.Compare(restarts(b, sidecars), restarts(a, sidecars)); c != 0 {
			return c
		}
	}
	c, _ := youngerFirst(a.CreationTimestamp.Time, b.CreationTimestamp.Time, now, a, b)
	return c
}

// youngerFirst compares two ages by their order of magnitude. Pods of about the
// same age go in an order that has nothing to do with it, so that a scale-down
// does not always take the last zone that was filled. Decided is false if the
// times are the same.
func youngerFirst(aSince, bSince, now time.Time, a, b *corev1.Pod) (c int, decided bool) {
	switch {
	case aSince.Equal(bSince):
		return 0, false
	case aSince.IsZero():
		return -1, true
	case bSince.IsZero():
		return 1, true
	}
	return cmp.Or(cmp.Compare(magnitude(now.Sub(aSince)), magnitude(now.Sub(bSince))), cmp.Compare(a.UID, b.UID)), true
}

// magnitude is the binary logarithm of the age in nanoseconds, -1 for none.
func magnitude(age time.Duration) int {
	if age <= 0 {
		return -1
	}
	return bits.Len64(uint64(age)) - 1
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodRunning:
		return 2
	case corev1.PodUnknown:
		return 1
	}
	return 0
}

// deletionCost reads the annotation people set on pods they would rather keep.
// What is not a plain 32-bit number counts as 0.
func deletionCost(p *corev1.Pod) int32 {
	value, ok := p.Annotations[corev1.PodDeletionCost]
	if !ok || value == "" || value[0] == '+' || (len(value) > 1 && value[0] == '0') {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// restarts is the highest restart count among the pod's containers or, for
// sidecars, among its restartable init containers.
func restarts(p *corev1.Pod, sidecars bool) (most int32) {
	if !sidecars {
		for i := range p.Status.ContainerStatuses {
			most = max(most, p.Status.ContainerStatuses[i].RestartCount)
		}
		return most
	}
	always := map[string]bool{}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		always[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	}
	for i := range p.Status.InitContainerStatuses {
		if s := &p.Status.InitContainerStatuses[i]; always[s.Name] {
			most = max(most, s.RestartCount)
		}
	}
	return most
}
