package framework

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// NodeInfo is a node and what is taken of it. Plugins read it; the scheduler's
// loop changes it between attempts.
type NodeInfo struct {
	// Node is the object, read-only.
	Node *corev1.Node
	// Allocatable is what pods may take in all.
	Allocatable Resource
	// Requested is what they take, placed ones that are not yet bound included.
	Requested Resource
	// NonZeroMilliCPU and NonZeroMemory are the sums of the pods' fields.
	NonZeroMilliCPU, NonZeroMemory int64
	// Pods on the node, in no particular order.
	Pods []*PodInfo
	// UsedPorts are the host ports taken.
	UsedPorts []HostPort
	// Images are the images on the node: size in bytes by name.
	Images map[string]int64

	index int
}

// NewNodeInfo returns a node with pods on it; used by tests of plugins.
func NewNodeInfo(node *corev1.Node, pods ...*corev1.Pod) *NodeInfo {
	n := &NodeInfo{}
	n.setNode(node)
	for _, p := range pods {
		n.AddPod(NewPodInfo(p))
	}
	return n
}

// Name of the node.
func (n *NodeInfo) Name() string { return n.Node.Name }

// Clone is a copy whose pods can be added and removed for a trial.
func (n *NodeInfo) Clone() *NodeInfo {
	c := *n
	c.Requested = n.Requested.clone()
	c.Pods = slices.Clone(n.Pods)
	c.UsedPorts = slices.Clone(n.UsedPorts)
	return &c
}

// AddPod puts a pod on the node. Only for a clone, or for the node's owner.
func (n *NodeInfo) AddPod(p *PodInfo) {
	n.Pods = append(n.Pods, p)
	n.account(p, 1)
	n.UsedPorts = append(n.UsedPorts, p.HostPorts...)
}

// RemovePod takes the pod with this UID off the node and says whether it was
// there. Only for a clone, or for the node's owner.
func (n *NodeInfo) RemovePod(uid types.UID) bool {
	i := n.podIndex(uid)
	if i < 0 {
		return false
	}
	p := n.Pods[i]
	last := len(n.Pods) - 1
	n.Pods[i] = n.Pods[last]
	n.Pods[last] = nil
	n.Pods = n.Pods[:last]
	n.account(p, -1)
	for _, port := range p.HostPorts {
		if i := slices.Index(n.UsedPorts, port); i >= 0 {
			n.UsedPorts = slices.Delete(n.UsedPorts, i, i+1)
		}
	}
	return true
}

func (n *NodeInfo) podIndex(uid types.UID) int {
	return slices.IndexFunc(n.Pods, func(p *PodInfo) bool { return p.Pod.UID == uid })
}

func (n *NodeInfo) account(p *PodInfo, sign int64) {
	n.Requested.add(&p.Requests, sign)
	n.NonZeroMilliCPU += sign * p.NonZeroMilliCPU
	n.NonZeroMemory += sign * p.NonZeroMemory
}

func (n *NodeInfo) setNode(node *corev1.Node) {
	n.Node = node
	n.Allocatable = NewResource(node.Status.Allocatable)
	n.Images = make(map[string]int64)
	for _, image := range node.Status.Images {
		for _, name := range image.Names {
			n.Images[name] = image.SizeBytes
		}
	}
}
