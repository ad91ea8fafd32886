package allocator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/strake-io/strake/store"
)

const (
	addressPrefix = "/registry/ipaddresses/"
	managedBy     = "ipallocator.k8s.io"
	// guesses is how many random addresses are tried before the pool is listed:
	// enough while most of it is free.
	guesses = 8
)

// AddressConfig configures [NewAddresses].
type AddressConfig struct {
	// Store that keeps the allocations. Required.
	Store store.Store
	// CIDR is the pool, for instance 10.96.0.0/12; of an IPv4 range the first and
	// the last address are never used. Required.
	CIDR netip.Prefix
	// IntN gives a random number in [0, n) and must be safe for concurrent use;
	// nil means math/rand/v2. Give one to make choices repeatable.
	IntN func(n int) int
}

// Addresses is a pool of cluster IPs of one family. It is safe for concurrent
// use, by several processes too.
type Addresses struct {
	cfg   AddressConfig
	first netip.Addr
	size  uint64
}

// Owner is the service that holds addresses.
type Owner struct{ Namespace, Name string }

// NewAddresses makes a pool; it touches no store.
func NewAddresses(cfg AddressConfig) (*Addresses, error) {
	if cfg.Store == nil {
		return nil, errors.New("allocator: a store is required")
	}
	if !cfg.CIDR.IsValid() {
		return nil, fmt.Errorf("allocator: %q is no address range", cfg.CIDR)
	}
	cfg.CIDR = cfg.CIDR.Masked()
	cfg.IntN = intN(cfg.IntN)
	bits := cfg.CIDR.Addr().BitLen() - cfg.CIDR.Bits()
	size := uint64(math.MaxUint32)
	if bits < 32 {
		size = 1 << bits
	}
	if size < 4 {
		return nil, fmt.Errorf("allocator: the range %s is too small to allocate addresses from", cfg.CIDR)
	}
	// Without the network's own address and, in IPv4, its broadcast address.
	size--
	if cfg.CIDR.Addr().Is4() {
		size--
	}
	return &Addresses{cfg: cfg, first: cfg.CIDR.Addr().Next(), size: size}, nil
}

// CIDR is the pool.
func (a *Addresses) CIDR() netip.Prefix { return a.cfg.CIDR }

