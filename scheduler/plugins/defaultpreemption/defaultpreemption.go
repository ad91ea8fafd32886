// Package defaultpreemption says, for a pod that fits nowhere, whether the removal
// of pods of lower priority could make room for it
// (https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption).
//
// It only finds out and tells, in upstream's words; it evicts nothing. Where
// preemption would be of use it stays silent, and the pod waits as it does in a
// cluster without preemption.
package defaultpreemption

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/scheduler/framework"
)

// Name of the plugin.
const Name = "DefaultPreemption"

const (
	notHelpful = "Preemption is not helpful for scheduling"
	noVictims  = "No preemption victims found for incoming pod"
)

// Plugin is the PostFilter plugin.
type Plugin struct{}

var _ framework.PostFilterPlugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// silent is the answer where there is nothing true to say.
var silent = framework.NewStatus(framework.Unschedulable)

// PostFilter looks for pods of lower priority on the nodes that their removal
// could help.
func (Plugin) PostFilter(_ context.Context, c *framework.Cycle, failed framework.Failures) (*framework.PostFilterResult, *framework.Status) {
	if p := c.Pod.Pod.Spec.PreemptionPolicy; p != nil && *p == corev1.PreemptNever {
		return nil, status("not eligible due to preemptionPolicy=Never.")
	}
	victims, explained := false, 0
	reasons := make(map[string]int)
	failed.Each(func(node *framework.NodeInfo, _ string, s *framework.Status) {
		if s.Code != framework.Unschedulable {
			return
		}
		explained++
		if hasVictim(node, c.Pod.Priority) {
			victims = true
			return
		}
		reasons[noVictims]++
	})
	if victims {
		return nil, silent
	}
	all := len(c.Snapshot.Nodes())
	if rest := all - explained; rest > 0 {
		reasons[notHelpful] = rest
	}
	parts := make([]string, 0, len(reasons))
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", reasons[r], r))
	}
	slices.Sort(parts)
	return nil, status(fmt.Sprintf("0/%d nodes are available: %s.", all, strings.Join(parts, ", ")))
}

func hasVictim(node *framework.NodeInfo, priority int32) bool {
	return slices.ContainsFunc(node.Pods, func(p *framework.PodInfo) bool { return p.Priority < priority })
}

func status(message string) *framework.Status {
	return framework.NewStatus(framework.Unschedulable, "preemption: "+message)
}
