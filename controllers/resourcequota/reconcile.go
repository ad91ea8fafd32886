package resourcequota

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/internal/quota"
)

// Count is what the objects of one resource use of what a quota limits by these names:
// of those in its scopes.
func Count(q *corev1.ResourceQuota, of schema.GroupResource, names []corev1.ResourceName, all []runtime.Object, now time.Time) corev1.ResourceList {
	used := corev1.ResourceList{}
	for _, name := range names {
		used[name] = resource.Quantity{Format: q.Spec.Hard.Name(name, resource.DecimalSI).Format}
	}
	for _, obj := range all {
		if quota.Covers(q, q.Spec.Hard, of, obj) {
			used = quota.Add(used, quota.Only(quota.Usage(of, obj, now), names))
		}
	}
	return used
}

// Status is what the status of a quota should be, nil if it is that: the limits of the
// spec, and what is used of them. Of what could not be counted it keeps what it knew.
func Status(q *corev1.ResourceQuota, used corev1.ResourceList) *corev1.ResourceQuotaStatus {
	next := &corev1.ResourceQuotaStatus{Hard: q.Spec.Hard.DeepCopy(), Used: corev1.ResourceList{}}
	if next.Hard == nil {
		next.Hard = corev1.ResourceList{}
	}
	for name := range next.Hard {
		if now, counted := used[name]; counted {
			next.Used[name] = now
		} else if before, known := q.Status.Used[name]; known {
			next.Used[name] = before.DeepCopy()
		}
	}
	if q.Status.Hard != nil && q.Status.Used != nil && quota.Equal(next.Hard, q.Status.Hard) && quota.Equal(next.Used, q.Status.Used) {
		return nil
	}
	return next
}

func quantityOf(n int) resource.Quantity { return *resource.NewQuantity(int64(n), resource.DecimalSI) }
