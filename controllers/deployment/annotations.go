package deployment

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// The annotations that carry a deployment's history. kubectl reads them.
const (
	RevisionAnnotation        = "deployment.kubernetes.io/revision"
	RevisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	DesiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	MaxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"
	rollbackAnnotation        = "deprecated.deployment.rollback.to"
)

// maxHistory bounds the revision-history annotation, in characters.
const maxHistory = 2000

// ownAnnotations are not copied from a deployment to its replica sets.
var ownAnnotations = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true,
	RevisionAnnotation:                 true,
	RevisionHistoryAnnotation:          true,
	DesiredReplicasAnnotation:          true,
	MaxReplicasAnnotation:              true,
	rollbackAnnotation:                 true,
}

// revision is the number in the annotation, 0 if there is none.
func revision(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[RevisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func maxRevision(sets []*appsv1.ReplicaSet) (most int64) {
	for _, rs := range sets {
		most = max(most, revision(rs))
	}
	return most
}

// annotateNew brings the annotations of the deployment's newest replica set up
// to date, in place, and reports whether anything changed.
func annotateNew(d *appsv1.Deployment, rs *appsv1.ReplicaSet, newRevision int64, exists bool) bool {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	changed := false
	for k, v := range d.Annotations {
		if old, ok := rs.Annotations[k]; !ownAnnotations[k] && (!ok || old != v) {
			rs.Annotations[k] = v
			changed = true
		}
	}
	old, had := rs.Annotations[RevisionAnnotation]
	if revision(rs) < newRevision {
		rs.Annotations[RevisionAnnotation] = strconv.FormatInt(newRevision, 10)
		if had && old != "" {
			rs.Annotations[RevisionHistoryAnnotation] = history(rs.Annotations[RevisionHistoryAnnotation], old)
		}
		changed = true
	}
	if !exists && annotateReplicas(d, rs) {
		changed = true
	}
	return changed
}

// history appends a revision, and drops the oldest ones where the line gets too long.
func history(line, revision string) string {
	if line == "" {
		return revision
	}
	past := append(strings.Split(line, ","), revision)
	for len(past) > 1 && len(strings.Join(past, ",")) > maxHistory {
		past = past[1:]
	}
	return strings.Join(past, ",")
}

// annotateReplicas notes, in place, the size of the deployment that the replica
// set was last scaled for, and reports whether anything changed.
func annotateReplicas(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	changed := false
	for k, n := range map[string]int32{DesiredReplicasAnnotation: replicas(d), MaxReplicasAnnotation: replicas(d) + maxSurge(d)} {
		if v := strconv.FormatInt(int64(n), 10); rs.Annotations[k] != v {
			rs.Annotations[k] = v
			changed = true
		}
	}
	return changed
}

// annotatedCount is the number in one of those annotations.
func annotatedCount(rs *appsv1.ReplicaSet, annotation string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[annotation], 10, 32)
	return int32(n), err == nil
}
