package noderesources

import (
	"math"

	"github.com/strake-io/strake/scheduler/framework"
)

// BalancedName is the name of the plugin [Balanced].
const BalancedName = "NodeResourcesBalancedAllocation"

// Balanced prefers nodes of which the pod would leave CPU and memory taken to
// about the same share.
type Balanced struct{}

var (
	_ framework.PreScorePlugin = Balanced{}
	_ framework.ScorePlugin    = Balanced{}
	_ framework.Signer         = Balanced{}
)

var skip = framework.NewStatus(framework.Skip)

// NewBalanced returns the plugin.
func NewBalanced() Balanced { return Balanced{} }

// Name is [BalancedName].
func (Balanced) Name() string { return BalancedName }

// PreScore skips pods that request neither: they would all gather on the node
// that happens to be balanced best.
func (Balanced) PreScore(c *framework.Cycle, _ []*framework.NodeInfo) *framework.Status {
	if c.Pod.Requests.MilliCPU == 0 && c.Pod.Requests.Memory == 0 {
		return skip
	}
	return nil
}

// Score falls with the standard deviation of the shares taken. Of two shares that
// is half their difference.
func (Balanced) Score(c *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	if node.Allocatable.MilliCPU == 0 || node.Allocatable.Memory == 0 {
		return framework.MaxNodeScore, nil
	}
	cpu := share(node.Requested.MilliCPU+c.Pod.Requests.MilliCPU, node.Allocatable.MilliCPU)
	memory := share(node.Requested.Memory+c.Pod.Requests.Memory, node.Allocatable.Memory)
	return int64((1 - math.Abs(cpu-memory)/2) * float64(framework.MaxNodeScore)), nil
}

func share(requested, allocatable int64) float64 {
	return min(float64(requested)/float64(allocatable), 1)
}

// Sign writes the requests.
func (Balanced) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.Int(pod.Requests.MilliCPU)
	s.Int(pod.Requests.Memory)
	return true
}
