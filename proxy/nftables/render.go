package nftables

import (
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/proxy"
)

// protocol numbers of IP.
const (
	protoTCP = 6
	protoUDP = 17
)

// Names of the table's fixed sets and chains; base.go installs them.
const (
	setVIPs      = "vips"       // address, protocol, port → the service port's chain
	setNodePorts = "node-ports" // protocol, port → the service port's chain
	// The same keys, for service ports without endpoints: → drop or reject.
	setRefusedVIPs      = "refused-vips"
	setRefusedNodePorts = "refused-node-ports"
	// setHairpin pairs each endpoint with itself: a pod that reached itself
	// through a service must see another source address than its own.
	setHairpin = "hairpin"

	chainReject = "reject-new"
	targetDrop  = "drop" // a verdict, where the others are chains
)

// element is one key of one set.
type element struct {
	set   string
	addr  netip.Addr // not in setNodePorts and setRefusedNodePorts
	proto uint8      // not in setHairpin
	port  uint16     // not in setHairpin
}

// chain is the content of one service port's chain: what happens to the first
// packet of a connection that came to the service.
type chain struct {
	proto uint8
	// sources, where there are any, are the only ones let through.
	sources []netip.Prefix
	// masquerade replaces the client's address by the node's.
	masquerade bool
	affinity   time.Duration
	endpoints  []netip.AddrPort
}

// rendered is all that one service adds to the table of one address family.
type rendered struct {
	elements map[element]string // to the chain or verdict it leads to
	chains   map[string]chain
}

// render says what a service's ports add to the table of one address family. It
// is pure.
func render(name types.NamespacedName, ports []proxy.Port, v6 bool) rendered {
	r := rendered{elements: map[element]string{}, chains: map[string]chain{}}
	of := func(addrs []netip.Addr) []netip.Addr {
		var same []netip.Addr
		for _, a := range addrs {
			if a.Is6() == v6 {
				same = append(same, a)
			}
		}
		return same
	}
	for i := range ports {
		p := &ports[i]
		proto := uint8(protoTCP)
		if p.Protocol == corev1.ProtocolUDP {
			proto = protoUDP
		}
		suffix := "/" + name.Namespace + "/" + name.Name + "/" + strings.ToLower(string(p.Protocol)) + "/" + p.Name
		internal := sameFamily(p.Internal.Endpoints, v6)
		external := sameFamily(p.External.Endpoints, v6)

		if addrs := of(p.ClusterAddrs); len(addrs) > 0 {
			target := r.add("service"+suffix, chain{proto: proto, affinity: p.Affinity, endpoints: internal}, p.Internal.Drop)
			r.lead(target, setVIPs, setRefusedVIPs, proto, p.Number, addrs...)
		}
		outside := chain{proto: proto, masquerade: !p.ExternalLocal, affinity: p.Affinity, endpoints: external}
		externals, balancers := of(p.ExternalAddrs), of(p.LoadBalancerAddrs)
		if p.NodePort != 0 || len(externals) > 0 || len(balancers) > 0 && len(p.SourceRanges) == 0 {
			target := r.add("external"+suffix, outside, p.External.Drop)
			r.lead(target, setVIPs, setRefusedVIPs, proto, p.Number, externals...)
			if len(p.SourceRanges) == 0 {
				r.lead(target, setVIPs, setRefusedVIPs, proto, p.Number, balancers...)
			}
			if p.NodePort != 0 {
				r.lead(target, setNodePorts, setRefusedNodePorts, proto, p.NodePort, netip.Addr{})
			}
		}
		if len(balancers) > 0 && len(p.SourceRanges) > 0 {
			outside.sources = samePrefixes(p.SourceRanges, v6)
			target := r.add("balancer"+suffix, outside, p.External.Drop)
			r.lead(target, setVIPs, setRefusedVIPs, proto, p.Number, balancers...)
		}
		for _, ep := range append(internal, external...) {
			r.elements[element{set: setHairpin, addr: ep.Addr()}] = ""
		}
	}
	return r
}

// add makes a chain and returns what leads to it: its name, or the verdict for a
// service port without endpoints.
func (r *rendered) add(name string, c chain, dropEmpty bool) (target string) {
	switch {
	case len(c.endpoints) > 0:
		r.chains[name] = c
		return name
	case dropEmpty:
		return targetDrop
	default:
		return chainReject
	}
}

// lead makes packets to the addresses go to target.
func (r *rendered) lead(target, served, refused string, proto uint8, port uint16, addrs ...netip.Addr) {
	set := served
	if target == targetDrop || target == chainReject {
		set = refused
	}
	for _, addr := range addrs {
		r.elements[element{set: set, addr: addr, proto: proto, port: port}] = target
	}
}

func sameFamily(endpoints []netip.AddrPort, v6 bool) []netip.AddrPort {
	var same []netip.AddrPort
	for _, ep := range endpoints {
		if ep.Addr().Is6() == v6 {
			same = append(same, ep)
		}
	}
	return same
}

func samePrefixes(prefixes []netip.Prefix, v6 bool) []netip.Prefix {
	// No prefix of the family must not mean "anyone": the unspecified address
	// as the only source lets nobody in.
	same := []netip.Prefix{}
	for _, p := range prefixes {
		if p.Addr().Is6() == v6 {
			same = append(same, p)
		}
	}
	if len(same) == 0 {
		nobody := netip.IPv4Unspecified()
		if v6 {
			nobody = netip.IPv6Unspecified()
		}
		same = append(same, netip.PrefixFrom(nobody, nobody.BitLen()))
	}
	return same
}
