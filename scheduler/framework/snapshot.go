package framework

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Snapshot is the cluster as the scheduler sees it: nodes, and pods on them.
//
// It is not copied for each attempt: one goroutine owns it, applies what was
// heard between attempts, and leaves it alone during one. Each change to what is
// taken of a node is noted in a short log, so that whoever keeps results per
// node ([Snapshot.ChangedSince]) looks again at those nodes only.
type Snapshot struct {
	nodes  []*NodeInfo // dense; a node keeps its index until a node is removed
	byName map[string]*NodeInfo
	pods   map[types.UID]placed
	// images counts the nodes that have each image.
	images map[string]int
	// orphans are pods on nodes that are not known (yet).
	orphans map[string][]*PodInfo

	objects  uint64  // counts changes to the set of nodes or to their objects
	log      []int32 // indexes of nodes whose pods changed
	logStart uint64  // position of log[0]
}

type placed struct {
	pod  *PodInfo
	node string
}

// NewSnapshot returns an empty cluster.
func NewSnapshot() *Snapshot {
	return &Snapshot{
		byName:  make(map[string]*NodeInfo),
		pods:    make(map[types.UID]placed),
		images:  make(map[string]int),
		orphans: make(map[string][]*PodInfo),
	}
}

// Nodes are all nodes, in an order that only additions and removals change.
// The slice is read-only.
func (s *Snapshot) Nodes() []*NodeInfo { return s.nodes }

// Node by name, or nil.
func (s *Snapshot) Node(name string) *NodeInfo { return s.byName[name] }

// PodNode is the pod with that UID and the node it is on; nil and "" where it is
// on none.
func (s *Snapshot) PodNode(uid types.UID) (*PodInfo, string) {
	p := s.pods[uid]
	return p.pod, p.node
}

// PodCount is how many pods are on nodes.
func (s *Snapshot) PodCount() int { return len(s.pods) }

// ImageNodes is how many nodes have an image of that name.
func (s *Snapshot) ImageNodes(image string) int { return s.images[image] }

// Objects is a number that changes whenever a node comes, goes, or changes in
// anything but the pods on it.
func (s *Snapshot) Objects() uint64 { return s.objects }

// Position is the end of the log of changes to the pods on nodes.
func (s *Snapshot) Position() uint64 { return s.logStart + uint64(len(s.log)) }

// ChangedSince returns the indexes in Nodes of the nodes whose pods changed since
// an earlier Position; one may be there twice. It is false where that is too long
// ago to know. It only holds while Objects is what it was.
func (s *Snapshot) ChangedSince(position uint64) ([]int32, bool) {
	if position < s.logStart {
		return nil, false
	}
	return s.log[position-s.logStart:], true
}

// SetNode adds or replaces a node's object, and says whether anything changed
// that the placement of pods may depend on.
func (s *Snapshot) SetNode(node *corev1.Node) bool {
	n, ok := s.byName[node.Name]
	if ok && sameForScheduling(n.Node, node) {
		n.Node = node
		return false
	}
	if !ok {
		n = &NodeInfo{index: len(s.nodes)}
		s.nodes = append(s.nodes, n)
		s.byName[node.Name] = n
		for _, p := range s.orphans[node.Name] {
			n.AddPod(p)
		}
		delete(s.orphans, node.Name)
	}
	s.countImages(n, -1)
	n.setNode(node)
	s.countImages(n, 1)
	s.objectsChanged()
	return true
}

// RemoveNode forgets a node. Its pods stay known until they are removed, and are
// on the node again if it comes back.
func (s *Snapshot) RemoveNode(name string) {
	n, ok := s.byName[name]
	if !ok {
		return
	}
	delete(s.byName, name)
	last := len(s.nodes) - 1
	s.nodes[n.index] = s.nodes[last]
	s.nodes[n.index].index = n.index
	s.nodes[last] = nil
	s.nodes = s.nodes[:last]
	if len(n.Pods) > 0 {
		s.orphans[name] = n.Pods
	}
	s.countImages(n, -1)
	s.objectsChanged()
}

// AddPod puts a pod on a node, whether the node is known or not. A pod that is
// there already is replaced; one on another node is moved.
func (s *Snapshot) AddPod(p *PodInfo, node string) {
	uid := p.Pod.UID
	if old, ok := s.pods[uid]; ok {
		if old.node == node && old.pod.takesAsMuch(p) {
			s.pods[uid] = placed{p, node}
			s.swap(p, node)
			return
		}
		s.RemovePod(uid)
	}
	s.pods[uid] = placed{p, node}
	if n, ok := s.byName[node]; ok {
		n.AddPod(p)
		s.podsChanged(n)
	} else {
		s.orphans[node] = append(s.orphans[node], p)
	}
}

// RemovePod takes a pod off its node and says whether it was on one.
func (s *Snapshot) RemovePod(uid types.UID) bool {
	old, ok := s.pods[uid]
	if !ok {
		return false
	}
	delete(s.pods, uid)
	if n, ok := s.byName[old.node]; ok {
		n.RemovePod(uid)
		s.podsChanged(n)
		return true
	}
	s.orphans[old.node] = slices.DeleteFunc(s.orphans[old.node], func(p *PodInfo) bool { return p.Pod.UID == uid })
	if len(s.orphans[old.node]) == 0 {
		delete(s.orphans, old.node)
	}
	return true
}

// swap replaces a pod's object where nothing else changes.
func (s *Snapshot) swap(p *PodInfo, node string) {
	pods := s.orphans[node]
	if n, ok := s.byName[node]; ok {
		pods = n.Pods
	}
	if i := slices.IndexFunc(pods, func(o *PodInfo) bool { return o.Pod.UID == p.Pod.UID }); i >= 0 {
		pods[i] = p
	}
}

func (s *Snapshot) podsChanged(n *NodeInfo) {
	// The log is worth keeping as long as reading it is cheaper than looking at
	// every node again.
	if len(s.log) > 2*len(s.nodes)+1024 {
		drop := len(s.log) / 2
		s.log = append(s.log[:0], s.log[drop:]...)
		s.logStart += uint64(drop)
	}
	s.log = append(s.log, int32(n.index))
}

func (s *Snapshot) objectsChanged() {
	s.objects++
	s.logStart += uint64(len(s.log))
	s.log = s.log[:0]
}

func (s *Snapshot) countImages(n *NodeInfo, d int) {
	for name := range n.Images {
		if s.images[name] += d; s.images[name] == 0 {
			delete(s.images, name)
		}
	}
}

// sameForScheduling is true where two versions of a node differ in nothing but
// heartbeats and bookkeeping.
func sameForScheduling(a, b *corev1.Node) bool {
	return a.UID == b.UID && NodeEvent(a, b) == 0 && imagesEqual(a.Status.Images, b.Status.Images)
}

// Select returns the nodes of these names that there are, in the order of Nodes.
func (s *Snapshot) Select(names map[string]struct{}) []*NodeInfo {
	nodes := make([]*NodeInfo, 0, len(names))
	for name := range names {
		if n, ok := s.byName[name]; ok {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b *NodeInfo) int { return a.index - b.index })
	return nodes
}
