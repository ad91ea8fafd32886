package fake

import (
	"errors"
	"net/netip"
)

// addresses hands out the addresses of a range: in order, freed ones first. The
// network's own and the gateway's (the first two) stay free.
type addresses struct {
	in    netip.Prefix
	next  netip.Addr
	freed []netip.Addr
}

func newAddresses(in netip.Prefix) addresses {
	in = in.Masked()
	return addresses{in: in, next: in.Addr().Next().Next()}
}

func (a *addresses) take() (netip.Addr, error) {
	if n := len(a.freed); n > 0 {
		addr := a.freed[n-1]
		a.freed = a.freed[:n-1]
		return addr, nil
	}
	if !a.next.IsValid() || !a.in.Contains(a.next) || a.in.Addr().Is4() && !a.in.Contains(a.next.Next()) {
		return netip.Addr{}, errors.New("no address is left in " + a.in.String())
	}
	addr := a.next
	a.next = a.next.Next()
	return addr, nil
}

func (a *addresses) give(addr netip.Addr) { a.freed = append(a.freed, addr) }
