// Package nodeports keeps two pods from taking the same port of a node.
package nodeports

import "github.com/strake-io/strake/scheduler/framework"

const (
	// Name of the plugin.
	Name = "NodePorts"
	// ErrReason is shown for nodes where a port is taken.
	ErrReason = "node(s) didn't have free ports for the requested pod ports"
)

// Plugin is the Filter plugin.
type Plugin struct{}

var (
	_ framework.PreFilterPlugin   = Plugin{}
	_ framework.FilterPlugin      = Plugin{}
	_ framework.EnqueueExtensions = Plugin{}
	_ framework.Signer            = Plugin{}
)

var (
	taken = framework.NewStatus(framework.Unschedulable, ErrReason)
	skip  = framework.NewStatus(framework.Skip)
)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// PreFilter skips pods without host ports.
func (Plugin) PreFilter(c *framework.Cycle) (*framework.PreFilterResult, *framework.Status) {
	if len(c.Pod.HostPorts) == 0 {
		return nil, skip
	}
	return nil, nil
}

// Filter rejects nodes where one of the pod's host ports is taken.
func (Plugin) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	if conflict(c.Pod.HostPorts, node.UsedPorts) {
		return taken
	}
	return nil
}

func conflict(want, used []framework.HostPort) bool {
	for _, w := range want {
		for _, u := range used {
			if w.Conflicts(u) {
				return true
			}
		}
	}
	return false
}

// EventsToRegister says that a new node may help, and a pod that frees a port.
func (Plugin) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{
		{On: framework.NodeAdd},
		{On: framework.AssignedPodDelete, Helps: func(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
			return e.OldPod == nil || conflict(pod.HostPorts, e.OldPod.HostPorts)
		}},
	}
}

// Sign writes the host ports.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.Int(int64(len(pod.HostPorts)))
	for _, p := range pod.HostPorts {
		s.String(p.IP)
		s.String(string(p.Protocol))
		s.Int(int64(p.Port))
	}
	return true
}
