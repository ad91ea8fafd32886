// Package prioritysort orders waiting pods by priority, then by age in the queue.
package prioritysort

import "github.com/strake-io/strake/scheduler/framework"

// Name of the plugin.
const Name = "PrioritySort"

// Plugin is the QueueSort plugin.
type Plugin struct{}

var _ framework.QueueSortPlugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// Less puts the higher priority first, and among equals the pod that waits longer.
func (Plugin) Less(a, b *framework.QueuedPod) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Added.Before(b.Added)
}
