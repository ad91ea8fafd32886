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
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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

// Host is one network namespace.
type Host struct {
	Addr netip.Addr
	ns   netns.NsHandle
}

// FD is a file descriptor of the namespace, valid until the test ends.
func (h Host) FD() int { return int(h.ns) }

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
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &Network{Node: newHost(t, nodeAddr), Outside: newHost(t, outsideAddr)}
	link(t, n.Outside, "eth0", netip.PrefixFrom(outsideAddr, 24), n.Node, "eth0", netip.PrefixFrom(nodeAddr, 24))
	n.Outside.do(t, func(h *netlink.Handle) error { return defaultRoute(h, "eth0", nodeAddr) })
	n.Node.do(t, func(h *netlink.Handle) error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods"}}
		if err := h.LinkAdd(bridge); err != nil {
			return err
		}
		if err := addAddr(h, "pods", netip.PrefixFrom(bridgeAddr, 24)); err != nil {
			return err
		}
		// As a node has one: what has no route is sent nowhere, not even
		// through the proxier.
		if err := defaultRoute(h, "eth0", outsideAddr); err != nil {
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
		link(t, pod, "eth0", netip.PrefixFrom(addr, 32), n.Node, fmt.Sprintf("pod%d", i), netip.Prefix{})
		pod.do(t, func(h *netlink.Handle) error {
			eth, err := h.LinkByName("eth0")
			if err != nil {
				return err
			}
			gateway := &net.IPNet{IP: bridgeAddr.AsSlice(), Mask: net.CIDRMask(32, 32)}
			if err := h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: gateway, Scope: netlink.SCOPE_LINK}); err != nil {
				return err
			}
			return defaultRoute(h, "eth0", bridgeAddr)
		})
		n.Node.do(t, func(h *netlink.Handle) error {
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

func newHost(t testing.TB, addr netip.Addr) Host {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	ns, err := netns.New()
	if err != nil {
		t.Skipf("making a network namespace: %v", err)
	}
	if err := netns.Set(back); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	host := Host{Addr: addr, ns: ns}
	host.do(t, func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.LinkSetUp(lo)
	})
	return host
}

// In runs f on a thread that is in the host's namespace; sockets that f opens
// stay there.
func (h Host) In(f func() error) error {
	errs := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else
		// meets it in a foreign namespace.
		runtime.LockOSThread()
		if err := netns.Set(h.ns); err != nil {
			errs <- err
			return
		}
		errs <- f()
	}()
	return <-errs
}

func (h Host) do(t testing.TB, f func(*netlink.Handle) error) {
	t.Helper()
	if err := h.In(func() error {
		handle, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer handle.Close()
		return f(handle)
	}); err != nil {
		t.Fatalf("setting up %v: %v", h.Addr, err)
	}
}

// link joins two hosts by a pair of devices.
func link(t testing.TB, a Host, aName string, aAddr netip.Prefix, b Host, bName string, bAddr netip.Prefix) {
	t.Helper()
	a.do(t, func(h *netlink.Handle) error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName}, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}
		if err := h.LinkAdd(pair); err != nil {
			return err
		}
		return addAddr(h, aName, aAddr)
	})
	b.do(t, func(h *netlink.Handle) error { return addAddr(h, bName, bAddr) })
}

func addAddr(h *netlink.Handle, name string, addr netip.Prefix) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if addr.IsValid() {
		ipnet := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}
		if err := h.AddrAdd(dev, &netlink.Addr{IPNet: ipnet}); err != nil {
			return err
		}
	}
	return h.LinkSetUp(dev)
}

func defaultRoute(h *netlink.Handle, name string, via netip.Addr) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{LinkIndex: dev.Attrs().Index, Gw: via.AsSlice()})
}

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
	return ask(conn)
}

// patience is how long an answer may take before it counts as dropped.
const patience = time.Second

func ask(conn net.Conn) (Answer, error) {
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
