package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ipam keeps which sandbox has which address: a file per address, named by it and
// holding the sandbox's ID. A file appears whole by link(2), which fails where one
// is, so a crash at any point leaves either no lease or a good one.
type ipam struct {
	dir    string
	subnet netip.Prefix

	mu   sync.Mutex // guards last, and leases against each other
	last netip.Addr // given most recently: freed addresses rest before they come again
}

// gateway is the first address of a subnet, which the bridge takes.
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// following is the address to try after a, around the end; the network's own, the
// gateway's and the broadcast address are not for pods.
func following(subnet netip.Prefix, a netip.Addr) netip.Addr {
	first := gateway(subnet).Next()
	if !a.IsValid() || !subnet.Contains(a) || a.Less(first) {
		return first
	}
	next := a.Next()
	if !subnet.Contains(next) || !subnet.Contains(next.Next()) {
		return first
	}
	return next
}

// lease returns the sandbox's address, an old one or a new one.
func (p *ipam) lease(id string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	leases, err := p.read()
	if err != nil {
		return netip.Addr{}, err
	}
	for addr, owner := range leases {
		if owner == id && p.subnet.Contains(addr) {
			return addr, nil
		}
	}
	if !p.last.IsValid() {
		for addr := range leases {
			if p.subnet.Contains(addr) && (!p.last.IsValid() || p.last.Less(addr)) {
				p.last = addr
			}
		}
	}
	begin := following(p.subnet, p.last)
	for addr := begin; ; {
		if _, taken := leases[addr]; !taken {
			if err := p.write(addr, id); err != nil {
				return netip.Addr{}, err
			}
			p.last = addr
			return addr, nil
		}
		if addr = following(p.subnet, addr); addr == begin {
			return netip.Addr{}, fmt.Errorf("%w in %v", ErrExhausted, p.subnet)
		}
	}
}

// release ends the leases for which drop says so.
func (p *ipam) release(drop func(id string) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	leases, err := p.read()
	if err != nil {
		return err
	}
	var errs []error
	for addr, owner := range leases {
		if drop(owner) {
			if err := os.Remove(filepath.Join(p.dir, addr.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (p *ipam) read() (map[netip.Addr]string, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	leases := make(map[netip.Addr]string, len(entries))
	for _, e := range entries {
		addr, err := netip.ParseAddr(e.Name())
		if err != nil {
			continue // a temporary file
		}
		owner, err := os.ReadFile(filepath.Join(p.dir, e.Name()))
		if err != nil {
			return nil, err
		}
		leases[addr] = strings.TrimSpace(string(owner))
	}
	return leases, nil
}

func (p *ipam) write(addr netip.Addr, id string) error {
	tmp, err := os.CreateTemp(p.dir, ".lease-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(id + "\n")
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), filepath.Join(p.dir, addr.String()))
}

// owners of leases, sorted.
func (p *ipam) owners() ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	leases, err := p.read()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range leases {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
