package program

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Addresses of a listening API.
type Addresses struct {
	// Listen is where it listens, URL how a client on this machine says that.
	Listen netip.AddrPort
	URL    string
	// Advertise is where pods reach it; invalid where they do not.
	Advertise netip.AddrPort
}

// Listen opens the API's listener.
func Listen(ctx context.Context, address string, config *tls.Config) (net.Listener, netip.AddrPort, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("--listen: %w", err)
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		l.Close()
		return nil, netip.AddrPort{}, err
	}
	return tls.NewListener(l, config), netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// ListenForPods opens a listener on an address that may not exist yet: that of the
// bridge, which pods reach and nobody outside of this machine does.
func ListenForPods(ctx context.Context, at netip.AddrPort, config *tls.Config) (net.Listener, error) {
	free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		if err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		}); err != nil {
			return err
		}
		return opt
	}}
	l, err := free.Listen(ctx, "tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("listening for pods: %w", err)
	}
	return tls.NewListener(l, config), nil
}

// URL by which a client on this machine reaches a listener.
func URL(at netip.AddrPort) string {
	if at.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	return "https://" + at.String()
}

// MachineAddresses are this machine's addresses that others can reach it by, IPv4
// first.
func MachineAddresses() []string {
	var v4, v6 []string
	addrs, _ := net.InterfaceAddrs() // no addresses is an answer too
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix.Addr().String())
		} else {
			v6 = append(v6, prefix.Addr().String())
		}
	}
	return append(v4, v6...)
}

// Advertise is where pods of other machines reach a listener: its address, or this
// machine's where it listens on all. A loopback address is not advertised.
func Advertise(at netip.AddrPort) netip.AddrPort {
	if at.Addr().IsUnspecified() {
		for _, a := range MachineAddresses() {
			return netip.AddrPortFrom(netip.MustParseAddr(a), at.Port())
		}
	}
	if at.Addr().IsLoopback() || at.Addr().IsUnspecified() {
		return netip.AddrPort{}
	}
	return at
}

// JoinURL is how nodes call the listener.
func JoinURL(at netip.AddrPort) string {
	if from := Advertise(at); from.IsValid() {
		return "https://" + from.String()
	}
	return URL(at)
}