// Family is the pool's IP family.
func (a *Addresses) Family() corev1.IPFamily {
	if a.cfg.CIDR.Addr().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// First is the first address of the pool: the kubernetes service's.
func (a *Addresses) First() netip.Addr { return a.first }

// at is the address n places behind the first.
func (a *Addresses) at(n uint64) netip.Addr {
	sum := new(big.Int).SetBytes(a.first.AsSlice())
	sum.Add(sum, new(big.Int).SetUint64(n))
	raw := make([]byte, a.first.BitLen()/8)
	sum.FillBytes(raw)
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

func (a *Addresses) contains(ip netip.Addr) bool {
	return a.cfg.CIDR.Contains(ip) && ip.Compare(a.first) >= 0 && ip.Compare(a.at(a.size-1)) <= 0
}

// Allocate takes a certain address, or fails with [ErrAddressTaken] or
// [ErrOtherNetwork]. A dry run only looks.
func (a *Addresses) Allocate(ctx context.Context, owner Owner, ip netip.Addr, dryRun bool) error {
	if !a.contains(ip) {
		return ErrOtherNetwork
	}
	return a.take(ctx, owner, ip, dryRun)
}

func (a *Addresses) take(ctx context.Context, owner Owner, ip netip.Addr, dryRun bool) error {
	key := addressPrefix + ip.String()
	if dryRun {
		kv, _, err := a.cfg.Store.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("reading the allocation of %s: %w", ip, err)
		}
		if kv != nil {
			return ErrAddressTaken
		}
		return nil
	}
	value, err := encode(newIPAddress(owner, ip, a.Family(), time.Now()))
	if err != nil {
		return fmt.Errorf("encoding the allocation of %s: %w", ip, err)
	}
	switch _, err := a.cfg.Store.Put(ctx, store.Put{Key: key, Value: value, If: store.Absent}); {
	case errors.Is(err, store.ErrConflict):
		return ErrAddressTaken
	case err != nil:
		return fmt.Errorf("writing the allocation of %s: %w", ip, err)
	}
	return nil
}

// AllocateNext takes any free address, or fails with [ErrFull].
func (a *Addresses) AllocateNext(ctx context.Context, owner Owner, dryRun bool) (netip.Addr, error) {
	band := staticBand(a.size, 16, 256)
	dynamic := a.size - band
	for range guesses {
		ip := a.at(band + a.random(dynamic))
		switch err := a.take(ctx, owner, ip, dryRun); {
		case err == nil:
			return ip, nil
		case !errors.Is(err, ErrAddressTaken):
			return netip.Addr{}, err
		}
	}
	return a.search(ctx, owner, band, dryRun)
}

func (a *Addresses) random(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(a.cfg.IntN(int(min(n, math.MaxInt32))))
}

// search finds a free address in a crowded pool: behind the static band first,
// from a random place round, then in the band.
func (a *Addresses) search(ctx context.Context, owner Owner, band uint64, dryRun bool) (netip.Addr, error) {
	list, err := a.cfg.Store.List(ctx, addressPrefix, store.ListOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("listing the allocated addresses: %w", err)
	}
	taken := make(map[netip.Addr]bool, len(list.KVs))
	for _, kv := range list.KVs {
		if ip, err := netip.ParseAddr(kv.Key[len(addressPrefix):]); err == nil {
			taken[ip] = true
		}
	}
	try := func(from, to, start uint64) (netip.Addr, error) {
		n := to - from
		for i := uint64(0); i < n; i++ {
			ip := a.at(from + (start+i)%n)
			if taken[ip] {
				continue
			}
			// Another master may have been faster since the list: then go on.
			err := a.take(ctx, owner, ip, dryRun)
			if err == nil || !errors.Is(err, ErrAddressTaken) {
				return ip, err
			}
		}
		return netip.Addr{}, ErrFull
	}
	ip, err := try(band, a.size, a.random(a.size-band))
	if errors.Is(err, ErrFull) && band > 0 {
		ip, err = try(0, band, a.random(band))
	}
	return ip, err
}

// Release gives an address back if owner holds it; otherwise it does nothing.
func (a *Addresses) Release(ctx context.Context, owner Owner, ip netip.Addr) error {
	if !a.cfg.CIDR.Contains(ip) {
		return nil
	}
	return releaseKey(ctx, a.cfg.Store, addressPrefix+ip.String(), owner)
}

func releaseKey(ctx context.Context, s store.Store, key string, owner Owner) error {
	for {
		kv, _, err := s.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		if kv == nil {
			return nil
		}
		var held networkingv1.IPAddress
		if err := decode(kv.Value, &held); err != nil {
			return fmt.Errorf("decoding %s: %w", key, err)
		}
		if ownerOf(&held) != owner {
			return nil
		}
		if _, err := s.Delete(ctx, key, store.At(kv.ModRevision)); err == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func ownerOf(ip *networkingv1.IPAddress) Owner {
	ref := ip.Spec.ParentRef
	if ref == nil || ref.Group != "" || ref.Resource != "services" {
		return Owner{}
	}
	return Owner{Namespace: ref.Namespace, Name: ref.Name}
}

func newIPAddress(owner Owner, ip netip.Addr, family corev1.IPFamily, now time.Time) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"},
		ObjectMeta: metav1.ObjectMeta{
			Name:              ip.String(),
			UID:               uuid.NewUUID(),
			CreationTimestamp: metav1.NewTime(now.Truncate(time.Second)),
			Generation:        1,
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(family),
				networkingv1.LabelManagedBy:       managedBy,
			},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: owner.Namespace, Name: owner.Name,
		}},
	}
}
