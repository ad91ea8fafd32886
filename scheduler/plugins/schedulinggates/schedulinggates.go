// Package schedulinggates keeps pods with scheduling gates out of the queue
// (https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness).
package schedulinggates

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/scheduler/framework"
)

// Name of the plugin.
const Name = "SchedulingGates"

// Plugin is the PreEnqueue plugin.
type Plugin struct{}

var _ framework.PreEnqueuePlugin = Plugin{}

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// PreEnqueue rejects a pod that has gates left.
func (Plugin) PreEnqueue(pod *corev1.Pod) *framework.Status {
	if len(pod.Spec.SchedulingGates) == 0 {
		return nil
	}
	gates := make([]string, len(pod.Spec.SchedulingGates))
	for i, g := range pod.Spec.SchedulingGates {
		gates[i] = g.Name
	}
	return framework.NewStatus(framework.UnschedulableAndUnresolvable, fmt.Sprintf("waiting for scheduling gates: [%s]", strings.Join(gates, " ")))
}
