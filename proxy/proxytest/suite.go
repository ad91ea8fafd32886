package proxytest

import (
	"errors"
	"maps"
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/proxy"
)

var (
	web       = types.NamespacedName{Namespace: "default", Name: "web"}
	clusterIP = netip.MustParseAddr("10.96.0.77")
	balancer  = netip.MustParseAddr("203.0.113.7")
)

const nodePort = 30777

// Run checks a proxier against the contract. make gives one that programs the
// node of the network.
func Run(t *testing.T, make func(t *testing.T, n *Network) proxy.Proxier) {
	for _, test := range []struct {
		rule  string
		check func(t *testing.T, n *Network, p proxy.Proxier)
	}{
		{"a cluster IP reaches every endpoint about evenly, from the node and from pods", spreads},
		{"UDP is served like TCP", udp},
		{"a node port reaches every endpoint, from outside and from the node itself", nodePorts},
		{"a pod that reaches itself through a service gets its answer", hairpin},
		{"a service without endpoints refuses at once; one whose endpoints are elsewhere drops", refuses},
		{"an update changes what it names and nothing else", updates},
		{"a client sticks to its endpoint, and moves on when that goes", sticks},
		{"a client sticks to its endpoint through full updates", sticksThroughFull},
		{"with the external policy Local the client's address is preserved", preserves},
		{"load balancer source ranges let in only whom they name", ranges},
		{"two services that claim one address: the first by name has it, then the next", claims},
		{"a UDP client follows when its endpoint goes", udpMoves},
		{"applying a full update takes away what it does not name", full},
		{"cleaning up leaves nothing, and may be done twice", cleansUp},
	} {
		t.Run(test.rule, func(t *testing.T) {
			n := NewNetwork(t, 3)
			test.check(t, n, make(t, n))
		})
	}
}

func (n *Network) endpoints(pods ...int) []netip.AddrPort {
	var eps []netip.AddrPort
	for _, i := range pods {
		eps = append(eps, netip.AddrPortFrom(n.Pods[i].Addr, ServicePort))
	}
	return eps
}

// port is a TCP port 80 of the service with the pods behind it.
func (n *Network) port(pods ...int) proxy.Port {
	backends := proxy.Backends{Endpoints: n.endpoints(pods...)}
	return proxy.Port{
		Name: "http", Protocol: corev1.ProtocolTCP, ClusterAddrs: []netip.Addr{clusterIP}, Number: 80, NodePort: nodePort,
		Internal: backends, External: backends,
	}
}

var vip = netip.AddrPortFrom(clusterIP, 80)

func apply(t *testing.T, p proxy.Proxier, u proxy.Update) {
	t.Helper()
	if err := p.Apply(t.Context(), u); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

func one(full bool, ports ...proxy.Port) proxy.Update {
	return proxy.Update{Full: full, Services: map[types.NamespacedName][]proxy.Port{web: ports}}
}

// count asks many times and counts who answered.
func count(t *testing.T, from Host, network string, to netip.AddrPort, times int) map[netip.Addr]int {
	t.Helper()
	got := map[netip.Addr]int{}
	for range times {
		answer, err := from.Ask(network, to)
		if err != nil {
			t.Fatalf("from %v to %v: %v", from.Addr, to, err)
		}
		got[answer.Pod]++
	}
	return got
}

// even fails where shares stray from the mean by more than five standard
// deviations: once in a million runs by chance.
func even(t *testing.T, got map[netip.Addr]int, among int) {
	t.Helper()
	total := 0
	for _, c := range got {
		total += c
	}
	mean := float64(total) / float64(among)
	slack := 5 * math.Sqrt(mean*(1-1/float64(among)))
	if len(got) != among {
		t.Errorf("%d endpoints answered, want %d: %v", len(got), among, got)
	}
	for addr, c := range got {
		if math.Abs(float64(c)-mean) > slack {
			t.Errorf("%v answered %d times of %d among %d: not even", addr, c, total, among)
		}
	}
}

func spreads(t *testing.T, n *Network, p proxy.Proxier) {
	apply(t, p, one(true, n.port(0, 1, 2)))
	even(t, count(t, n.Node, "tcp", vip, 200), 3)
	even(t, count(t, n.Pods[0], "tcp", vip, 200), 3)
}

func udp(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0, 1, 2)
	port.Protocol = corev1.ProtocolUDP
	apply(t, p, one(true, port))
	even(t, count(t, n.Node, "udp", vip, 200), 3)
	even(t, count(t, n.Outside, "udp", netip.AddrPortFrom(n.Node.Addr, nodePort), 200), 3)
}

