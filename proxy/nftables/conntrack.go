package nftables

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lostFlow names tracked UDP flows to forget: those that were sent on to
// endpoint, or, where that is not set, those that a client sent to a service
// address (to may be invalid: any) and port and that nothing translated.
type lostFlow struct {
	endpoint netip.AddrPort
	to       netip.Addr
	port     uint16
}

// lostFlows is the filter of one pass over the tracking table.
type lostFlows struct {
	endpoints map[netip.AddrPort]struct{}
	direct    map[netip.AddrPort]struct{}
	ports     map[uint16]struct{}
	// serves, where it is set, are the endpoints of each service address (of a
	// node port, without the address): flows from there to others are lost.
	serves map[netip.AddrPort][]netip.AddrPort
}

func newLostFlows(list []lostFlow) *lostFlows {
	f := &lostFlows{endpoints: map[netip.AddrPort]struct{}{}, direct: map[netip.AddrPort]struct{}{}, ports: map[uint16]struct{}{}}
	for _, l := range list {
		switch {
		case l.endpoint.IsValid():
			f.endpoints[l.endpoint] = struct{}{}
		case l.to.IsValid():
			f.direct[netip.AddrPortFrom(l.to, l.port)] = struct{}{}
		default:
			f.ports[l.port] = struct{}{}
		}
	}
	return f
}

// MatchConntrackFlow is netlink's filter interface.
func (f *lostFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != protoUDP {
		return false
	}
	to, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	original := netip.AddrPortFrom(to.Unmap(), flow.Forward.DstPort)
	translated := netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort)
	if original != translated {
		if _, lost := f.endpoints[translated]; lost {
			return true
		}
		serving, known := f.serves[original]
		if !known {
			serving, known = f.serves[netip.AddrPortFrom(netip.Addr{}, original.Port())]
		}
		return known && !slices.Contains(serving, translated)
	}
	_, direct := f.direct[original]
	_, port := f.ports[original.Port()]
	return direct || port
}

// forget removes the tracked flows of one address family, in the network
// namespace of the file descriptor, or the process's own where that is 0.
func (f *lostFlows) forget(v6 bool, namespace int) error {
	if len(f.endpoints)+len(f.direct)+len(f.ports)+len(f.serves) == 0 {
		return nil
	}
	at := netns.None()
	if namespace != 0 {
		at = netns.NsHandle(namespace)
	}
	handle, err := netlink.NewHandleAt(at, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer handle.Close()
	family := netlink.InetFamily(unix.AF_INET)
	if v6 {
		family = unix.AF_INET6
	}
	_, err = handle.ConntrackDeleteFilters(netlink.ConntrackTable, family, f)
	if errors.Is(err, unix.ENOENT) { // a flow that ended meanwhile
		return nil
	}
	return err
}
