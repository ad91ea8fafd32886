// Package tainttoleration keeps pods away from nodes whose taints they do not
// tolerate (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration).
package tainttoleration

import (
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"

	"github.com/strake-io/strake/scheduler/framework"
)

const (
	// Name of the plugin.
	Name = "TaintToleration"
	// ErrReason is shown for nodes with a taint that the pod does not tolerate.
	ErrReason = "node(s) had untolerated taint(s)"
)

// Plugin filters by the taints with effects NoSchedule and NoExecute, and scores
// by those with PreferNoSchedule.
type Plugin struct{}

var (
	_ framework.FilterPlugin         = Plugin{}
	_ framework.PreScorePlugin       = Plugin{}
	_ framework.NormalizeScorePlugin = Plugin{}
	_ framework.EnqueueExtensions    = Plugin{}
	_ framework.Signer               = Plugin{}
)

var (
	untolerated = framework.NewStatus(framework.UnschedulableAndUnresolvable, ErrReason)
	skip        = framework.NewStatus(framework.Skip)
)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// Filter rejects nodes with a taint that keeps the pod out.
func (Plugin) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	if len(node.Node.Spec.Taints) == 0 || tolerates(node.Node, c.Pod.Pod) {
		return nil
	}
	return untolerated
}

func tolerates(node *corev1.Node, pod *corev1.Pod) bool {
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect != corev1.TaintEffectNoSchedule && taint.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		if !schedulinghelper.TolerationsTolerateTaint(logr.Discard(), pod.Spec.Tolerations, taint, true) {
			return false
		}
	}
	return true
}

// PreScore skips where no node of the cluster has a taint to score by. It looks
// at all nodes and not only at those left, as a node that fills up or empties
// must not change the answer.
func (Plugin) PreScore(c *framework.Cycle, nodes []*framework.NodeInfo) *framework.Status {
	if c.Snapshot != nil {
		nodes = c.Snapshot.Nodes()
	}
	for _, n := range nodes {
		for i := range n.Node.Spec.Taints {
			if n.Node.Spec.Taints[i].Effect == corev1.TaintEffectPreferNoSchedule {
				return nil
			}
		}
	}
	return skip
}

// Score counts the PreferNoSchedule taints that the pod does not tolerate.
func (Plugin) Score(c *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	var n int64
	for i := range node.Node.Spec.Taints {
		taint := &node.Node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule && !schedulinghelper.TolerationsTolerateTaint(logr.Discard(), c.Pod.Pod.Spec.Tolerations, taint, true) {
			n++
		}
	}
	return n, nil
}

// NormalizeScore gives the most to the nodes with the fewest such taints.
func (Plugin) NormalizeScore(_ *framework.Cycle, scores []framework.NodeScore) *framework.Status {
	framework.DefaultNormalize(scores, true)
	return nil
}

// EventsToRegister says that a node whose taints the pod tolerates may help.
func (Plugin) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{{On: framework.NodeAdd | framework.NodeUpdateTaint, Helps: func(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
		return e.Node == nil || tolerates(e.Node, pod.Pod)
	}}}
}

// Sign writes the tolerations, in an order of their own.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	tolerations := pod.Pod.Spec.Tolerations
	if !slices.IsSortedFunc(tolerations, compare) {
		tolerations = slices.Clone(tolerations)
		slices.SortFunc(tolerations, compare)
	}
	s.Int(int64(len(tolerations)))
	for i := range tolerations {
		t := &tolerations[i]
		s.String(t.Key)
		s.String(string(t.Operator))
		s.String(t.Value)
		s.String(string(t.Effect))
	}
	return true
}

func compare(a, b corev1.Toleration) int {
	for _, p := range [][2]string{{a.Key, b.Key}, {string(a.Operator), string(b.Operator)}, {a.Value, b.Value}, {string(a.Effect), string(b.Effect)}} {
		switch {
		case p[0] < p[1]:
			return -1
		case p[0] > p[1]:
			return 1
		}
	}
	return 0
}
