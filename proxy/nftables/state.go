package nftables

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// state is what one table should hold: what each service rendered to, and for
// each element which services claim it. Two services may claim one (the same
// external IP and port): the first by name has it, and when that goes the next.
type state struct {
	services map[types.NamespacedName]rendered
	claims   map[element][]types.NamespacedName
}

func newState() *state {
	return &state{services: map[types.NamespacedName]rendered{}, claims: map[element][]types.NamespacedName{}}
}

// changes is what turns a table from one state into the next: chains are set,
// elements deleted, then added, and chains deleted.
type changes struct {
	setChains  map[string]chain // the content of new and of changed chains
	oldContent map[string]chain // of the chains that change or go
	delChains  []string
	// before is where each element that any service touched led to.
	before   map[element]string
	delElems []element
	addElems map[element]string
	// all, where it is set, is every element that there is after the change: the
	// sets are emptied and filled with it.
	all map[element]string
}

func (c *changes) empty() bool {
	return len(c.setChains) == 0 && len(c.delElems) == 0 && len(c.addElems) == 0 && len(c.delChains) == 0
}

// set replaces what one service renders to, and adds what that changes to c. An
// empty rendering takes the service away. settle completes c.
func (s *state) set(name types.NamespacedName, next rendered, c *changes) {
	prev := s.services[name]
	for chainName, content := range next.chains {
		old, there := prev.chains[chainName]
		switch {
		case !there:
			c.setChains[chainName] = content
		case !sameChain(old, content):
			c.setChains[chainName] = content
			c.oldContent[chainName] = old
		}
	}
	for chainName, old := range prev.chains {
		if _, stays := next.chains[chainName]; !stays {
			c.delChains = append(c.delChains, chainName)
			c.oldContent[chainName] = old
		}
	}

	for _, elements := range []map[element]string{prev.elements, next.elements} {
		for e := range elements {
			if _, touched := c.before[e]; !touched {
				c.before[e] = s.target(e)
			}
		}
	}
	for e := range prev.elements {
		if _, stays := next.elements[e]; !stays {
			s.release(e, name)
		}
	}
	if len(next.elements) == 0 && len(next.chains) == 0 {
		delete(s.services, name)
	} else {
		s.services[name] = next
	}
	for e := range next.elements {
		s.claim(e, name)
	}
}

// settle decides what becomes of the elements, once every service is set.
func (s *state) settle(c *changes) {
	for e, before := range c.before {
		after := s.target(e)
		if before == after {
			continue
		}
		if before != absent {
			c.delElems = append(c.delElems, e)
		}
		if after != absent {
			c.addElems[e] = after
		}
	}
}

// absent is the target of an element that nobody claims; no chain has that name.
const absent = "\x00"

func (s *state) target(e element) string {
	claims := s.claims[e]
	if len(claims) == 0 {
		return absent
	}
	return s.services[claims[0]].elements[e]
}

func (s *state) claim(e element, name types.NamespacedName) {
	claims := s.claims[e]
	at, there := slices.BinarySearchFunc(claims, name, byName)
	if !there {
		s.claims[e] = slices.Insert(claims, at, name)
	}
}

func (s *state) release(e element, name types.NamespacedName) {
	claims := s.claims[e]
	at, there := slices.BinarySearchFunc(claims, name, byName)
	if !there {
		return
	}
	if claims = slices.Delete(claims, at, at+1); len(claims) == 0 {
		delete(s.claims, e)
	} else {
		s.claims[e] = claims
	}
}

// udpServes says where each UDP address and port of a service leads; those of node
// ports have no address.
func (s *state) udpServes() map[netip.AddrPort][]netip.AddrPort {
	serves := map[netip.AddrPort][]netip.AddrPort{}
	for e, claims := range s.claims {
		if e.set != setHairpin && e.proto == protoUDP {
			serves[netip.AddrPortFrom(e.addr, e.port)] = s.services[claims[0]].chains[s.target(e)].endpoints
		}
	}
	return serves
}

func byName(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func newChanges() *changes {
	return &changes{
		setChains: map[string]chain{}, oldContent: map[string]chain{},
		before: map[element]string{}, addElems: map[element]string{},
	}
}

func sameChain(a, b chain) bool {
	return a.proto == b.proto && a.masquerade == b.masquerade && a.affinity == b.affinity &&
		slices.Equal(a.endpoints, b.endpoints) && slices.Equal(a.sources, b.sources)
}

// lostEndpoints are the UDP endpoints that no chain among the changes keeps:
// connection tracking must forget flows to them, since a UDP client does not
// notice that its packets go nowhere.
func (c *changes) lostEndpoints() []lostFlow {
	lost := map[lostFlow]struct{}{}
	for name, old := range c.oldContent {
		if old.proto != protoUDP {
			continue
		}
		for _, ep := range old.endpoints {
			if !slices.Contains(c.setChains[name].endpoints, ep) {
				lost[lostFlow{endpoint: ep}] = struct{}{}
			}
		}
	}
	// A service that had no endpoints refused its clients; a UDP flow tracked
	// since then would go on past the new rules.
	for e := range c.addElems {
		if e.proto == protoUDP && (e.set == setVIPs || e.set == setNodePorts) {
			lost[lostFlow{to: e.addr, port: e.port}] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(lost))
}
