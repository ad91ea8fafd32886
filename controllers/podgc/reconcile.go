package podgc

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// quarantine is how long a node must be missing before its pods are taken for
// lost: a node that registers again under its name finds them.
const quarantine = 40 * time.Second

// View is what one pass sees.
type View struct {
	Pods      []*corev1.Pod
	Nodes     map[string]*corev1.Node
	Threshold int // how many ended pods are kept
	// Missing says since when the nodes that pods name, and that do not exist,
	// have been missing.
	Missing map[string]time.Time
	// Gone are missing nodes that a live read has confirmed to be gone.
	Gone map[string]bool
}

// MissingNodes brings the memory of missing nodes up to date.
func MissingNodes(v View, now time.Time) map[string]time.Time {
	missing := map[string]time.Time{}
	for _, p := range v.Pods {
		name := p.Spec.NodeName
		if name == "" || v.Nodes[name] != nil {
			continue
		}
		missing[name] = now
		if since, ok := v.Missing[name]; ok {
			missing[name] = since
		}
	}
	return missing
}

// Due are the nodes that have been missing for the whole quarantine.
func Due(missing map[string]time.Time, now time.Time) (names []string) {
	for name, since := range missing {
		if now.Sub(since) >= quarantine {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Reconcile decides which pods to delete.
func Reconcile(v View, now time.Time) controllers.Plan {
	var remove []controllers.Write
	for _, p := range v.Pods {
		node := v.Nodes[p.Spec.NodeName]
		switch {
		case p.Spec.NodeName != "" && v.Gone[p.Spec.NodeName]:
			remove = append(remove, failed(p, "PodGC: node no longer exists", true, now))
		case p.Spec.NodeName == "" && p.DeletionTimestamp != nil:
			remove = append(remove, force(p)) // no kubelet will ever confirm it
		case p.DeletionTimestamp != nil && node != nil && outOfService(node):
			remove = append(remove, failed(p, "", false, now))
		}
	}
	remove = append(remove, surplus(v)...)
	if len(remove) == 0 {
		return controllers.Plan{}
	}
	return controllers.Plan{Steps: []controllers.Step{{Writes: remove, Mode: controllers.Together}}}
}

// surplus are the deletes of ended pods beyond the threshold, the oldest first.
func surplus(v View) (writes []controllers.Write) {
	if v.Threshold <= 0 {
		return nil
	}
	var ended []*corev1.Pod
	for _, p := range v.Pods {
		if podstate.IsTerminal(p) && p.DeletionTimestamp == nil && !v.Gone[p.Spec.NodeName] {
			ended = append(ended, p)
		}
	}
	slices.SortFunc(ended, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range ended[:max(0, len(ended)-v.Threshold)] {
		writes = append(writes, force(p))
	}
	return writes
}

func outOfService(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

func force(p *corev1.Pod) controllers.Write {
	return controllers.Write{Verb: controllers.Delete, Object: p, DeleteOptions: *metav1.NewDeleteOptions(0)}
}

// failed deletes a pod that has not run to its end: first it is marked as failed,
// so that whoever counts it knows before it is gone.
func failed(p *corev1.Pod, message string, disrupted bool, now time.Time) controllers.Write {
	w := force(p)
	if !podstate.IsTerminal(p) {
		mark := fail(p, message, disrupted, now)
		w.First = &mark
	}
	return w
}

func fail(p *corev1.Pod, message string, disrupted bool, now time.Time) controllers.Write {
	status := map[string]any{"phase": corev1.PodFailed}
	if disrupted {
		status["conditions"] = []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC",
			Message: message, LastTransitionTime: metav1.NewTime(now),
		}}
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": status})
	if err != nil {
		panic(err) // plain values always encode
	}
	return controllers.Write{
		Verb: controllers.Patch, Object: p, PatchType: types.StrategicMergePatchType, PatchData: data, Subresource: "status",
	}
}