func nodePorts(t *testing.T, n *Network, p proxy.Proxier) {
	apply(t, p, one(true, n.port(0, 1, 2)))
	at := netip.AddrPortFrom(n.Node.Addr, nodePort)
	even(t, count(t, n.Outside, "tcp", at, 200), 3)
	even(t, count(t, n.Node, "tcp", at, 100), 3)
	even(t, count(t, n.Pods[1], "tcp", at, 100), 3)
}

func hairpin(t *testing.T, n *Network, p proxy.Proxier) {
	apply(t, p, one(true, n.port(0)))
	answer, err := n.Pods[0].Ask("tcp", vip)
	if err != nil || answer.Pod != n.Pods[0].Addr {
		t.Errorf("%v, %v", answer, err)
	}
}

func refuses(t *testing.T, n *Network, p proxy.Proxier) {
	empty := n.port()
	apply(t, p, one(true, empty))
	for _, from := range []Host{n.Node, n.Pods[0]} {
		if _, err := from.Ask("tcp", vip); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("cluster IP without endpoints, from %v: %v, want connection refused", from.Addr, err)
		}
	}
	if _, err := n.Outside.Ask("tcp", netip.AddrPortFrom(n.Node.Addr, nodePort)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("node port without endpoints: %v, want connection refused", err)
	}

	empty.External.Drop = true
	apply(t, p, one(false, empty))
	if _, err := n.Outside.Ask("tcp", netip.AddrPortFrom(n.Node.Addr, nodePort)); !timedOut(err) {
		t.Errorf("node port with all endpoints elsewhere: %v, want silence", err)
	}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func updates(t *testing.T, n *Network, p proxy.Proxier) {
	otherVIP := netip.AddrPortFrom(netip.MustParseAddr("10.96.0.78"), 80)
	other := n.port(2)
	other.ClusterAddrs, other.NodePort = []netip.Addr{otherVIP.Addr()}, 0
	otherName := types.NamespacedName{Namespace: "default", Name: "other"}
	apply(t, p, proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{web: {n.port(0)}, otherName: {other}}})
	for _, pods := range [][]int{{1}, {0, 1}, {0, 1, 2}, {2}} {
		apply(t, p, one(false, n.port(pods...)))
		even(t, count(t, n.Node, "tcp", vip, 30*len(pods)), len(pods))
		even(t, count(t, n.Node, "tcp", otherVIP, 5), 1)
	}
	apply(t, p, one(false))
	if answer, err := n.Node.Ask("tcp", vip); err == nil {
		t.Errorf("a service that is gone was answered by %v", answer.Pod)
	}
	even(t, count(t, n.Node, "tcp", otherVIP, 5), 1)
	apply(t, p, one(false, n.port(1)))
	even(t, count(t, n.Node, "tcp", vip, 5), 1)
}

func sticks(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0, 1, 2)
	port.Affinity = time.Minute
	apply(t, p, one(true, port))
	for _, from := range []Host{n.Node, n.Pods[0], n.Pods[1]} {
		got := count(t, from, "tcp", vip, 20)
		if len(got) != 1 {
			t.Errorf("from %v: %v, want one endpoint only", from.Addr, got)
		}
		for addr := range got {
			var rest []int
			for i, pod := range n.Pods {
				if pod.Addr != addr {
					rest = append(rest, i)
				}
			}
			fewer := n.port(rest...)
			fewer.Affinity = time.Minute
			apply(t, p, one(false, fewer))
			if moved := count(t, from, "tcp", vip, 20); len(moved) != 1 || moved[addr] > 0 {
				t.Errorf("from %v, after %v went: %v, want one of the others", from.Addr, addr, moved)
			}
			apply(t, p, one(false, port))
		}
	}
}

func sticksThroughFull(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0, 1, 2)
	port.Affinity = time.Minute
	first := map[netip.Addr]int{}
	for i := range 8 {
		apply(t, p, one(true, port))
		got := count(t, n.Pods[0], "tcp", vip, 3)
		if i == 0 {
			first = got
		}
		if len(got) != 1 || !maps.Equal(got, first) {
			t.Fatalf("after full update %d: %v, at first %v", i, got, first)
		}
	}
}

