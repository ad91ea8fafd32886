// Package nodeunschedulable filters out cordoned nodes.
package nodeunschedulable

import (
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"

	"github.com/strake-io/strake/scheduler/framework"
)

const (
	// Name of the plugin.
	Name = "NodeUnschedulable"
	// ErrReason is shown for cordoned nodes.
	ErrReason = "node(s) were unschedulable"
)

// Plugin is the Filter plugin.
type Plugin struct{}

var (
	_ framework.FilterPlugin      = Plugin{}
	_ framework.EnqueueExtensions = Plugin{}
	_ framework.Signer            = Plugin{}
)

var cordoned = framework.NewStatus(framework.UnschedulableAndUnresolvable, ErrReason)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// Filter rejects nodes with spec.unschedulable, unless the pod tolerates the
// taint that stands for it.
func (Plugin) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	if !node.Node.Spec.Unschedulable || toleratesCordon(c.Pod) {
		return nil
	}
	return cordoned
}

func toleratesCordon(pod *framework.PodInfo) bool {
	taint := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	return schedulinghelper.TolerationsTolerateTaint(logr.Discard(), pod.Pod.Spec.Tolerations, &taint, true)
}

// EventsToRegister says that a node that is not cordoned may help.
func (Plugin) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{{On: framework.NodeAdd | framework.NodeUpdateTaint, Helps: func(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
		return e.Node == nil || !e.Node.Spec.Unschedulable || toleratesCordon(pod)
	}}}
}

// Sign writes whether the pod tolerates cordoned nodes.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	if toleratesCordon(pod) {
		s.Int(1)
	} else {
		s.Int(0)
	}
	return true
}
