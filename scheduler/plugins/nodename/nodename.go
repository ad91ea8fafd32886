// Package nodename filters nodes by the name that a pod asks for.
package nodename

import "github.com/strake-io/strake/scheduler/framework"

const (
	// Name of the plugin.
	Name = "NodeName"
	// ErrReason is shown for nodes of another name.
	ErrReason = "node(s) didn't match the requested node name"
)

// Plugin is the Filter plugin.
type Plugin struct{}

var (
	_ framework.FilterPlugin      = Plugin{}
	_ framework.EnqueueExtensions = Plugin{}
	_ framework.Signer            = Plugin{}
)

var mismatch = framework.NewStatus(framework.UnschedulableAndUnresolvable, ErrReason)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// Filter lets pass the node that spec.nodeName names, or all where it is empty.
func (Plugin) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	if want := c.Pod.Pod.Spec.NodeName; want != "" && want != node.Name() {
		return mismatch
	}
	return nil
}

// EventsToRegister says that only a new node can help.
func (Plugin) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{{On: framework.NodeAdd, Helps: func(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
		return pod.Pod.Spec.NodeName == "" || e.Node == nil || pod.Pod.Spec.NodeName == e.Node.Name
	}}}
}

// Sign writes the node name.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.String(pod.Pod.Spec.NodeName)
	return true
}
