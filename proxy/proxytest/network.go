// Package proxytest is the contract of a [proxy.Proxier] as code: a node with pods
// and a neighbour, in network namespaces of their own, real connections through
// the proxier, and checks of where they arrive.
package proxytest

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/strake-io/strake/internal/testnet"
)

// Network is a node, pods behind it and a client outside, each in a network
// namespace:
//
//	outside 192.168.77.2 ── node 192.168.77.1, bridge 10.244.77.1 ── pods 10.244.77.11, .12, ...
//
// The pods serve TCP and UDP on port 8080 and answer each request with their own
// address and the client's.
type Network struct {
	Node, Outside Host
	Pods          []Host
}

// Host is one of its network namespaces.
type Host struct{ testnet.Host }

// ServicePort is what the pods listen on.
const ServicePort = 8080

var (
	nodeAddr    = netip.MustParseAddr("192.168.77.1")
	outsideAddr = netip.MustParseAddr("192.168.77.2")
	bridgeAddr  = netip.MustParseAddr("10.244.77.1")
)

// NewNetwork builds the network with that many pods, or skips the test where the
// privilege to do so is missing. All of it goes when the test ends.
func NewNetwork(t testing.TB, pods int) *Network {
	t.Helper()
	n := &Network{Node: newHost(t, nodeAddr), Outside: newHost(t, outsideAddr)}
	testnet.Link(t, n.Outside.Host, "eth0", netip.PrefixFrom(outsideAddr, 24), n.Node.Host, "eth0", netip.PrefixFrom(nodeAddr, 24))
	n.Outside.Do(t, func(h *netlink.Handle) error { return testnet.DefaultRoute(h, "eth0", nodeAddr) })
	n.Node.Do(t, func(h *netlink.Handle) error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods"}}
		if err := h.LinkAdd(bridge); err != nil {
			return err
		}
		if err := testnet.AddAddr(h, "pods", netip.PrefixFrom(bridgeAddr, 24)); err != nil {
			return err
		}
		// As a node has one: what has no route is sent nowhere, not even
		// through the proxier.
		if err := testnet.DefaultRoute(h, "eth0", outsideAddr); err != nil {
			return err
		}
		for _, sysctl := range []string{"ip_forward", "conf/all/send_redirects"} {
			value := map[string]string{"ip_forward": "1"}[sysctl]
			if value == "" {
				value = "0"
			}
			if err := os.WriteFile("/proc/sys/net/ipv4/"+sysctl, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range pods {
		addr := netip.AddrFrom4([4]byte{10, 244, 77, byte(11 + i)})
		pod := newHost(t, addr)
		// A pod knows no neighbours: its only route is the node, so that what
		// was translated on the way out is translated on the way back.
		testnet.Link(t, pod.Host, "eth0", netip.PrefixFrom(addr, 32), n.Node.Host, fmt.Sprintf("pod%d", i), netip.Prefix{})
		pod.Do(t, func(h *netlink.Handle) error {
			eth, err := h.LinkByName("eth0")
			if err != nil {
				return err
			}
			gateway := &net.IPNet{IP: bridgeAddr.AsSlice(), Mask: net.CIDRMask(32, 32)}
			if err := h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: gateway, Scope: netlink.SCOPE_LINK}); err != nil {
				return err
			}
			return testnet.DefaultRoute(h, "eth0", bridgeAddr)
		})
		n.Node.Do(t, func(h *netlink.Handle) error {
			port, err := h.LinkByName(fmt.Sprintf("pod%d", i))
			if err != nil {
				return err
			}
			bridge, err := h.LinkByName("pods")
			if err != nil {
				return err
			}
			if err := h.LinkSetMaster(port, bridge); err != nil {
				return err
			}
			return h.LinkSetHairpin(port, true)
		})
		serve(t, pod)
		n.Pods = append(n.Pods, pod)
	}
	return n
}

func newHost(t testing.TB, addr netip.Addr) Host { return Host{testnet.New(t, addr)} }

// serve answers "<own address> <client's address>" on TCP and UDP.
func serve(t testing.TB, pod Host) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	if err := pod.In(func() (err error) {
		at := netip.AddrPortFrom(netip.IPv4Unspecified(), ServicePort).String()
		if tcp, err = net.Listen("tcp4", at); err != nil {
			return err
		}
		udp, err = net.ListenPacket("udp4", at)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			client, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%s %s", pod.Addr, client)
			conn.Close()
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			client, _, _ := net.SplitHostPort(from.String())
			_, _ = udp.WriteTo([]byte(pod.Addr.String()+" "+client), from)
		}
	}()
	t.Cleanup(func() {
		tcp.Close()
		udp.Close()
		<-done
		<-done
	})
}

// Answer is what a pod said.
type Answer struct {
	Pod    netip.Addr
	Client netip.Addr // as the pod saw it
}

// Ask connects from a host to an address and returns which pod answered.
func (h Host) Ask(network string, to netip.AddrPort) (Answer, error) {
	var conn net.Conn
	if err := h.In(func() (err error) {
		conn, err = net.DialTimeout(network, to.String(), patience)
		return err
	}); err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	return AskOver(conn)
}

// patience is how long an answer may take before it counts as dropped.
const patience = time.Second

// AskOver asks over a connection that is there, such as a UDP socket whose flow is
// tracked.
func AskOver(conn net.Conn) (Answer, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return Answer{}, err
	}
	if conn.RemoteAddr().Network() == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return Answer{}, err
		}
		buf := make([]byte, 64)
		n, err := conn.Read(buf)
		if err != nil {
			return Answer{}, err
		}
		return parse(string(buf[:n]))
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		return Answer{}, err
	}
	return parse(string(said))
}

func parse(said string) (Answer, error) {
	pod, client, _ := strings.Cut(said, " ")
	p, err := netip.ParseAddr(pod)
	if err != nil {
		return Answer{}, err
	}
	c, err := netip.ParseAddr(client)
	return Answer{Pod: p, Client: c}, err
}
