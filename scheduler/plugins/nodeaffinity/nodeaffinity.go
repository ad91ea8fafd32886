// Package nodeaffinity places pods by the labels and names of nodes
// (https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node).
package nodeaffinity

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/strake-io/strake/scheduler/framework"
)

const (
	// Name of the plugin.
	Name = "NodeAffinity"
	// ErrReason is shown for nodes that nodeSelector or required affinity excludes.
	ErrReason = "node(s) didn't match Pod's node affinity/selector"
	// ErrReasonConflict is shown where the terms exclude every node.
	ErrReasonConflict = "pod affinity terms conflict"

	preferredState = Name + "/preferred"
)

// Plugin filters by nodeSelector and required node affinity, and scores by
// preferred node affinity.
type Plugin struct{}

var (
	_ framework.PreFilterPlugin      = Plugin{}
	_ framework.FilterPlugin         = Plugin{}
	_ framework.PreScorePlugin       = Plugin{}
	_ framework.NormalizeScorePlugin = Plugin{}
	_ framework.EnqueueExtensions    = Plugin{}
	_ framework.Signer               = Plugin{}
)

var (
	mismatch = framework.NewStatus(framework.UnschedulableAndUnresolvable, ErrReason)
	conflict = framework.NewStatus(framework.UnschedulableAndUnresolvable, ErrReasonConflict)
	skip     = framework.NewStatus(framework.Skip)
)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// PreFilter reads the pod's terms once. Where each term names its nodes, as those
// of a DaemonSet's pods do, only these nodes are looked at.
func (Plugin) PreFilter(c *framework.Cycle) (*framework.PreFilterResult, *framework.Status) {
	spec := &c.Pod.Pod.Spec
	required := requiredTerms(c.Pod.Pod)
	if required == nil && len(spec.NodeSelector) == 0 {
		return nil, skip
	}
	c.SetState(Name, nodeaffinity.GetRequiredNodeAffinity(c.Pod.Pod))
	if required == nil {
		return nil, nil
	}
	names := namesOf(required.NodeSelectorTerms)
	switch {
	case names == nil:
		return nil, nil
	case len(names) == 0:
		return nil, conflict
	}
	return &framework.PreFilterResult{NodeNames: names}, nil
}

func requiredTerms(pod *corev1.Pod) *corev1.NodeSelector {
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		return a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

func preferredTerms(pod *corev1.Pod) []corev1.PreferredSchedulingTerm {
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		return a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

// namesOf is the union of the nodes that the terms name; nil where a term leaves
// the name open, or where there is no term.
func namesOf(terms []corev1.NodeSelectorTerm) map[string]struct{} {
	if len(terms) == 0 {
		return nil
	}
	all := make(map[string]struct{})
	for i := range terms {
		var names map[string]struct{}
		for _, f := range terms[i].MatchFields {
			if f.Key != metav1.ObjectNameField || f.Operator != corev1.NodeSelectorOpIn {
				continue
			}
			these := make(map[string]struct{}, len(f.Values))
			for _, v := range f.Values {
				if _, ok := names[v]; ok || names == nil {
					these[v] = struct{}{}
				}
			}
			names = these
		}
		if names == nil {
			return nil
		}
		for n := range names {
			all[n] = struct{}{}
		}
	}
	return all
}

// Filter rejects nodes that the pod's selector and required terms exclude.
func (Plugin) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	required, ok := c.State(Name).(nodeaffinity.RequiredNodeAffinity)
	if !ok {
		return nil
	}
	// A term that cannot be read matches nothing, as upstream.
	if match, _ := required.Match(node.Node); !match {
		return mismatch
	}
	return nil
}

// PreScore reads the preferred terms once, and skips pods that have none.
func (Plugin) PreScore(c *framework.Cycle, _ []*framework.NodeInfo) *framework.Status {
	terms := preferredTerms(c.Pod.Pod)
	if len(terms) == 0 {
		return skip
	}
	preferred, err := nodeaffinity.NewPreferredSchedulingTerms(terms)
	if err != nil {
		return framework.AsStatus(fmt.Errorf("reading preferred node affinity: %w", err))
	}
	c.SetState(preferredState, preferred)
	return nil
}

// Score is the sum of the weights of the preferred terms that match.
func (Plugin) Score(c *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	preferred, ok := c.State(preferredState).(*nodeaffinity.PreferredSchedulingTerms)
	if !ok {
		return 0, nil
	}
	return preferred.Score(node.Node), nil
}

// NormalizeScore scales to the best node.
func (Plugin) NormalizeScore(_ *framework.Cycle, scores []framework.NodeScore) *framework.Status {
	framework.DefaultNormalize(scores, false)
	return nil
}

// EventsToRegister says that a node that matches may help.
func (Plugin) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{{On: framework.NodeAdd | framework.NodeUpdateLabel, Helps: func(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
		if e.Node == nil {
			return true
		}
		required := nodeaffinity.GetRequiredNodeAffinity(pod.Pod)
		match, err := required.Match(e.Node)
		return match || err != nil
	}}}
}

// Sign writes the node selector and the node affinity.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.Map(pod.Pod.Spec.NodeSelector)
	a := pod.Pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil {
		s.String("")
		return true
	}
	terms, err := json.Marshal(a.NodeAffinity)
	if err != nil {
		return false
	}
	s.String(string(terms))
	return true
}
