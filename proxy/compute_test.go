package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func ptr[T any](v T) *T { return &v }

// ep describes an endpoint by address and state: ready, draining (serves while it
// terminates), or down.
func ep(addr, state, node string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{addr},
		NodeName:  &node,
		Conditions: discoveryv1.EndpointConditions{
			Ready: ptr(state == "ready"), Serving: ptr(state != "down"), Terminating: ptr(state == "draining"),
		},
	}
}

func slice(port int32, eps ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: eps,
		Ports: []discoveryv1.EndpointPort{{Name: ptr("http"), Protocol: ptr(corev1.ProtocolTCP), Port: ptr(port)}},
	}
}

func service(change func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
		Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
	}}
	if change != nil {
		change(svc)
	}
	return svc
}

func addrs(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestComputeChoosesEndpoints(t *testing.T) {
	local := func(svc *corev1.Service) {
		svc.Spec.InternalTrafficPolicy = ptr(corev1.ServiceInternalTrafficPolicyLocal)
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		slices []*discoveryv1.EndpointSlice
		want   Backends
	}{
		"ready ones, sorted":            {nil, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.2", "ready", "a"), ep("10.0.0.1", "ready", "b"), ep("10.0.0.3", "down", "a"))}, Backends{Endpoints: addrs("10.0.0.1:8080", "10.0.0.2:8080")}},
		"ready before draining":         {nil, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.2", "draining", "a"), ep("10.0.0.1", "ready", "b"))}, Backends{Endpoints: addrs("10.0.0.1:8080")}},
		"draining where none is ready":  {nil, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.2", "draining", "a"), ep("10.0.0.1", "down", "b"))}, Backends{Endpoints: addrs("10.0.0.2:8080")}},
		"in two slices: once":           {nil, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.1", "down", "a")), slice(8080, ep("10.0.0.1", "ready", "a"))}, Backends{Endpoints: addrs("10.0.0.1:8080")}},
		"none at all":                   {nil, nil, Backends{}},
		"another port's":                {func(svc *corev1.Service) { svc.Spec.Ports[0].Name = "other" }, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.1", "ready", "a"))}, Backends{}},
		"local: those on this node":     {local, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.1", "ready", "a"), ep("10.0.0.2", "ready", "b"))}, Backends{Endpoints: addrs("10.0.0.1:8080")}},
		"local: drop where none here":   {local, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.2", "ready", "b"))}, Backends{Drop: true}},
		"local: reject where none":      {local, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.2", "down", "b"))}, Backends{}},
		"local: draining here if ready": {local, []*discoveryv1.EndpointSlice{slice(8080, ep("10.0.0.1", "draining", "a"), ep("10.0.0.2", "ready", "b"))}, Backends{Endpoints: addrs("10.0.0.1:8080")}},
		"an address that is none":       {nil, []*discoveryv1.EndpointSlice{slice(8080, ep("nonsense", "ready", "a"))}, Backends{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Compute(service(test.change), test.slices, "a")
			if len(got) != 1 {
				t.Fatalf("%d ports, want 1", len(got))
			}
			opts := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
			if diff := cmp.Diff(test.want, got[0].Internal, opts); diff != "" {
				t.Errorf("internal (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, got[0].External, opts); diff != "" {
				t.Errorf("external (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComputeLeavesOut(t *testing.T) {
	for name, change := range map[string]func(*corev1.Service){
		"headless":     func(svc *corev1.Service) { svc.Spec.ClusterIP = corev1.ClusterIPNone },
		"ExternalName": func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeExternalName },
		"SCTP":         func(svc *corev1.Service) { svc.Spec.Ports[0].Protocol = corev1.ProtocolSCTP },
	} {
		if got := Compute(service(change), nil, "a"); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestComputeReadsTheService(t *testing.T) {
	got := Compute(service(func(svc *corev1.Service) {
		svc.Spec.Ports[0].NodePort = 30080
		svc.Spec.ExternalIPs = []string{"203.0.113.9"}
		svc.Spec.LoadBalancerSourceRanges = []string{"10.1.2.3/8", "10.0.0.0/8"}
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr(int32(60))}}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
			{IP: "203.0.113.7"}, {Hostname: "lb.example"}, {IP: "203.0.113.8", IPMode: ptr(corev1.LoadBalancerIPModeProxy)},
		}
	}), nil, "a")
	want := []Port{{
		Name: "http", Protocol: corev1.ProtocolTCP, Number: 80, NodePort: 30080,
		ClusterAddrs:      []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		ExternalAddrs:     []netip.Addr{netip.MustParseAddr("203.0.113.9")},
		LoadBalancerAddrs: []netip.Addr{netip.MustParseAddr("203.0.113.7")},
		SourceRanges:      []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Affinity:          time.Minute,
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
