package framework

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// Event is something that happened in the cluster, as a set: a plugin registers
// for several kinds at once.
type Event uint32

const (
	// NodeAdd is a new node.
	NodeAdd Event = 1 << iota
	// NodeUpdateAllocatable, NodeUpdateLabel, NodeUpdateTaint (spec.unschedulable
	// included), NodeUpdateCondition and NodeUpdateAnnotation are changes to one.
	NodeUpdateAllocatable
	NodeUpdateLabel
	NodeUpdateTaint
	NodeUpdateCondition
	NodeUpdateAnnotation
	// NodeDelete is a node that went.
	NodeDelete
	// AssignedPodAdd is a pod that came to run on a node.
	AssignedPodAdd
	// AssignedPodUpdate is a change of its labels or of what it takes.
	AssignedPodUpdate
	// AssignedPodDelete is a pod that is gone from its node, or ended.
	AssignedPodDelete

	// NodeUpdate is any change to a node.
	NodeUpdate = NodeUpdateAllocatable | NodeUpdateLabel | NodeUpdateTaint | NodeUpdateCondition | NodeUpdateAnnotation
	// AllEvents is everything.
	AllEvents = NodeAdd | NodeUpdate | NodeDelete | AssignedPodAdd | AssignedPodUpdate | AssignedPodDelete
)

// ClusterEvent is one thing that happened.
type ClusterEvent struct {
	// Event is what; several bits for an update that changed several things.
	Event Event
	// OldNode and Node are the node before and after; nil where not of a node.
	OldNode, Node *corev1.Node
	// OldPod and Pod are the pod before and after; nil where not of a pod.
	OldPod, Pod *PodInfo
}

// EventHint says that an event may help a pod that the plugin rejected.
type EventHint struct {
	// On is the set of events.
	On Event
	// Helps looks closer; nil means always. It is called often: it must be cheap,
	// and say true where it does not know. For NodeAdd it is also asked about pods
	// that other plugins rejected, and its no means that the pod cannot run on the
	// new node.
	Helps func(pod *PodInfo, e *ClusterEvent) bool
}

// NodeEvent is the set of what changed between two versions of a node; 0 where
// nothing did that concerns scheduling.
func NodeEvent(old, node *corev1.Node) Event {
	var e Event
	if !resourceListEqual(old.Status.Allocatable, node.Status.Allocatable) {
		e |= NodeUpdateAllocatable
	}
	if !maps.Equal(old.Labels, node.Labels) {
		e |= NodeUpdateLabel
	}
	if !maps.Equal(old.Annotations, node.Annotations) {
		e |= NodeUpdateAnnotation
	}
	if old.Spec.Unschedulable != node.Spec.Unschedulable || !taintsEqual(old.Spec.Taints, node.Spec.Taints) {
		e |= NodeUpdateTaint
	}
	if !conditionsEqual(old.Status.Conditions, node.Status.Conditions) {
		e |= NodeUpdateCondition
	}
	return e
}
