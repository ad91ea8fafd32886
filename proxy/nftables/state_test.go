package nftables

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/proxy"
)

// kernel is the slow, obvious table: it takes changes as the kernel would, and
// refuses what the kernel would refuse.
type kernel struct {
	chains   map[string]chain
	elements map[element]string
}

func (k *kernel) apply(c *changes) error {
	for name, content := range c.setChains {
		_, exists := k.chains[name]
		if _, known := c.oldContent[name]; known != exists {
			return fmt.Errorf("chain %s: exists %v, thought %v", name, exists, known)
		}
		k.chains[name] = content
	}
	for _, e := range c.delElems {
		if _, exists := k.elements[e]; !exists {
			return fmt.Errorf("deleting %v, which is not there", e)
		}
		delete(k.elements, e)
	}
	for e, target := range c.addElems {
		if old, exists := k.elements[e]; exists {
			return fmt.Errorf("adding %v, which leads to %s already", e, old)
		}
		if _, exists := k.chains[target]; !exists && target != "" && target != targetDrop && target != chainReject {
			return fmt.Errorf("%v leads to %s, which is not there", e, target)
		}
		k.elements[e] = target
	}
	for _, name := range c.delChains {
		for e, target := range k.elements {
			if target == name {
				return fmt.Errorf("deleting chain %s, to which %v leads", name, e)
			}
		}
		if _, exists := k.chains[name]; !exists {
			return fmt.Errorf("deleting chain %s, which is not there", name)
		}
		delete(k.chains, name)
	}
	return nil
}

// randomPorts makes ports from few addresses, so that services often collide.
func randomPorts(rng *rand.Rand) []proxy.Port {
	var ports []proxy.Port
	for i := range rng.IntN(3) {
		p := proxy.Port{
			Name: fmt.Sprint("p", i), Protocol: []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}[rng.IntN(2)],
			ClusterAddrs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(rng.IntN(4))})},
			Number:        uint16(80 + rng.IntN(2)),
			NodePort:      []uint16{0, 0, 30000, 30001}[rng.IntN(4)],
			ExternalLocal: rng.IntN(2) == 0,
		}
		if rng.IntN(3) == 0 {
			p.LoadBalancerAddrs = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(rng.IntN(2))})}
		}
		if rng.IntN(3) == 0 {
			p.SourceRanges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}
		for range rng.IntN(4) {
			p.Internal.Endpoints = append(p.Internal.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(5))}), 8080))
		}
		p.External = p.Internal
		p.External.Drop = rng.IntN(2) == 0
		ports = append(ports, p)
	}
	return ports
}

// TestIncrementalEqualsFull applies random histories step by step, and holds the
// table to what a fresh one with the same services would be.
func TestIncrementalEqualsFull(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		services := map[types.NamespacedName][]proxy.Port{}
		k := kernel{map[string]chain{}, map[element]string{}}
		s := newState()
		for step := range 30 {
			c := newChanges()
			for range 1 + rng.IntN(3) {
				name := types.NamespacedName{Namespace: "ns", Name: fmt.Sprint("s", rng.IntN(6))}
				services[name] = randomPorts(rng)
			}
			for _, name := range slices.SortedFunc(maps.Keys(services), byName) {
				s.set(name, render(name, services[name], false), c)
			}
			s.settle(c)
			if err := k.apply(c); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			fresh := newState()
			all := newChanges()
			for name, ports := range services {
				fresh.set(name, render(name, ports, false), all)
			}
			opts := cmp.Options{cmp.AllowUnexported(chain{}), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, element{}), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(all.setChains, k.chains, opts); diff != "" {
				t.Fatalf("seed %d, step %d: chains (-fresh +incremental):\n%s", seed, step, diff)
			}
			want := map[element]string{}
			for e := range fresh.claims {
				want[e] = fresh.target(e)
			}
			if !maps.Equal(want, k.elements) {
				t.Fatalf("seed %d, step %d: elements\nwant %v\ngot  %v", seed, step, want, k.elements)
			}
		}
	}
}

func TestMergePrefixes(t *testing.T) {
	parse := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, test := range []struct {
		in   []netip.Prefix
		want string
	}{
		{parse("10.0.0.0/8"), "[10.0.0.0 11.0.0.0)"},
		{parse("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8"), "[10.0.0.0 12.0.0.0)"},
		{parse("192.168.1.1/32", "10.0.0.0/24"), "[10.0.0.0 10.0.1.0)[192.168.1.1 192.168.1.2)"},
		{parse("0.0.0.0/0", "10.0.0.0/8"), "[0.0.0.0 invalid IP)"},
		{parse("fd00::/8"), "[fd00:: fe00::)"},
	} {
		got := ""
		for _, s := range mergePrefixes(test.in) {
			got += fmt.Sprintf("[%v %v)", s.first, s.after)
		}
		if got != test.want {
			t.Errorf("%v: %s, want %s", test.in, got, test.want)
		}
	}
}
