// Package noderesources places pods by what they request and what nodes have
// left: the filter NodeResourcesFit with its score, and
// NodeResourcesBalancedAllocation.
package noderesources

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/scheduler/framework"
)

const (
	// FitName is the name of the plugin [Fit].
	FitName = "NodeResourcesFit"
	// ErrReasonPods is shown for nodes that run as many pods as they may.
	ErrReasonPods = "Too many pods"
)

// Fit filters nodes that have too little left of what the pod requests, and
// prefers those that have the larger share left of CPU and memory
// (LeastAllocated).
type Fit struct{}

var (
	_ framework.FilterPlugin      = Fit{}
	_ framework.ScorePlugin       = Fit{}
	_ framework.EnqueueExtensions = Fit{}
	_ framework.Signer            = Fit{}
)

// NewFit returns the plugin.
func NewFit() Fit { return Fit{} }

// Name is [FitName].
func (Fit) Name() string { return FitName }

// Shortages of what most pods request are prepared, so that a full cluster costs
// no memory.
var (
	insufficientCPU     = framework.NewStatus(framework.Unschedulable, reason(corev1.ResourceCPU))
	insufficientMemory  = framework.NewStatus(framework.Unschedulable, reason(corev1.ResourceMemory))
	insufficientBoth    = framework.NewStatus(framework.Unschedulable, reason(corev1.ResourceCPU), reason(corev1.ResourceMemory))
	tooManyPods         = framework.NewStatus(framework.Unschedulable, ErrReasonPods)
	neverEnoughCPU      = framework.NewStatus(framework.UnschedulableAndUnresolvable, reason(corev1.ResourceCPU))
	neverEnoughMemory   = framework.NewStatus(framework.UnschedulableAndUnresolvable, reason(corev1.ResourceMemory))
	neverEnoughOfEither = framework.NewStatus(framework.UnschedulableAndUnresolvable, reason(corev1.ResourceCPU), reason(corev1.ResourceMemory))
)

func reason(name corev1.ResourceName) string { return "Insufficient " + string(name) }

// Filter compares the request with what the node has left. What the node does not
// have at all, no removal of pods can free.
func (Fit) Filter(c *framework.Cycle, node *framework.NodeInfo) *framework.Status {
	return fits(&c.Pod.Requests, node)
}

func fits(want *framework.Resource, node *framework.NodeInfo) *framework.Status {
	full := int64(len(node.Pods))+1 > node.Allocatable.AllowedPods
	cpu := short(want.MilliCPU, node.Allocatable.MilliCPU, node.Requested.MilliCPU)
	memory := short(want.Memory, node.Allocatable.Memory, node.Requested.Memory)
	storage := short(want.EphemeralStorage, node.Allocatable.EphemeralStorage, node.Requested.EphemeralStorage)
	if full || storage != enough || len(want.Scalar) > 0 {
		return fitsSlow(want, node, full, cpu, memory, storage)
	}
	never := cpu == never || memory == never
	switch {
	case cpu == enough && memory == enough:
		return nil
	case cpu != enough && memory != enough:
		return pick(never, neverEnoughOfEither, insufficientBoth)
	case cpu != enough:
		return pick(never, neverEnoughCPU, insufficientCPU)
	default:
		return pick(never, neverEnoughMemory, insufficientMemory)
	}
}

func pick(b bool, yes, no *framework.Status) *framework.Status {
	if b {
		return yes
	}
	return no
}

// fitsSlow collects every shortage.
func fitsSlow(want *framework.Resource, node *framework.NodeInfo, full bool, cpu, memory, storage shortage) *framework.Status {
	var reasons []string
	code := framework.Unschedulable
	note := func(s shortage, name corev1.ResourceName) {
		if s != enough {
			reasons = append(reasons, reason(name))
		}
		if s == never {
			code = framework.UnschedulableAndUnresolvable
		}
	}
	if full {
		reasons = append(reasons, ErrReasonPods)
	}
	note(cpu, corev1.ResourceCPU)
	note(memory, corev1.ResourceMemory)
	note(storage, corev1.ResourceEphemeralStorage)
	if len(want.Scalar) > 0 {
		for _, name := range slices.Sorted(maps.Keys(want.Scalar)) {
			note(short(want.Scalar[name], node.Allocatable.Scalar[name], node.Requested.Scalar[name]), name)
		}
	}
	switch {
	case len(reasons) == 0:
		return nil
	case full && len(reasons) == 1:
		return tooManyPods
	}
	return framework.NewStatus(code, reasons...)
}

type shortage int8

const (
	enough shortage = iota
	tooLittleLeft
	never
)

func short(want, allocatable, requested int64) shortage {
	switch {
	case want <= 0 || want <= allocatable-requested:
		return enough
	case want > allocatable:
		return never
	}
	return tooLittleLeft
}

// Score is the mean over CPU and memory of the share that would be left, in
// hundredths.
func (Fit) Score(c *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	var sum, weight int64
	add := func(allocatable, requested int64) {
		if allocatable == 0 {
			return
		}
		weight++
		if requested <= allocatable {
			sum += (allocatable - requested) * framework.MaxNodeScore / allocatable
		}
	}
	add(node.Allocatable.MilliCPU, node.NonZeroMilliCPU+c.Pod.NonZeroMilliCPU)
	add(node.Allocatable.Memory, node.NonZeroMemory+c.Pod.NonZeroMemory)
	if weight == 0 {
		return 0, nil
	}
	return sum / weight, nil
}

// EventsToRegister says that a node may help that has, all told, what the pod
// requests, and a pod that leaves and took some of what was short.
func (Fit) EventsToRegister() []framework.EventHint {
	return []framework.EventHint{
		{On: framework.NodeAdd | framework.NodeUpdateAllocatable, Helps: nodeMayHelp},
		{On: framework.AssignedPodDelete | framework.AssignedPodUpdate, Helps: podMayHelp},
	}
}

func nodeMayHelp(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
	if e.Node == nil {
		return true
	}
	empty := framework.NodeInfo{Node: e.Node, Allocatable: framework.NewResource(e.Node.Status.Allocatable)}
	return fits(&pod.Requests, &empty) == nil
}

func podMayHelp(pod *framework.PodInfo, e *framework.ClusterEvent) bool {
	if e.OldPod == nil || e.Pod == nil {
		return true // a pod that left makes room for one more, whatever it took
	}
	old, now := &e.OldPod.Requests, &e.Pod.Requests
	if pod.Requests.MilliCPU > 0 && old.MilliCPU > now.MilliCPU ||
		pod.Requests.Memory > 0 && old.Memory > now.Memory ||
		pod.Requests.EphemeralStorage > 0 && old.EphemeralStorage > now.EphemeralStorage {
		return true
	}
	for name := range pod.Requests.Scalar {
		if old.Scalar[name] > now.Scalar[name] {
			return true
		}
	}
	return false
}

// Sign writes the requests.
func (Fit) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.Resource(&pod.Requests)
	s.Int(pod.NonZeroMilliCPU)
	s.Int(pod.NonZeroMemory)
	return true
}
