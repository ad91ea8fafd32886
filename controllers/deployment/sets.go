package deployment

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// replicas is the wanted number of pods.
func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// size is the number of pods that a replica set is told to have.
func size(rs *appsv1.ReplicaSet) int32 {
	if rs == nil {
		return 0
	}
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

func isRolling(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType
}

// bounds resolves maxSurge, rounded up, and maxUnavailable, rounded down. Both
// cannot be 0, or nothing would ever move.
func bounds(d *appsv1.Deployment) (surge, unavailable int32) {
	if !isRolling(d) {
		return 0, 0
	}
	var s, u *intstr.IntOrString
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		s, u = r.MaxSurge, r.MaxUnavailable
	}
	surge, unavailable = scaled(s, replicas(d), true), scaled(u, replicas(d), false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func scaled(v *intstr.IntOrString, of int32, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(of), up)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
}

func maxSurge(d *appsv1.Deployment) int32 {
	surge, _ := bounds(d)
	return surge
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	if !isRolling(d) || replicas(d) == 0 {
		return 0
	}
	_, unavailable := bounds(d)
	return min(unavailable, replicas(d))
}

// sets are a deployment's replica sets, sorted out.
type sets struct {
	current *appsv1.ReplicaSet   // has the deployment's template; nil if there is none yet
	old     []*appsv1.ReplicaSet // all others, oldest first
}

func sortOut(d *appsv1.Deployment, owned []*appsv1.ReplicaSet) sets {
	var s sets
	byAge := slices.Clone(owned)
	slices.SortStableFunc(byAge, olderFirst)
	for _, rs := range byAge {
		// Of several equal ones the oldest is it: always the same answer.
		if s.current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			s.current = rs
			continue
		}
		s.old = append(s.old, rs)
	}
	return s
}

func olderFirst(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// sameTemplate compares two templates without the label that tells replica sets apart.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return apiequality.Semantic.DeepEqual(withoutHash(a), withoutHash(b))
}

func withoutHash(t *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	if _, ok := t.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return t
	}
	shallow := *t
	shallow.Labels = make(map[string]string, len(t.Labels))
	for k, v := range t.Labels {
		if k != appsv1.DefaultDeploymentUniqueLabelKey {
			shallow.Labels[k] = v
		}
	}
	return &shallow
}

func (s sets) all() []*appsv1.ReplicaSet {
	if s.current == nil {
		return slices.Clone(s.old)
	}
	return append(slices.Clone(s.old), s.current)
}

// active are the replica sets that are told to have pods.
func active(list []*appsv1.ReplicaSet) (out []*appsv1.ReplicaSet) {
	for _, rs := range list {
		if size(rs) > 0 {
			out = append(out, rs)
		}
	}
	return out
}

// sum adds up a number over replica sets, nil ones left out.
func sum(list []*appsv1.ReplicaSet, of func(*appsv1.ReplicaSet) int32) (n int32) {
	for _, rs := range list {
		if rs != nil {
			n += of(rs)
		}
	}
	return n
}

func running(rs *appsv1.ReplicaSet) int32   { return rs.Status.Replicas }
func ready(rs *appsv1.ReplicaSet) int32     { return rs.Status.ReadyReplicas }
func available(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas }
