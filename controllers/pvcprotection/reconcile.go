package pvcprotection

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/finalizer"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// Finalizer is that of protected claims.
const Finalizer = "kubernetes.io/pvc-protection"

// View is what there is to see of a claim.
type View struct {
	Claim *corev1.PersistentVolumeClaim
	// Pods are those that have a volume with the name of the claim.
	Pods []*corev1.Pod
	// Sure says that there are no others, not even such as a cache has yet to show.
	Sure bool
}

// Reconcile decides what to write. When it rests on there being no other pods, and the
// view is not sure of that, it decides nothing and returns false.
func Reconcile(v View, now time.Time) (controllers.Plan, bool) {
	c := v.Claim
	if c.DeletionTimestamp == nil {
		// The status first: the finalizer is missing in the next view too.
		if to, ok := unused(v, now); ok {
			if to.Status == corev1.ConditionTrue && !v.Sure {
				return controllers.Plan{}, false
			}
			return controllers.Do(withCondition(c, to)), true
		}
	} else if finalizer.Holds(c, Finalizer) && !heldByAny(v) && !v.Sure {
		return controllers.Plan{}, false
	}
	return finalizer.Plan(c, Finalizer, heldByAny(v)), true
}

func heldByAny(v View) bool {
	return slices.ContainsFunc(v.Pods, func(p *corev1.Pod) bool { return holds(p, v.Claim) })
}

// holds: a pod keeps a claim once it has a node, because a kubelet starts no pod whose
// claim is being deleted. A claim that was made for a pod is kept until the kubelet
// is done with that pod: the pod itself may wait for the claim to go.
func holds(p *corev1.Pod, c *corev1.PersistentVolumeClaim) bool {
	return p.Spec.NodeName != "" && names(p, c, !shutDown(p))
}

// refers: a pod that has not ended counts as a user of the claim, even without a node.
func refers(p *corev1.Pod, c *corev1.PersistentVolumeClaim) bool {
	return !ended(p) && names(p, c, true)
}

// names says whether a pod has the claim among its volumes; ephemeral, whether a claim
// that was made for it counts.
func names(p *corev1.Pod, c *corev1.PersistentVolumeClaim, ephemeralToo bool) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.Name {
			return true
		}
		return ephemeralToo && v.Ephemeral != nil && ephemeral.VolumeClaimName(p, &v) == c.Name && ephemeral.VolumeIsForPod(p, c) == nil
	})
}

// shutDown: the kubelet is done with the pod, or it was deleted by force.
func shutDown(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}

// ended: the pod has run to its end, or is being deleted and has nothing running.
func ended(p *corev1.Pod) bool {
	if podstate.IsTerminal(p) {
		return true
	}
	if p.DeletionTimestamp == nil {
		return false
	}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range statuses {
			if s := statuses[i].State; s.Terminated == nil && s.Waiting == nil {
				return false
			}
		}
	}
	return true
}

// unused is the condition that says whether any pod uses a bound claim, where it is
// not as it should be.
func unused(v View, now time.Time) (corev1.PersistentVolumeClaimCondition, bool) {
	if v.Claim.Status.Phase != corev1.ClaimBound {
		return corev1.PersistentVolumeClaimCondition{}, false // who binds it writes its status
	}
	to := corev1.PersistentVolumeClaimCondition{
		Type: corev1.PersistentVolumeClaimUnused, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now),
		Reason: "NoPodsUsingPVC", Message: "No pods are currently referencing this PVC",
	}
	if slices.ContainsFunc(v.Pods, func(p *corev1.Pod) bool { return refers(p, v.Claim) }) {
		to.Status, to.Reason, to.Message = corev1.ConditionFalse, "PodUsingPVC", "A pod is currently referencing this PVC"
	}
	is := condition(v.Claim)
	if is == nil {
		return to, true
	}
	// What is not "true" is as good as "false".
	return to, (is.Status == corev1.ConditionTrue) != (to.Status == corev1.ConditionTrue)
}

func condition(c *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimCondition {
	i := slices.IndexFunc(c.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool {
		return c.Type == corev1.PersistentVolumeClaimUnused
	})
	if i < 0 {
		return nil
	}
	return &c.Status.Conditions[i]
}

func withCondition(c *corev1.PersistentVolumeClaim, to corev1.PersistentVolumeClaimCondition) controllers.Write {
	changed := c.DeepCopy()
	if have := condition(changed); have != nil {
		*have = to
	} else {
		changed.Status.Conditions = append(changed.Status.Conditions, to)
	}
	return controllers.Write{Verb: controllers.UpdateStatus, Object: changed}
}
