// Package testnet gives tests network namespaces of their own: hosts with their own
// addresses on one machine, which end with the test.
package testnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Host is one network namespace.
type Host struct {
	Addr netip.Addr
	ns   netns.NsHandle
}

// New makes a namespace with its loopback up, or skips the test where the
// privilege to do so is missing. addr only names the host.
func New(t testing.TB, addr netip.Addr) Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
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
	host.Do(t, func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.LinkSetUp(lo)
	})
	return host
}

// Machine makes a namespace that looks like a machine on a network: a device with
// the address (a bridge without ports: every kernel has those) and a default route,
// which leads nowhere.
func Machine(t testing.TB, addr netip.Addr) Host {
	t.Helper()
	host := New(t, addr)
	host.Do(t, func(h *netlink.Handle) error {
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}); err != nil {
			return err
		}
		if err := AddAddr(h, "eth0", netip.PrefixFrom(addr, 24)); err != nil {
			return err
		}
		return DefaultRoute(h, "eth0", addr.Prev())
	})
	return host
}

// FD is a file descriptor of the namespace, valid until the test ends.
func (h Host) FD() int { return int(h.ns) }

// In runs f on a thread that is in the host's namespace; sockets that f opens and
// processes that it starts stay there.
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

// Do runs f in the namespace with netlink at hand; an error fails the test.
func (h Host) Do(t testing.TB, f func(*netlink.Handle) error) {
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

// Link joins two hosts by a pair of devices.
func Link(t testing.TB, a Host, aName string, aAddr netip.Prefix, b Host, bName string, bAddr netip.Prefix) {
	t.Helper()
	a.Do(t, func(h *netlink.Handle) error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName}, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}
		if err := h.LinkAdd(pair); err != nil {
			return err
		}
		return AddAddr(h, aName, aAddr)
	})
	b.Do(t, func(h *netlink.Handle) error { return AddAddr(h, bName, bAddr) })
}

// AddAddr gives a device an IPv4 address, if one is given, and sets it up.
func AddAddr(h *netlink.Handle, name string, addr netip.Prefix) error {
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

// DefaultRoute leads everything through a device.
func DefaultRoute(h *netlink.Handle, name string, via netip.Addr) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{LinkIndex: dev.Attrs().Index, Gw: via.AsSlice()})
}

// Dial connects from the host; it has the form of a client's Dial option.
func (h Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.In(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
