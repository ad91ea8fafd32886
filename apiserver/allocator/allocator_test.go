package allocator

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

func newStore(t testing.TB) store.Store {
	t.Helper()
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newAddresses(t *testing.T, s store.Store, cidr string) *Addresses {
	t.Helper()
	a, err := NewAddresses(AddressConfig{Store: s, CIDR: netip.MustParsePrefix(cidr)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAddressesByTwoMasters(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	masters := []*Addresses{newAddresses(t, s, "10.0.0.0/26"), newAddresses(t, s, "10.0.0.0/26")}
	var mu sync.Mutex // guards taken
	taken := map[netip.Addr]bool{}
	var wg sync.WaitGroup
	for i := range 62 {
		wg.Go(func() {
			ip, err := masters[i%2].AllocateNext(ctx, Owner{"default", "s"}, false)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if taken[ip] || !holder(masters[0].ranges.Load().open, ip) {
				t.Errorf("%s was given twice, or is outside", ip)
			}
			taken[ip] = true
		})
	}
	wg.Wait()
	if _, err := masters[0].AllocateNext(ctx, Owner{}, false); !errors.Is(err, ErrFull) {
		t.Errorf("a 63rd address: %v", err)
	}
	ip := masters[0].First()
	if err := masters[0].Release(ctx, Owner{"default", "other"}, ip); err != nil {
		t.Fatal(err)
	}
	if err := masters[0].Allocate(ctx, Owner{"default", "s"}, ip, false); !errors.Is(err, ErrAddressTaken) {
		t.Errorf("another's release freed %s: %v", ip, err)
	}
	if err := masters[1].Release(ctx, Owner{"default", "s"}, ip); err != nil {
		t.Fatal(err)
	}
	if err := masters[0].Allocate(ctx, Owner{"default", "s"}, ip, true); err != nil {
		t.Errorf("a dry run of a free address: %v", err)
	}
	if err := masters[0].Allocate(ctx, Owner{"default", "s"}, ip, false); err != nil {
		t.Errorf("a released address: %v", err)
	}
}

func TestAddressRange(t *testing.T) {
	a := newAddresses(t, newStore(t), "10.0.0.0/24")
	for _, ip := range []string{"10.0.0.0", "10.0.0.255", "10.0.1.1", "::1"} {
		if err := a.Allocate(t.Context(), Owner{}, netip.MustParseAddr(ip), false); !errors.Is(err, ErrOtherNetwork) {
			t.Errorf("%s: %v", ip, err)
		}
	}
	if got := a.First().String(); got != "10.0.0.1" {
		t.Errorf("first address %s", got)
	}
	if _, err := NewAddresses(AddressConfig{Store: newStore(t), CIDR: netip.MustParsePrefix("10.0.0.0/31")}); err == nil {
		t.Error("a range of two addresses is accepted")
	}
	six := newAddresses(t, newStore(t), "fd00::/108")
	if ip, err := six.AllocateNext(t.Context(), Owner{}, false); err != nil || !six.CIDR().Contains(ip) {
		t.Errorf("IPv6: %s, %v", ip, err)
	}
}

func TestAutomaticChoicesLeaveTheStaticBand(t *testing.T) {
	s := newStore(t)
	a, err := NewAddresses(AddressConfig{Store: s, CIDR: netip.MustParsePrefix("10.0.0.0/24"), IntN: func(int) int { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	ip, err := a.AllocateNext(t.Context(), Owner{}, false)
	if err != nil || ip.String() != "10.0.0.17" {
		t.Errorf("got %s, %v; want the first address behind 16", ip, err)
	}
	p, err := NewPorts(PortConfig{Store: s, IntN: func(int) int { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	port, err := p.AllocateNext(t.Context(), false, nil)
	if err != nil || port != 30086 {
		t.Errorf("got %d, %v; want 30086", port, err)
	}
}

func TestPorts(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	newPorts := func(r PortRange) *Ports {
		p, err := NewPorts(PortConfig{Store: s, Range: r})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	masters := []*Ports{newPorts(PortRange{30000, 30063}), newPorts(PortRange{30000, 30063})}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards taken
	taken := map[int32]bool{}
	for i := range 64 {
		wg.Go(func() {
			port, err := masters[i%2].AllocateNext(ctx, false, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if taken[port] {
				t.Errorf("port %d was given twice", port)
			}
			taken[port] = true
		})
	}
	wg.Wait()
	if _, err := masters[0].AllocateNext(ctx, false, nil); !errors.Is(err, ErrFull) {
		t.Errorf("a 65th port: %v", err)
	}
	if err := masters[0].Release(ctx, 30001, 30002, 1); err != nil {
		t.Fatal(err)
	}
	if err := masters[1].Allocate(ctx, false, 30001, 30003); err == nil || err.Error() != "provided port is already allocated" {
		t.Errorf("one of two ports is taken: %v", err)
	}
	if err := masters[1].Allocate(ctx, false, 30001, 30002); err != nil {
		t.Errorf("released ports: %v", err)
	}
	if err := masters[1].Allocate(ctx, false, 80); err == nil || err.Error() != "provided port is not in the valid range. The range of valid ports is 30000-30063" {
		t.Errorf("port 80: %v", err)
	}
	// A host that moves its range keeps what both ranges have.
	moved := newPorts(PortRange{30060, 30100})
	if err := moved.Allocate(ctx, false, 30060); !errors.Is(err, ErrPortTaken) {
		t.Errorf("after the move: %v", err)
	}
	if err := moved.Allocate(ctx, false, 30064); err != nil {
		t.Errorf("after the move: %v", err)
	}
}

// putService writes a service as the API server would, but takes nothing for it.
func putService(t *testing.T, s store.Store, name, ip string, nodePorts ...int32) {
	t.Helper()
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: ip, ClusterIPs: []string{ip}},
	}
	for _, port := range nodePorts {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Port: 80, NodePort: port})
	}
	value, err := encode(service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), store.Put{Key: servicePrefix + "default/" + name, Value: value}); err != nil {
		t.Fatal(err)
	}
}

func TestRepair(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	a := newAddresses(t, s, "10.0.0.0/24")
	p, err := NewPorts(PortConfig{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	// Leaked: taken, but no service has them. Lost: a service has them.
	leaked := netip.MustParseAddr("10.0.0.7")
	if err := errors.Join(a.Allocate(ctx, Owner{"default", "gone"}, leaked, false), p.Allocate(ctx, false, 30007)); err != nil {
		t.Fatal(err)
	}
	putService(t, s, "web", "10.0.0.8", 30008)
	r := NewRepairer(s, []*Addresses{a}, p)
	for i, want := range []Repaired{{AddressesTaken: 1, PortsTaken: 1}, {AddressesFreed: 1, PortsFreed: 1}, {}} {
		got, err := r.Repair(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pass %d (-want +got):\n%s", i, diff)
		}
	}
	if err := a.Allocate(ctx, Owner{"default", "new"}, leaked, false); err != nil {
		t.Errorf("the leaked address: %v", err)
	}
	if err := p.Allocate(ctx, false, 30008); !errors.Is(err, ErrPortTaken) {
		t.Errorf("the lost port: %v", err)
	}
}

func TestRepairEnds(t *testing.T) {
	s := newStore(t)
	p, err := NewPorts(PortConfig{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewRepairer(s, nil, p).Run(ctx, 1, nil); err != nil {
		t.Errorf("a clean end: %v", err)
	}
}
