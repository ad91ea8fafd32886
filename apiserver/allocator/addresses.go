package allocator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
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
	// guesses is how many random addresses are tried before all that are taken are
	// listed: enough while most are free.
	guesses = 8
)

// AddressConfig configures [NewAddresses].
type AddressConfig struct {
	// Store that keeps the allocations. Required.
	Store store.Store
	// CIDR is the cluster's own range, for instance 10.96.0.0/12: the one that
	// addresses come from until [Addresses.Use] says otherwise. Of a range, the
	// first address and, of an IPv4 one, the last are never used. Required.
	CIDR netip.Prefix
	// IntN gives a random number in [0, n) and must be safe for concurrent use;
	// nil means math/rand/v2. Give one to make choices repeatable.
	IntN func(n int) int
}

// Addresses are the cluster IPs of one family, from all the ranges that there are of
// it (KEP-1880). It is safe for concurrent use, by several processes too.
type Addresses struct {
	cfg    AddressConfig
	home   span
	ranges atomic.Pointer[spans]
}

// Range is a range of cluster IPs. One that is not Open gives no more addresses; those
// that it gave remain.
type Range struct {
	CIDR netip.Prefix
	Open bool
}

// spans is what is known of the ranges at one moment: all of them, and the open ones.
type spans struct{ all, open []span }

// Owner is the service that holds addresses.
type Owner struct{ Namespace, Name string }

// NewAddresses makes a pool; it touches no store.
func NewAddresses(cfg AddressConfig) (*Addresses, error) {
	if cfg.Store == nil {
		return nil, errors.New("allocator: a store is required")
	}
	home, err := spanOf(cfg.CIDR)
	if err != nil {
		return nil, err
	}
	cfg.CIDR = cfg.CIDR.Masked()
	cfg.IntN = intN(cfg.IntN)
	a := &Addresses{cfg: cfg, home: home}
	a.Use([]Range{{CIDR: cfg.CIDR, Open: true}})
	return a, nil
}

// Use makes ranges those that addresses come from, in place of all before; they may
// overlap. Allocations that run finish with what they found. Ranges of the other family,
// and those that hold no address that a service may have, are passed over.
func (a *Addresses) Use(ranges []Range) {
	now := &spans{}
	for _, r := range ranges {
		s, err := spanOf(r.CIDR)
		if err != nil || s.first.BitLen() != a.home.first.BitLen() {
			continue
		}
		now.all = append(now.all, s)
		if r.Open {
			now.open = append(now.open, s)
		}
	}
	a.ranges.Store(now)
}

// CIDR is the cluster's own range.
func (a *Addresses) CIDR() netip.Prefix { return a.cfg.CIDR }

// Family is the IP family of all addresses.
func (a *Addresses) Family() corev1.IPFamily { return familyOf(a.home.first) }

func familyOf(ip netip.Addr) corev1.IPFamily {
	if ip.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// First is the first address of the cluster's own range: the kubernetes service's.
func (a *Addresses) First() netip.Addr { return a.home.first }

// Allocate takes a certain address, or fails with [ErrAddressTaken] or
// [ErrOtherNetwork]. A dry run only looks.
func (a *Addresses) Allocate(ctx context.Context, owner Owner, ip netip.Addr, dryRun bool) error {
	if !holder(a.ranges.Load().open, ip) {
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
	value, err := encode(newIPAddress(owner, ip, time.Now()))
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

// AllocateNext takes any free address, of any range that is open, or fails with
// [ErrFull].
func (a *Addresses) AllocateNext(ctx context.Context, owner Owner, dryRun bool) (netip.Addr, error) {
	open := a.ranges.Load().open
	if len(open) == 0 {
		return netip.Addr{}, ErrFull
	}
	start := 0
	if len(open) > 1 {
		start = a.cfg.IntN(len(open))
	}
	// One range after the other, so that a full one costs little.
	for i := range guesses {
		s := &open[(start+i)%len(open)]
		ip := s.at(s.band + a.random(s.size-s.band))
		switch err := a.take(ctx, owner, ip, dryRun); {
		case err == nil:
			return ip, nil
		case !errors.Is(err, ErrAddressTaken):
			return netip.Addr{}, err
		}
	}
	found, err := a.taken(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	for i := range open {
		ip, err := a.search(ctx, owner, &open[(start+i)%len(open)], found, dryRun)
		if !errors.Is(err, ErrFull) {
			return ip, err
		}
	}
	return netip.Addr{}, ErrFull
}

func (a *Addresses) random(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(a.cfg.IntN(int(n)))
}

// taken are all addresses that somebody has.
func (a *Addresses) taken(ctx context.Context) (map[netip.Addr]bool, error) {
	list, err := a.cfg.Store.List(ctx, addressPrefix, store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the allocated addresses: %w", err)
	}
	taken := make(map[netip.Addr]bool, len(list.KVs))
	for _, kv := range list.KVs {
		if ip, err := netip.ParseAddr(kv.Key[len(addressPrefix):]); err == nil {
			taken[ip] = true
		}
	}
	return taken, nil
}

// search finds a free address in a crowded range: behind the static band first, from a
// random place round, then in the band.
func (a *Addresses) search(ctx context.Context, owner Owner, s *span, taken map[netip.Addr]bool, dryRun bool) (netip.Addr, error) {
	try := func(from, to, start uint64) (netip.Addr, error) {
		n := to - from
		for i := uint64(0); i < n; i++ {
			ip := s.at(from + (start+i)%n)
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
	ip, err := try(s.band, s.size, a.random(s.size-s.band))
	if errors.Is(err, ErrFull) && s.band > 0 {
		ip, err = try(0, s.band, a.random(s.band))
	}
	return ip, err
}

// Release gives an address back if owner holds it, whatever range and family it is of;
// otherwise it does nothing.
func (a *Addresses) Release(ctx context.Context, owner Owner, ip netip.Addr) error {
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

// writer and written are what upstream's objects say of who wrote which of their fields.
const writer = "kube-apiserver"

var written = metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},"f:ipaddress.kubernetes.io/ip-family":{},"f:ipaddress.kubernetes.io/managed-by":{}}},` +
	`"f:spec":{"f:parentRef":{".":{},"f:name":{},"f:namespace":{},"f:resource":{}}}}`)

func newIPAddress(owner Owner, ip netip.Addr, now time.Time) *networkingv1.IPAddress {
	at := metav1.NewTime(now.Truncate(time.Second))
	return &networkingv1.IPAddress{
		TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"},
		ObjectMeta: metav1.ObjectMeta{
			Name:              ip.String(),
			UID:               uuid.NewUUID(),
			CreationTimestamp: at,
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(familyOf(ip)),
				networkingv1.LabelManagedBy:       managedBy,
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: writer, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "networking.k8s.io/v1",
				Time: &at, FieldsType: "FieldsV1", FieldsV1: written,
			}},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: owner.Namespace, Name: owner.Name,
		}},
	}
}
