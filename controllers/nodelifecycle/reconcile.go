package nodelifecycle

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// View is what one reconcile sees of a node.
type View struct {
	Node *corev1.Node
	// Pods run on the node.
	Pods []*corev1.Pod
	// Seen is when the node last gave a sign of life, by this controller's clock.
	Seen time.Time
	// WasReady says that the node was ready when it was last looked at.
	WasReady bool
	// New says that the node has not been looked at before.
	New bool
	// Cut says that no node of the cluster is ready. Then it is rather this
	// controller that cannot see them, and no pod is driven away.
	Cut bool
	// MayEvict says that this node may get a NoExecute taint now.
	MayEvict bool
	// Grace is how long a node may be silent, Startup how long one may be that
	// has not yet posted a status.
	Grace, Startup time.Duration
}

// recheck is the time after which a node that is not ready is looked at again:
// whether it may be emptied depends on the others.
const recheck = 5 * time.Second

// Reconcile decides what to write about a node.
func Reconcile(v View, now time.Time) controllers.Plan {
	plan := decide(v, now)
	if v.New {
		plan.Events = append(plan.Events, event(v.Node, "RegisteredNode", fmt.Sprintf("Node %s event: Registered Node %s in Controller", v.Node.Name, v.Node.Name)))
	}
	return plan
}

func decide(v View, now time.Time) controllers.Plan {
	n := v.Node
	status := readiness(n)
	wait := silentAt(v).Sub(now)
	if wait <= 0 {
		if writes := unknown(n, now); len(writes) > 0 {
			// The pods and the taints follow when the node shows it.
			return controllers.Do(writes...)
		}
		wait = recheck
	}
	plan := controllers.Plan{After: wait}
	if status != corev1.ConditionTrue {
		plan.After = min(recheck, wait)
		if v.WasReady || status == corev1.ConditionUnknown {
			if v.WasReady {
				plan.Events = append(plan.Events, notReady(n))
			}
			if writes := podsNotReady(v.Pods, now); len(writes) > 0 {
				plan.Steps = append(plan.Steps, controllers.Step{Writes: writes, Mode: controllers.Together})
			}
		}
	}
	if taints, changed := Taints(v, now); changed {
		plan.Steps = append(plan.Steps, controllers.Step{Writes: []controllers.Write{setTaints(n, taints)}})
	}
	return plan
}

// silentAt is when the node's silence has lasted too long.
func silentAt(v View) time.Time {
	if condition(v.Node, corev1.NodeReady) == nil {
		return v.Node.CreationTimestamp.Add(v.Startup)
	}
	return v.Seen.Add(v.Grace)
}

// readiness is the node's Ready condition, empty if it never had one.
func readiness(n *corev1.Node) corev1.ConditionStatus {
	if c := condition(n, corev1.NodeReady); c != nil {
		return c.Status
	}
	return ""
}

