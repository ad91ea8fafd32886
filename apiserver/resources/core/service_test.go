package core

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store/memory"
)

func dualService(policy corev1.IPFamilyPolicy, ips ...string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{
		Ports: []corev1.ServicePort{{Port: 80}}, ClusterIP: ips[0], ClusterIPs: ips, IPFamilyPolicy: &policy,
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}[:len(ips)],
	}}
	defaultService(s)
	return s
}

// dualStack are the pools of a cluster with both families.
func dualStack(t *testing.T) []*allocator.Addresses {
	t.Helper()
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var pools []*allocator.Addresses
	for _, cidr := range []string{"10.0.0.0/16", "fd00::/108"} {
		pool, err := allocator.NewAddresses(allocator.AddressConfig{Store: s, CIDR: netip.MustParsePrefix(cidr)})
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, pool)
	}
	return pools
}

func TestSecondAddressComesAndGoes(t *testing.T) {
	const single, prefer, require = corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack
	both := []string{"10.0.0.1", "fd00::1"}
	for name, test := range map[string]struct {
		old, now *corev1.Service
		want     []string
		ips      int
	}{
		"the policy alone": {old: dualService(prefer, both...), now: dualService(single, both...), ips: 1},
		"released":         {old: dualService(prefer, both...), now: dualService(single, both[0]), ips: 1},
		"released by mistake": {old: dualService(require, both...), now: dualService(require, both[0]), ips: 1, want: []string{
			`spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP`,
			`spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary IP family`,
		}},
		"a second one": {old: dualService(single, both[0]), now: dualService(require, both...), ips: 2},
		"another second one": {old: dualService(require, both...), now: dualService(require, "10.0.0.1", "fd00::2"), ips: 2, want: []string{
			`spec.clusterIPs[1]: Invalid value: ["10.0.0.1","fd00::2"]: may not change once set`,
		}},
		"another first one": {old: dualService(single, both[0]), now: dualService(require, "10.0.0.2", "fd00::1"), ips: 2, want: []string{
			`spec.clusterIPs[0]: Invalid value: ["10.0.0.2","fd00::1"]: may not change once set`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			strategy := services(Config{Addresses: dualStack(t)})
			strategy.PrepareForUpdate(resource.Request{}, test.now, test.old)
			if diff := cmp.Diff(test.want, lines(strategy.ValidateChange(test.now, test.old))); diff != "" || len(test.now.Spec.ClusterIPs) != test.ips {
				t.Error(diff, test.now.Spec.ClusterIPs)
			}
		})
	}
}

func TestValidateServiceAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *corev1.Service)
		want   []string
	}{
		"none and another": {func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None", "10.0.0.1"} }, []string{
			`spec.clusterIPs: Invalid value: ["None","10.0.0.1"]: 'None' must be the first and only value`,
		}},
		"leading zeros": {func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "010.0.0.1", []string{"010.0.0.1"} }, []string{
			`spec.clusterIPs[0]: Invalid value: "010.0.0.1": must not have leading 0s`,
		}},
		"family": {func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }, []string{
			"spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
		}},
		"ranges": {func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.1/8"} }, []string{
			"spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
			`spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length`,
		}},
		"ranges by annotation": {func(s *corev1.Service) {
			s.Annotations = map[string]string{corev1.AnnotationLoadBalancerSourceRangesKey: "10.0.0.0/8"}
		}, []string{
			"metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Forbidden: may only be used when `type` is 'LoadBalancer'",
		}},
		"affinity without a time": {func(s *corev1.Service) {
			s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = corev1.ServiceAffinityClientIP, &corev1.SessionAffinityConfig{}
		}, []string{"spec.sessionAffinityConfig.clientIP: Required value: when session affinity type is ClientIP"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := dualService(corev1.IPFamilyPolicySingleStack, "10.0.0.1")
			test.change(s)
			if diff := cmp.Diff(test.want, lines(services(Config{}).Validate(s))); diff != "" {
				t.Error(diff)
			}
		})
	}
	// What an older server let in may stay.
	s := dualService(corev1.IPFamilyPolicySingleStack, "010.0.0.1")
	if errs := services(Config{}).ValidateChange(s, s); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestHealthCheckPortStays(t *testing.T) {
	old := dualService(corev1.IPFamilyPolicySingleStack, "10.0.0.1")
	old.Spec.Type, old.Spec.ExternalTrafficPolicy, old.Spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal, 30001
	defaultService(old)
	now := old.DeepCopy()
	now.Spec.HealthCheckNodePort = 30002
	want := []string{"spec.healthCheckNodePort: Forbidden: field is immutable"}
	if diff := cmp.Diff(want, lines(services(Config{}).ValidateChange(now, old))); diff != "" {
		t.Error(diff)
	}
}

