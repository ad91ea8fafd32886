package allocator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/strake-io/strake/store"
)

const servicePrefix = "/registry/services/specs/"

// Repairer reconciles the pools with the services there are: what a process that
// died between taking and writing left behind is freed, and what a service
// holds but no pool knows is taken. Use one from one goroutine.
type Repairer struct {
	store store.Store
	pools []*Addresses
	ports *Ports
	// What looked leaked the last time; only what still does is freed, since a
	// service may be about to be written.
	addresses map[string]int64
	leaked    map[int32]bool
}

// NewRepairer makes a Repairer over the pools of one store.
func NewRepairer(s store.Store, pools []*Addresses, ports *Ports) *Repairer {
	return &Repairer{store: s, pools: pools, ports: ports}
}

// Repaired counts what a pass changed.
type Repaired struct {
	AddressesFreed, AddressesTaken int
	PortsFreed, PortsTaken         int
}

// Repair makes one pass. What leaked is freed by the second pass that sees it,
// so let some time go by between two.
func (r *Repairer) Repair(ctx context.Context) (Repaired, error) {
	var done Repaired
	// The allocations are read before the services: what is written in between
	// shows up as held, not as leaked.
	held, err := r.store.List(ctx, addressPrefix, store.ListOptions{})
	if err != nil {
		return done, fmt.Errorf("listing the allocated addresses: %w", err)
	}
	services, err := r.services(ctx)
	if err != nil {
		return done, err
	}
	err = errors.Join(r.repairAddresses(ctx, held, services, &done), r.repairPorts(ctx, services, &done))
	return done, err
}

func (r *Repairer) services(ctx context.Context) ([]corev1.Service, error) {
	list, err := r.store.List(ctx, servicePrefix, store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the services: %w", err)
	}
	out := make([]corev1.Service, len(list.KVs))
	for i, kv := range list.KVs {
		if err := decode(kv.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", kv.Key, err)
		}
	}
	return out, nil
}

func (r *Repairer) repairAddresses(ctx context.Context, held *store.ListResult, services []corev1.Service, done *Repaired) error {
	wanted := map[string]Owner{}
	for i := range services {
		for _, ip := range ClusterIPs(&services[i]) {
			wanted[ip.String()] = Owner{services[i].Namespace, services[i].Name}
		}
	}
	var errs []error
	suspects := map[string]int64{}
	for _, kv := range held.KVs {
		name := strings.TrimPrefix(kv.Key, addressPrefix)
		var ip networkingv1.IPAddress
		if err := decode(kv.Value, &ip); err != nil {
			errs = append(errs, fmt.Errorf("decoding %s: %w", kv.Key, err))
			continue
		}
		if owner, ok := wanted[name]; ok && owner == ownerOf(&ip) {
			delete(wanted, name)
			continue
		}
		if ip.Labels[networkingv1.LabelManagedBy] != managedBy {
			continue
		}
		if r.addresses[kv.Key] != kv.ModRevision {
			suspects[kv.Key] = kv.ModRevision
			continue
		}
		switch _, err := r.store.Delete(ctx, kv.Key, store.At(kv.ModRevision)); {
		case err == nil:
			done.AddressesFreed++
		case !errors.Is(err, store.ErrConflict):
			errs = append(errs, fmt.Errorf("freeing %s: %w", name, err))
		}
	}
	r.addresses = suspects
	for name, owner := range wanted {
		ip := netip.MustParseAddr(name)
		for _, pool := range r.pools {
			// An address is a service's, though its range give no more.
			if !holder(pool.ranges.Load().all, ip) {
				continue
			}
			switch err := pool.take(ctx, owner, ip, false); {
			case err == nil:
				done.AddressesTaken++
			case !errors.Is(err, ErrAddressTaken):
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Repairer) repairPorts(ctx context.Context, services []corev1.Service, done *Repaired) error {
	wanted := map[int32]bool{}
	for i := range services {
		for _, port := range NodePorts(&services[i]) {
			wanted[port] = true
		}
	}
	suspects := map[int32]bool{}
	freed, taken := 0, 0
	err := r.ports.change(ctx, false, func(bits *big.Int) (bool, error) {
		freed, taken = 0, 0
		clear(suspects)
		missing := maps.Clone(wanted)
		for n := range bits.BitLen() {
			port := r.ports.cfg.Range.First + int32(n)
			if bits.Bit(n) == 0 {
				continue
			}
			delete(missing, port)
			switch {
			case wanted[port]:
			case r.leaked[port]:
				bits.SetBit(bits, n, 0)
				freed++
			default:
				suspects[port] = true
			}
		}
		for port := range missing {
			if r.ports.cfg.Range.contains(port) {
				bits.SetBit(bits, int(port-r.ports.cfg.Range.First), 1)
				taken++
			}
		}
		return freed+taken > 0, nil
	})
	if err != nil {
		return err
	}
	r.leaked = suspects
	done.PortsFreed, done.PortsTaken = freed, taken
	return nil
}

// Run repairs now and then at every interval, until ctx ends. Errors go to
// report, which may be nil.
func (r *Repairer) Run(ctx context.Context, interval time.Duration, report func(Repaired, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		done, err := r.Repair(ctx)
		if report != nil && ctx.Err() == nil {
			report(done, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// ClusterIPs are the addresses that a service holds.
func ClusterIPs(s *corev1.Service) []netip.Addr {
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	all := s.Spec.ClusterIPs
	if len(all) == 0 && s.Spec.ClusterIP != "" {
		all = []string{s.Spec.ClusterIP}
	}
	var out []netip.Addr
	for _, text := range all {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, ip)
		}
	}
	return out
}

// NodePorts are the ports that a service holds, each once, that of its health
// check included.
func NodePorts(s *corev1.Service) []int32 {
	if s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var out []int32
	seen := map[int32]bool{}
	add := func(port int32) {
		if port != 0 && !seen[port] {
			seen[port] = true
			out = append(out, port)
		}
	}
	for _, p := range s.Spec.Ports {
		add(p.NodePort)
	}
	add(s.Spec.HealthCheckNodePort)
	return out
}
