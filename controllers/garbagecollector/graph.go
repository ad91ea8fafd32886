package garbagecollector

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Identity says which object a node of the graph stands for.
type Identity struct {
	Resource   schema.GroupVersionResource // empty for an owner that was never observed
	APIVersion string
	Kind       string
	Namespace  string
	Name       string
	UID        types.UID
}

// Node is an object as the graph knows it. The values that the graph hands out
// are copies.
type Node struct {
	Identity
	Owners []metav1.OwnerReference
	// Observed is false for an owner that is known from references only.
	Observed bool
	// Leaving says that it is being deleted.
	Leaving bool
	// Foreground says that it is being deleted after its dependents.
	Foreground bool
	// Orphaning says that its deletion lets its dependents go first.
	Orphaning bool
}

// owns reports whether the node may be the owner that a dependent in the
// namespace refers to: same namespace, or cluster-wide.
func (n *Node) owns(namespace string) bool { return n.Namespace == "" || n.Namespace == namespace }

// graph holds every object that could own or be owned, by UID.
type graph struct {
	mu    sync.Mutex // guards nodes
	nodes map[types.UID]*vertex
}

type vertex struct {
	Node
	dependents map[types.UID]*vertex
}

func newGraph() *graph { return &graph{nodes: map[types.UID]*vertex{}} }

// work is what a change of the graph makes necessary.
type work struct {
	check  []types.UID // see whether these still have a reason to be
	orphan []types.UID // let the dependents of these go
	// misplaced are references to owners in another namespace.
	misplaced []metav1.OwnerReference
}

// put takes in an object as an informer has it.
func (g *graph) put(n Node) (w work) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.nodes[n.UID]
	fresh := v == nil || !v.Observed
	if v == nil {
		v = &vertex{dependents: map[types.UID]*vertex{}}
		g.nodes[n.UID] = v
	}
	before := v.Node
	v.Node = n
	v.Observed = true

	w.misplaced = g.link(v, before.Owners, &w)
	if fresh {
		// Dependents that named it under other coordinates do not have it.
		for uid, d := range v.dependents {
			if !v.owns(d.Namespace) || !refersTo(d.Owners, v.Identity) {
				w.check = append(w.check, uid)
			}
		}
	}
	if n.Orphaning && !before.Orphaning {
		w.orphan = append(w.orphan, n.UID)
	}
	if n.Foreground && !before.Foreground {
		w.check = append(w.check, n.UID)
		for uid := range v.dependents {
			w.check = append(w.check, uid)
		}
	}
	return w
}

func refersTo(owners []metav1.OwnerReference, id Identity) bool {
	return slices.ContainsFunc(owners, func(r metav1.OwnerReference) bool {
		return r.UID == id.UID && r.Name == id.Name && r.Kind == id.Kind && sameGroup(r.APIVersion, id.APIVersion)
	})
}

func sameGroup(a, b string) bool {
	x, err := schema.ParseGroupVersion(a)
	if err != nil {
		return false
	}
	y, err := schema.ParseGroupVersion(b)
	return err == nil && x.Group == y.Group
}

// link brings the edges from v to its owners up to date.
func (g *graph) link(v *vertex, before []metav1.OwnerReference, w *work) (misplaced []metav1.OwnerReference) {
	blocks := func(r metav1.OwnerReference) bool { return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion }
	find := func(list []metav1.OwnerReference, uid types.UID) *metav1.OwnerReference {
		for i := range list {
			if list[i].UID == uid {
				return &list[i]
			}
		}
		return nil
	}
	for _, r := range before {
		now := find(v.Owners, r.UID)
		owner := g.nodes[r.UID]
		if owner == nil {
			continue
		}
		if now == nil {
			delete(owner.dependents, v.UID)
			g.drop(owner)
		}
		// An owner that waits for its dependents may have one less to wait for.
		if blocks(r) && (now == nil || !blocks(*now)) && owner.Foreground {
			w.check = append(w.check, r.UID)
		}
	}
	for _, r := range v.Owners {
		owner := g.nodes[r.UID]
		if owner == nil {
			owner = &vertex{dependents: map[types.UID]*vertex{}, Node: Node{Identity: Identity{
				APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name, UID: r.UID, Namespace: v.Namespace,
			}}}
			g.nodes[r.UID] = owner
			// It may be gone for long, or not have been listed yet: a live read will tell.
			w.check = append(w.check, r.UID)
		}
		if find(before, r.UID) == nil {
			if owner.Observed && (!owner.owns(v.Namespace) || !refersTo(v.Owners, owner.Identity)) {
				if !owner.owns(v.Namespace) {
					misplaced = append(misplaced, r)
				}
				w.check = append(w.check, v.UID)
			}
			if owner.Foreground {
				w.check = append(w.check, v.UID)
			}
		}
		owner.dependents[v.UID] = v
	}
	return misplaced
}

// drop forgets a vertex that was never observed and that nobody refers to any more.
func (g *graph) drop(v *vertex) {
	if !v.Observed && len(v.dependents) == 0 {
		delete(g.nodes, v.UID)
	}
}

// remove takes an object out, because it is gone.
func (g *graph) remove(uid types.UID) (w work) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.take(uid)
}

// vanished takes out a node that was looked for where it is said to be, and not
// found. One that an informer has brought since then stays: it was looked for
// where a reference, perhaps a wrong one, had said.
func (g *graph) vanished(n Node) (w work) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.nodes[n.UID]; v == nil || v.Observed != n.Observed {
		return w
	}
	return g.take(n.UID)
}

// take is called with mu held.
func (g *graph) take(uid types.UID) (w work) {
	v := g.nodes[uid]
	if v == nil {
		return w
	}
	for _, r := range v.Owners {
		owner := g.nodes[r.UID]
		if owner == nil {
			continue
		}
		delete(owner.dependents, uid)
		if owner.Foreground {
			w.check = append(w.check, r.UID)
		}
		g.drop(owner)
	}
	for dependent := range v.dependents {
		w.check = append(w.check, dependent)
	}
	if len(v.dependents) == 0 {
		delete(g.nodes, uid)
		return w
	}
	// The dependents still refer to it; they are looked at one by one.
	v.Node = Node{Identity: v.Identity}
	v.Identity.Resource = schema.GroupVersionResource{}
	return w
}

// get is a copy of a node with its dependents.
func (g *graph) get(uid types.UID) (n Node, dependents []Node, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.nodes[uid]
	if v == nil {
		return Node{}, nil, false
	}
	for _, d := range v.dependents {
		if v.owns(d.Namespace) {
			dependents = append(dependents, d.Node)
		}
	}
	return v.Node, dependents, true
}

// nodeOf is the node of an object's metadata.
func nodeOf(resource schema.GroupVersionResource, kind schema.GroupVersionKind, m metav1.Object) Node {
	n := Node{
		Identity: Identity{
			Resource: resource, APIVersion: kind.GroupVersion().String(), Kind: kind.Kind,
			Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(),
		},
		Owners:   m.GetOwnerReferences(),
		Observed: true,
		Leaving:  m.GetDeletionTimestamp() != nil,
	}
	n.Foreground = n.Leaving && slices.Contains(m.GetFinalizers(), metav1.FinalizerDeleteDependents)
	n.Orphaning = n.Leaving && slices.Contains(m.GetFinalizers(), metav1.FinalizerOrphanDependents)
	return n
}

// reference is how events name the object.
func (id Identity) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, UID: id.UID}
}
