package nftables

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
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

func TestTablesOfFamiliesWithServices(t *testing.T) {
	n := proxytest.NewNetwork(t, 0)
	p, err := New(Config{NetNS: n.Node.FD()})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(full bool, addr, endpoint string) {
		t.Helper()
		err := p.Apply(t.Context(), proxy.Update{Full: full, Services: map[types.NamespacedName][]proxy.Port{{Namespace: "default", Name: addr}: {{
			Protocol: corev1.ProtocolUDP, ClusterAddrs: []netip.Addr{netip.MustParseAddr(addr)}, Number: 80,
			Internal: proxy.Backends{Endpoints: []netip.AddrPort{netip.MustParseAddrPort(endpoint)}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	tables := func() (families []nftables.TableFamily) {
		t.Helper()
		conn, err := p.connect()
		if err != nil {
			t.Fatal(err)
		}
		list, err := conn.ListTables()
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range list {
			families = append(families, table.Family)
		}
		slices.Sort(families)
		return families
	}
	v4, v6 := nftables.TableFamilyIPv4, nftables.TableFamilyIPv6
	for range 2 {
		apply(true, "10.96.0.1", "10.0.0.1:80")
		apply(false, "10.96.0.2", "10.0.0.1:80")
		if got := tables(); !slices.Equal(got, []nftables.TableFamily{v4}) {
			t.Errorf("with IPv4 services: tables of families %v", got)
		}
		apply(false, "fd00::1", "[fd00::2]:80")
		if got := tables(); !slices.Equal(got, []nftables.TableFamily{v4, v6}) {
			t.Errorf("with services of both: tables of families %v", got)
		}
		if err := p.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := tables(); len(got) > 0 {
			t.Errorf("after Cleanup: tables of families %v", got)
		}
	}
}

// A full update puts right what somebody else did to the table.
func TestFullUpdateRepairs(t *testing.T) {
	vip := netip.MustParseAddr("10.96.0.77")
	for name, damage := range map[string]func(*nftables.Conn, *table){
		"element gone": func(conn *nftables.Conn, t *table) { conn.FlushSet(t.named(setVIPs)) },
		"rules gone":   func(conn *nftables.Conn, t *table) { conn.FlushTable(t.table) },
		"table gone":   func(conn *nftables.Conn, t *table) { conn.DelTable(t.table) },
		"endless drop": func(conn *nftables.Conn, t *table) {
			conn.InsertRule(&nftables.Rule{
				Table: t.table, Chain: &nftables.Chain{Name: chainDispatch, Table: t.table},
				Exprs: []expr.Any{verdict(expr.VerdictDrop, "")},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := proxytest.NewNetwork(t, 1)
			p, err := New(Config{NetNS: n.Node.FD()})
			if err != nil {
				t.Fatal(err)
			}
			update := proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{{Namespace: "default", Name: "web"}: {{
				Protocol: corev1.ProtocolTCP, ClusterAddrs: []netip.Addr{vip}, Number: 80,
				Internal: proxy.Backends{Endpoints: []netip.AddrPort{netip.AddrPortFrom(n.Pods[0].Addr, proxytest.ServicePort)}},
			}}}}
			if err := p.Apply(t.Context(), update); err != nil {
				t.Fatal(err)
			}
			conn, err := p.connect()
			if err != nil {
				t.Fatal(err)
			}
			damage(conn, p.tables[0])
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Node.Ask("tcp", netip.AddrPortFrom(vip, 80)); err == nil {
				t.Error("the damage does nothing")
			}
			if err := p.Apply(t.Context(), update); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Node.Ask("tcp", netip.AddrPortFrom(vip, 80)); err != nil {
				t.Error(err)
			}
		})
	}
}

// An endpoint that went while no proxier ran leaves no UDP flow behind.
func TestUDPFlowsFromBeforeAStart(t *testing.T) {
	n := proxytest.NewNetwork(t, 3)
	vip := netip.MustParseAddrPort("10.96.0.77:80")
	start := func(pod int) {
		t.Helper()
		p, err := New(Config{NetNS: n.Node.FD()})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Apply(t.Context(), proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{{Namespace: "default", Name: "dns"}: {{
			Protocol: corev1.ProtocolUDP, ClusterAddrs: []netip.Addr{vip.Addr()}, Number: vip.Port(),
			Internal: proxy.Backends{Endpoints: []netip.AddrPort{netip.AddrPortFrom(n.Pods[pod].Addr, proxytest.ServicePort)}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	start(0)
	var conn net.Conn // one socket: one flow, to connection tracking
	if err := n.Pods[2].In(func() (err error) {
		conn, err = net.Dial("udp", vip.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, pod := range []int{0, 1} {
		start(pod)
		if answer, err := proxytest.AskOver(conn); err != nil || answer.Pod != n.Pods[pod].Addr {
			t.Errorf("answered by %v (%v), want %v", answer.Pod, err, n.Pods[pod].Addr)
		}
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