func preserves(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0)
	at := netip.AddrPortFrom(n.Node.Addr, nodePort)
	apply(t, p, one(true, port))
	if answer, err := n.Outside.Ask("tcp", at); err != nil || answer.Client == n.Outside.Addr {
		t.Errorf("policy Cluster: pod saw %v, %v; want the node's address", answer.Client, err)
	}
	port.ExternalLocal = true
	apply(t, p, one(false, port))
	if answer, err := n.Outside.Ask("tcp", at); err != nil || answer.Client != n.Outside.Addr {
		t.Errorf("policy Local: pod saw %v, %v; want %v", answer.Client, err, n.Outside.Addr)
	}
}

func ranges(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0)
	port.LoadBalancerAddrs = []netip.Addr{balancer}
	at := netip.AddrPortFrom(balancer, 80)
	for _, test := range []struct {
		ranges []string
		open   bool
	}{
		{nil, true},
		{[]string{"192.168.0.0/16", "10.0.0.0/8"}, true},
		{[]string{"192.168.77.2/32", "192.168.77.0/24"}, true},
		{[]string{"0.0.0.0/0"}, true},
		{[]string{"10.0.0.0/8", "255.255.255.255/32"}, false},
		{[]string{"fd00::/8"}, false},
	} {
		port.SourceRanges = nil
		for _, r := range test.ranges {
			port.SourceRanges = append(port.SourceRanges, netip.MustParsePrefix(r))
		}
		apply(t, p, one(true, port))
		if _, err := n.Outside.Ask("tcp", at); (err == nil) != test.open {
			t.Errorf("ranges %v: %v, want open %v", test.ranges, err, test.open)
		}
	}
}

func claims(t *testing.T, n *Network, p proxy.Proxier) {
	a, b := types.NamespacedName{Namespace: "a", Name: "a"}, types.NamespacedName{Namespace: "b", Name: "b"}
	first, second := n.port(0), n.port(1)
	apply(t, p, proxy.Update{Full: true, Services: map[types.NamespacedName][]proxy.Port{b: {second}}})
	apply(t, p, proxy.Update{Services: map[types.NamespacedName][]proxy.Port{a: {first}}})
	if got := count(t, n.Node, "tcp", vip, 5); got[n.Pods[0].Addr] != 5 {
		t.Errorf("both claim it: %v, want only %v", got, n.Pods[0].Addr)
	}
	apply(t, p, proxy.Update{Services: map[types.NamespacedName][]proxy.Port{a: nil}})
	if got := count(t, n.Node, "tcp", vip, 5); got[n.Pods[1].Addr] != 5 {
		t.Errorf("after the first went: %v, want only %v", got, n.Pods[1].Addr)
	}
}

func udpMoves(t *testing.T, n *Network, p proxy.Proxier) {
	port := n.port(0)
	port.Protocol = corev1.ProtocolUDP
	apply(t, p, one(true, port))
	var conn net.Conn // one socket: one flow, to connection tracking
	if err := n.Pods[2].In(func() (err error) {
		conn, err = net.Dial("udp", vip.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if answer, err := AskOver(conn); err != nil || answer.Pod != n.Pods[0].Addr {
		t.Fatalf("%v, %v", answer, err)
	}
	port.Internal.Endpoints = n.endpoints(1)
	port.External = port.Internal
	apply(t, p, one(false, port))
	if answer, err := AskOver(conn); err != nil || answer.Pod != n.Pods[1].Addr {
		t.Errorf("after the endpoint moved: %v, %v; want %v", answer.Pod, err, n.Pods[1].Addr)
	}
}

func full(t *testing.T, n *Network, p proxy.Proxier) {
	apply(t, p, one(true, n.port(0)))
	apply(t, p, proxy.Update{Full: true})
	if answer, err := n.Node.Ask("tcp", vip); err == nil {
		t.Errorf("answered by %v", answer.Pod)
	}
}

func cleansUp(t *testing.T, n *Network, p proxy.Proxier) {
	if err := p.Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup of nothing: %v", err)
	}
	apply(t, p, one(true, n.port(0)))
	for range 2 {
		if err := p.Cleanup(t.Context()); err != nil {
			t.Errorf("Cleanup: %v", err)
		}
		if answer, err := n.Node.Ask("tcp", vip); err == nil {
			t.Errorf("answered by %v", answer.Pod)
		}
	}
	apply(t, p, one(true, n.port(0)))
	even(t, count(t, n.Node, "tcp", vip, 5), 1)
}