func condition(n *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// unknown sets what only the kubelet could know to unknown.
func unknown(n *corev1.Node, now time.Time) []controllers.Write {
	updated := n.DeepCopy()
	changed := false
	for _, t := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		c := condition(updated, t)
		switch {
		case c == nil:
			updated.Status.Conditions = append(updated.Status.Conditions, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated",
				Message: "Kubelet never posted node status.", LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
			changed = true
		case c.Status != corev1.ConditionUnknown:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			c.LastTransitionTime = metav1.NewTime(now)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return []controllers.Write{{Verb: controllers.UpdateStatus, Object: updated}}
}

// podsNotReady takes the pods of a silent node out of their services.
func podsNotReady(pods []*corev1.Pod, now time.Time) (writes []controllers.Write) {
	for _, p := range pods {
		c := podstate.Condition(p, corev1.PodReady)
		if c == nil || c.Status != corev1.ConditionTrue {
			continue
		}
		not := *c
		not.Status, not.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(now)
		data, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": p.UID},
			"status":   map[string]any{"conditions": []corev1.PodCondition{not}},
		})
		if err != nil {
			panic(err) // plain values always encode
		}
		writes = append(writes, controllers.Write{
			Verb: controllers.Patch, Object: p, PatchType: types.StrategicMergePatchType, PatchData: data, Subresource: "status",
			Ignore: apierrors.IsNotFound,
			Done:   &controllers.Event{About: p, Type: corev1.EventTypeWarning, Reason: "NodeNotReady", Message: "Node is not ready"},
		})
	}
	return writes
}

// conditionTaints are the taints that follow from a node's conditions.
var conditionTaints = map[corev1.NodeConditionType]map[corev1.ConditionStatus]string{
	corev1.NodeReady: {
		corev1.ConditionFalse:   corev1.TaintNodeNotReady,
		corev1.ConditionUnknown: corev1.TaintNodeUnreachable,
	},
	corev1.NodeMemoryPressure:     {corev1.ConditionTrue: corev1.TaintNodeMemoryPressure},
	corev1.NodeDiskPressure:       {corev1.ConditionTrue: corev1.TaintNodeDiskPressure},
	corev1.NodePIDPressure:        {corev1.ConditionTrue: corev1.TaintNodePIDPressure},
	corev1.NodeNetworkUnavailable: {corev1.ConditionTrue: corev1.TaintNodeNetworkUnavailable},
}

// Wants are the taints that the state of the node asks for, without a time.
func Wants(n *corev1.Node, mayEvict, hasEvict bool) (wants []corev1.Taint) {
	for _, c := range n.Status.Conditions {
		if key := conditionTaints[c.Type][c.Status]; key != "" {
			wants = append(wants, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
			if c.Type == corev1.NodeReady && (mayEvict || hasEvict) {
				wants = append(wants, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute})
			}
		}
	}
	if n.Spec.Unschedulable {
		wants = append(wants, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	return wants
}

// Taints are the node's taints as they should be, and whether that is a change.
// Taints of others stay as they are.
func Taints(v View, now time.Time) (taints []corev1.Taint, changed bool) {
	wants := Wants(v.Node, v.MayEvict && !v.Cut, isEvicting(v.Node) && !v.Cut)
	for _, t := range v.Node.Spec.Taints {
		at := slices.IndexFunc(wants, func(w corev1.Taint) bool { return w.Key == t.Key && w.Effect == t.Effect })
		switch {
		case at >= 0:
			wants = slices.Delete(wants, at, at+1)
		case managed(t):
			changed = true
			continue
		}
		taints = append(taints, t)
	}
	for _, t := range wants {
		added := metav1.NewTime(now)
		t.TimeAdded = &added
		taints = append(taints, t)
		changed = true
	}
	return taints, changed
}

// managed reports whether the taint is one that this controller sets and removes.
func managed(t corev1.Taint) bool {
	switch t.Key {
	case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	case corev1.TaintNodeMemoryPressure, corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure,
		corev1.TaintNodeNetworkUnavailable, corev1.TaintNodeUnschedulable:
		return t.Effect == corev1.TaintEffectNoSchedule
	}
	return false
}

// isEvicting reports whether the node has one of the taints that drive pods away.
func isEvicting(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoExecute && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
	})
}

// NeedsEviction reports whether the node should be emptied and is not yet.
func NeedsEviction(n *corev1.Node) bool {
	status := readiness(n)
	return (status == corev1.ConditionFalse || status == corev1.ConditionUnknown) && !isEvicting(n)
}

func setTaints(n *corev1.Node, taints []corev1.Taint) controllers.Write {
	data, err := json.Marshal(map[string]any{
		// With the version, so that a taint somebody else adds now is not lost.
		"metadata": map[string]any{"resourceVersion": n.ResourceVersion},
		"spec":     map[string]any{"taints": taints},
	})
	if err != nil {
		panic(err) // plain values always encode
	}
	return controllers.Write{Verb: controllers.Patch, Object: n, PatchType: types.MergePatchType, PatchData: data}
}

func notReady(n *corev1.Node) controllers.Event {
	return event(n, "NodeNotReady", fmt.Sprintf("Node %s status is now: NodeNotReady", n.Name))
}

func event(n *corev1.Node, reason, message string) controllers.Event {
	about := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}
	return controllers.Event{About: about, Type: corev1.EventTypeNormal, Reason: reason, Message: message}
}
