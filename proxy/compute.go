package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// defaultAffinityTimeout of sessionAffinity ClientIP, as the API's default.
const defaultAffinityTimeout = 3 * time.Hour

// Compute says how a node serves one service, given the endpoint slices that
// carry its name. It is pure; nothing it returns is shared with its input.
// Headless and ExternalName services, and ports that are neither TCP nor UDP,
// give nothing.
//
// Which endpoints count follows upstream: the ready ones, or, where no endpoint
// is ready, those that still serve while they terminate (KEP-1669); with a
// traffic policy of Local only those on this node.
func Compute(svc *corev1.Service, epSlices []*discoveryv1.EndpointSlice, node string) []Port {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	var ports []Port
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		if sp.Protocol != corev1.ProtocolTCP && sp.Protocol != corev1.ProtocolUDP {
			continue
		}
		found := gather(epSlices, sp, node)
		p := Port{
			Name:              sp.Name,
			Protocol:          sp.Protocol,
			ClusterAddrs:      clusterAddrs(svc),
			ExternalAddrs:     parseAddrs(svc.Spec.ExternalIPs),
			LoadBalancerAddrs: loadBalancerAddrs(svc),
			Number:            uint16(sp.Port),
			NodePort:          uint16(sp.NodePort),
			SourceRanges:      sourceRanges(svc),
			Affinity:          affinity(svc),
		}
		p.Internal = found.backends(svc.Spec.InternalTrafficPolicy != nil && *svc.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal)
		p.ExternalLocal = svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
		p.External = found.backends(p.ExternalLocal)
		ports = append(ports, p)
	}
	return ports
}

// endpoint is one address of a service port, with what decides its use.
type endpoint struct {
	addr           netip.AddrPort
	ready, serving bool // serving: serves while it terminates
	local          bool
}

type endpoints []endpoint

// gather reads the endpoints of one service port. An address may stand in two
// slices for a moment, while it moves: it counts once, as ready if either says so.
func gather(epSlices []*discoveryv1.EndpointSlice, sp *corev1.ServicePort, node string) endpoints {
	at := map[netip.AddrPort]endpoint{}
	for _, s := range epSlices {
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for _, port := range s.Ports {
			if port.Port == nil || deref(port.Name, "") != sp.Name || deref(port.Protocol, corev1.ProtocolTCP) != sp.Protocol {
				continue
			}
			for _, ep := range s.Endpoints {
				if len(ep.Addresses) == 0 {
					continue
				}
				ip, err := netip.ParseAddr(ep.Addresses[0])
				if err != nil {
					continue
				}
				addr := netip.AddrPortFrom(ip.Unmap(), uint16(*port.Port))
				old := at[addr]
				at[addr] = endpoint{
					addr:    addr,
					ready:   old.ready || deref(ep.Conditions.Ready, true),
					serving: old.serving || (deref(ep.Conditions.Serving, deref(ep.Conditions.Ready, true)) && deref(ep.Conditions.Terminating, false)),
					local:   old.local || ep.NodeName != nil && *ep.NodeName == node,
				}
			}
		}
	}
	found := make(endpoints, 0, len(at))
	for _, ep := range at {
		found = append(found, ep)
	}
	slices.SortFunc(found, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	return found
}

// backends picks the endpoints that take traffic.
func (all endpoints) backends(localOnly bool) Backends {
	pick := func(ok func(endpoint) bool) []netip.AddrPort {
		var picked []netip.AddrPort
		for _, ep := range all {
			if ok(ep) && (!localOnly || ep.local) {
				picked = append(picked, ep.addr)
			}
		}
		return picked
	}
	chosen := pick(func(ep endpoint) bool { return ep.ready })
	if len(chosen) == 0 {
		chosen = pick(func(ep endpoint) bool { return ep.serving })
	}
	elsewhere := slices.ContainsFunc(all, func(ep endpoint) bool { return ep.ready || ep.serving })
	return Backends{Endpoints: chosen, Drop: len(chosen) == 0 && localOnly && elsewhere}
}

func clusterAddrs(svc *corev1.Service) []netip.Addr {
	ips := svc.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{svc.Spec.ClusterIP}
	}
	return parseAddrs(ips)
}

func loadBalancerAddrs(svc *corev1.Service) []netip.Addr {
	var ips []string
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		if ingress.IP != "" && deref(ingress.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			ips = append(ips, ingress.IP)
		}
	}
	return parseAddrs(ips)
}

func parseAddrs(ips []string) []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range ips {
		if addr, err := netip.ParseAddr(ip); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func sourceRanges(svc *corev1.Service) []netip.Prefix {
	var ranges []netip.Prefix
	for _, r := range svc.Spec.LoadBalancerSourceRanges {
		if prefix, err := netip.ParsePrefix(r); err == nil {
			ranges = append(ranges, prefix.Masked())
		}
	}
	slices.SortFunc(ranges, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(ranges)
}

func affinity(svc *corev1.Service) time.Duration {
	if svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := svc.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
	}
	return defaultAffinityTimeout
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
