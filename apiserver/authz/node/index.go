package node

import (
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/apiserver/resources/podspec"
)

// kind of an object that nodes may read because something of theirs refers to it.
type kind uint8

const (
	pod kind = iota
	secret
	configMap
	claim
	volume
	resourceClaim
	account
	attachment
	slice
	certificate
)

// object names one; namespace is empty where the kind has none.
type object struct {
	kind            kind
	namespace, name string
}

// index knows what each node's objects refer to. Its methods are safe for
// concurrent use; a change costs as much as the one object refers to, an answer a
// look-up or, for what is reached over volumes, one for each such volume.
type index struct {
	mu sync.RWMutex // guards all below
	// nodes count, for each node, how many of its objects refer to another.
	nodes map[string]map[object]int
	// owned are those objects, and what each refers to.
	owned map[object]owned
	// volumes are those that are bound, by name.
	volumes map[string]boundVolume
	// through are the volumes that name a secret.
	through map[object]map[string]struct{}
}

type owned struct {
	node   string
	refers []object
}

type boundVolume struct {
	claim   object
	secrets []object
}

func newIndex() *index {
	return &index{
		nodes: map[string]map[object]int{}, owned: map[object]owned{},
		volumes: map[string]boundVolume{}, through: map[object]map[string]struct{}{},
	}
}

// put says that an object is a node's and what it refers to; node "" takes it away.
func (x *index) put(what object, node string, refers []object) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.owned[what]; ok {
		counts := x.nodes[old.node]
		for _, r := range old.refers {
			if counts[r]--; counts[r] <= 0 {
				delete(counts, r)
			}
		}
		if len(counts) == 0 {
			delete(x.nodes, old.node)
		}
		delete(x.owned, what)
	}
	if node == "" {
		return
	}
	counts := x.nodes[node]
	if counts == nil {
		counts = map[object]int{}
		x.nodes[node] = counts
	}
	for _, r := range refers {
		counts[r]++
	}
	x.owned[what] = owned{node, refers}
}

// putVolume says which claim a volume is bound to and what mounting it needs.
func (x *index) putVolume(name string, bound *boundVolume) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.volumes[name]; ok {
		for _, s := range old.secrets {
			delete(x.through[s], name)
			if len(x.through[s]) == 0 {
				delete(x.through, s)
			}
		}
		delete(x.volumes, name)
	}
	if bound == nil {
		return
	}
	for _, s := range bound.secrets {
		if x.through[s] == nil {
			x.through[s] = map[string]struct{}{}
		}
		x.through[s][name] = struct{}{}
	}
	x.volumes[name] = *bound
}

// reaches says whether something of the node's refers to the object.
func (x *index) reaches(node string, what object) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.reached(x.nodes[node], what)
}

// reachedBy says whether one of the objects leads to another.
func (x *index) reachedBy(counts map[object]int, what object) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.reached(counts, what)
}

// reached needs mu: what is counted, and what that reaches over volumes.
func (x *index) reached(counts map[object]int, what object) bool {
	if counts[what] > 0 {
		return true
	}
	byVolume := func(name string) bool {
		bound, ok := x.volumes[name]
		return ok && counts[bound.claim] > 0
	}
	switch what.kind {
	case volume:
		return byVolume(what.name)
	case secret:
		for name := range x.through[what] {
			if byVolume(name) {
				return true
			}
		}
	}
	return false
}

// podRefers is what a pod gives its node: itself and, unless the node made it up,
// what it refers to.
func podRefers(p *corev1.Pod) []object {
	own := object{pod, p.Namespace, p.Name}
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return []object{own}
	}
	all := map[object]struct{}{own: {}}
	add := func(k kind, name string) {
		if name != "" {
			all[object{k, p.Namespace, name}] = struct{}{}
		}
	}
	add(account, p.Spec.ServiceAccountName)
	named := podspec.ReferencesOf(&p.Spec)
	for _, name := range named.Secrets {
		add(secret, name)
	}
	for _, name := range named.ConfigMaps {
		add(configMap, name)
	}
	for i := range p.Spec.Volumes {
		add(claim, podspec.ClaimName(p, &p.Spec.Volumes[i]))
	}
	for i := range p.Spec.ResourceClaims {
		add(resourceClaim, claimOf(p, &p.Spec.ResourceClaims[i]))
	}
	add(resourceClaim, extendedClaim(p))
	return slices.Collect(maps.Keys(all))
}

// claimOf is the device claim that a pod names, or that was made for it.
func claimOf(p *corev1.Pod, c *corev1.PodResourceClaim) string {
	switch {
	case c.ResourceClaimName != nil:
		return *c.ResourceClaimName
	case c.ResourceClaimTemplateName != nil:
		for i := range p.Status.ResourceClaimStatuses {
			if s := &p.Status.ResourceClaimStatuses[i]; s.Name == c.Name && s.ResourceClaimName != nil {
				return *s.ResourceClaimName
			}
		}
	}
	return ""
}
