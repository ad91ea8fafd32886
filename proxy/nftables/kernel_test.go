package nftables

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/proxy"
	"github.com/strake-io/strake/proxy/proxytest"
)

func TestContract(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, n *proxytest.Network) proxy.Proxier {
		p, err := New(Config{NetNS: n.Node.FD()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
}

// The kernel takes the IPv6 table and large services; what they do is tested on
// IPv4, which shares all but offsets and lengths.
func TestKernelTakesIPv6AndManyEndpoints(t *testing.T) {
	n := proxytest.NewNetwork(t, 0)
	p, err := New(Config{NetNS: n.Node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	backends := proxy.Backends{}
	for i := range 3000 {
		addr := netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})
		backends.Endpoints = append(backends.Endpoints, netip.AddrPortFrom(addr, 80))
	}
	port := proxy.Port{
		Protocol: corev1.ProtocolTCP, ClusterAddrs: []netip.Addr{netip.MustParseAddr("fd00:1::1")}, Number: 80, NodePort: 30080,
		LoadBalancerAddrs: []netip.Addr{netip.MustParseAddr("fd00:2::1")}, SourceRanges: []netip.Prefix{netip.MustParsePrefix("fd00::/8")},
		Affinity: time.Minute, Internal: backends, External: backends,
	}
	name := types.NamespacedName{Namespace: "default", Name: "web"}
	if err := p.Apply(t.Context(), proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{name: {port}}}); err != nil {
		t.Fatal(err)
	}
	port.Internal.Endpoints = port.Internal.Endpoints[:2000]
	if err := p.Apply(t.Context(), proxy.Update{Services: map[types.NamespacedName][]proxy.Port{name: {port}}}); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkOneChange measures one service's endpoints changing among 10,000
// services; full is the time to program them all from nothing.
func BenchmarkOneChange(b *testing.B) {
	n := proxytest.NewNetwork(b, 0)
	p, err := New(Config{NetNS: n.Node.FD()})
	if err != nil {
		b.Fatal(err)
	}
	const services = 10_000
	make := func(i, last int) (types.NamespacedName, []proxy.Port) {
		backends := proxy.Backends{}
		for e := range 3 {
			backends.Endpoints = append(backends.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(last + e)}), 80))
		}
		return types.NamespacedName{Namespace: "default", Name: fmt.Sprint("service-", i)}, []proxy.Port{{
			Protocol: corev1.ProtocolTCP, ClusterAddrs: []netip.Addr{netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}, Number: 80,
			Internal: backends, External: backends,
		}}
	}
	all := proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{}}
	for i := range services {
		name, ports := make(i, 1)
		all.Services[name] = ports
	}
	begun := time.Now()
	if err := p.Apply(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	full := time.Since(begun)
	i := 0
	for b.Loop() {
		name, ports := make(i%services, 1+i%100)
		if err := p.Apply(b.Context(), proxy.Update{Services: map[types.NamespacedName][]proxy.Port{name: ports}}); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(full.Seconds()*1000, "ms-full")
	b.ReportMetric(full.Seconds()*float64(b.N)/b.Elapsed().Seconds(), "full/one")
}