func TestServiceFamilies(t *testing.T) {
	const four, six = corev1.IPv4Protocol, corev1.IPv6Protocol
	const single, prefer, require = corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack
	type families = []corev1.IPFamily
	one, two := families{four}, families{four, six}
	for name, test := range map[string]struct {
		cluster families
		spec    corev1.ServiceSpec
		old     *corev1.ServiceSpec
		want    families
		policy  corev1.IPFamilyPolicy
		errs    []string
	}{
		"nothing said":               {cluster: two, want: one, policy: single},
		"the other family":           {cluster: two, spec: corev1.ServiceSpec{IPFamilies: families{six}}, want: families{six}, policy: single},
		"preferred, one stack":       {cluster: one, spec: corev1.ServiceSpec{IPFamilyPolicy: ptr.To(prefer)}, want: one, policy: prefer},
		"preferred, two stacks":      {cluster: two, spec: corev1.ServiceSpec{IPFamilyPolicy: ptr.To(prefer), IPFamilies: families{six}}, want: families{six, four}, policy: prefer},
		"no address and no selector": {cluster: one, spec: corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}}, want: two, policy: require},
		"no address":                 {cluster: two, spec: corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}, Selector: map[string]string{"a": "b"}}, want: one, policy: single},
		"by the address":             {cluster: two, spec: corev1.ServiceSpec{ClusterIP: "fd00::1", ClusterIPs: []string{"fd00::1"}}, want: families{six}, policy: single},
		"sent again": {
			cluster: two, spec: corev1.ServiceSpec{ClusterIP: "fd00::1", ClusterIPs: []string{"fd00::1", "10.0.0.1"}},
			old:  &corev1.ServiceSpec{IPFamilyPolicy: ptr.To(require), ClusterIPs: []string{"fd00::1", "10.0.0.1"}, IPFamilies: families{six, four}},
			want: families{six, four}, policy: require,
		},
		"preferred, and the cluster grew": {
			cluster: two, spec: corev1.ServiceSpec{IPFamilyPolicy: ptr.To(prefer), ClusterIPs: []string{"10.0.0.1"}, IPFamilies: one},
			old:  &corev1.ServiceSpec{IPFamilyPolicy: ptr.To(prefer), ClusterIPs: []string{"10.0.0.1"}, IPFamilies: one},
			want: one, policy: prefer,
		},
		"required of one stack": {cluster: one, spec: corev1.ServiceSpec{IPFamilyPolicy: ptr.To(require)}, want: one, policy: require, errs: []string{
			`spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`,
		}},
		"an address the cluster lacks": {cluster: one, spec: corev1.ServiceSpec{ClusterIP: "fd00::1", ClusterIPs: []string{"fd00::1"}}, policy: single, errs: []string{
			`spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster`,
		}},
		"a family the cluster lacks": {cluster: one, spec: corev1.ServiceSpec{IPFamilies: families{six}}, want: families{six}, policy: single, errs: []string{
			`spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`,
		}},
		"two of a single stack": {cluster: two, spec: corev1.ServiceSpec{IPFamilies: two}, want: two, policy: single, errs: []string{
			`spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified`,
		}},
		"released by mistake": {
			cluster: two, spec: corev1.ServiceSpec{IPFamilyPolicy: ptr.To(require), IPFamilies: one, ClusterIPs: []string{"10.0.0.1"}},
			old:  &corev1.ServiceSpec{IPFamilyPolicy: ptr.To(require), ClusterIPs: []string{"10.0.0.1", "fd00::1"}, IPFamilies: two},
			want: one, policy: require, errs: []string{
				`spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP`,
				`spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary IP family`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Service{Spec: test.spec}
			var old *corev1.Service
			if test.old != nil {
				old = &corev1.Service{Spec: *test.old}
			}
			inferFamilies(s, old, test.cluster)
			if diff := cmp.Diff(test.want, s.Spec.IPFamilies); diff != "" || *s.Spec.IPFamilyPolicy != test.policy {
				t.Error(diff, *s.Spec.IPFamilyPolicy)
			}
			if diff := cmp.Diff(test.errs, lines(checkFamilies(s, old, test.cluster))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServiceStatus(t *testing.T) {
	vip := ptr.To(corev1.LoadBalancerIPModeVIP)
	for name, test := range map[string]struct {
		kind corev1.ServiceType
		in   corev1.LoadBalancerIngress
		want []string
	}{
		"right":    {kind: "LoadBalancer", in: corev1.LoadBalancerIngress{IP: "1.2.3.4", IPMode: vip}},
		"type":     {kind: "NodePort", in: corev1.LoadBalancerIngress{IP: "1.2.3.4", IPMode: vip}, want: []string{"status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"}},
		"no mode":  {kind: "LoadBalancer", in: corev1.LoadBalancerIngress{IP: "1.2.3.4"}, want: []string{"status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set"}},
		"no ip":    {kind: "LoadBalancer", in: corev1.LoadBalancerIngress{Hostname: "a.b", IPMode: vip}, want: []string{"status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"}},
		"mode":     {kind: "LoadBalancer", in: corev1.LoadBalancerIngress{IP: "1.2.3.4", IPMode: ptr.To(corev1.LoadBalancerIPMode("X"))}, want: []string{`status.loadBalancer.ingress[0].ipMode: Unsupported value: "X": supported values: "Proxy", "VIP"`}},
		"hostname": {kind: "LoadBalancer", in: corev1.LoadBalancerIngress{Hostname: "1.2.3.4"}, want: []string{`status.loadBalancer.ingress[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Service{Spec: corev1.ServiceSpec{Type: test.kind}, Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{test.in}}}}
			if diff := cmp.Diff(test.want, lines(validateServiceStatus(s, &corev1.Service{}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServiceWarnings(t *testing.T) {
	s := dualService(corev1.IPFamilyPolicySingleStack, "None")
	s.Spec.SessionAffinity, s.Spec.ExternalIPs, s.Spec.ExternalName = corev1.ServiceAffinityClientIP, []string{"1.2.3.4"}, "x"
	s.Spec.TrafficDistribution = ptr.To(corev1.ServiceTrafficDistributionPreferClose)
	want := []string{
		"spec.externalIPs is ignored for headless services", "spec.SessionAffinity is ignored for headless services",
		`spec.externalName is ignored when spec.type is not "ExternalName"`, `spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"`,
	}
	if diff := cmp.Diff(want, serviceWarnings(s)); diff != "" {
		t.Error(diff)
	}
	if got := serviceWarnings(dualService(corev1.IPFamilyPolicySingleStack, "10.0.0.1")); got != nil {
		t.Error(got)
	}
}
