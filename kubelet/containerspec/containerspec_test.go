package containerspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/runtime"
)

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "$(A)"}
	lookup := func(n string) (string, bool) { v, ok := values[n]; return v, ok }
	for in, want := range map[string]string{
		"":        "",
		"$(A)":    "1",
		"x$(A)y":  "x1y",
		"$(B)":    "$(A)",
		"$(C)":    "$(C)",
		"$$(A)":   "$(A)",
		"$$$(A)":  "$1",
		"$A $":    "$A $",
		"$(A":     "$(A",
		"$($(A))": "$($(A))",
	} {
		if got := containerspec.Expand(in, lookup); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A)$$(B)$")
	f.Fuzz(func(t *testing.T, s string) {
		none := func(string) (string, bool) { return "", false }
		if got := containerspec.Expand(s, none); !strings.Contains(s, "$$") && got != s {
			t.Errorf("Expand(%q) = %q without any variable", s, got)
		}
	})
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 1.1.1.1\nsearch a b\noptions ndots:5\n")
	f.Fuzz(func(t *testing.T, s string) {
		if containerspec.ParseResolvConf(s) == nil {
			t.Error("nil")
		}
	})
}

func TestDNS(t *testing.T) {
	node := containerspec.Node{ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		HostDNS: containerspec.ParseResolvConf("nameserver 192.0.2.53\nsearch corp.example\noptions rotate\n")}
	five := "7"
	pod := func(policy corev1.DNSPolicy, host bool, config *corev1.PodDNSConfig) *corev1.Pod {
		p := &corev1.Pod{}
		p.Namespace, p.Spec.DNSPolicy, p.Spec.HostNetwork, p.Spec.DNSConfig = "ns", policy, host, config
		return p
	}
	cluster := &runtime.DNSConfig{Servers: []string{"10.96.0.10"}, Options: []string{"ndots:5"},
		Searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"}}
	machine := &runtime.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"corp.example"}, Options: []string{"rotate"}}
	for _, tt := range []struct {
		name string
		pod  *corev1.Pod
		want *runtime.DNSConfig
	}{
		{"cluster first", pod(corev1.DNSClusterFirst, false, nil), cluster},
		{"on the machine's network", pod(corev1.DNSClusterFirst, true, nil), machine},
		{"there too", pod(corev1.DNSClusterFirstWithHostNet, true, nil), cluster},
		{"the machine's", pod(corev1.DNSDefault, false, nil), machine},
		{"none", pod(corev1.DNSNone, false, &corev1.PodDNSConfig{Nameservers: []string{"1.1.1.1"}}), &runtime.DNSConfig{Servers: []string{"1.1.1.1"}}},
		{"an option replaced", pod(corev1.DNSClusterFirst, false, &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &five}}}),
			&runtime.DNSConfig{Servers: cluster.Servers, Searches: cluster.Searches, Options: []string{"ndots:7"}}},
	} {
		if diff := cmp.Diff(tt.want, containerspec.DNS(tt.pod, node)); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

func TestVerifyNonRoot(t *testing.T) {
	yes, root, user := true, int64(0), int64(1000)
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace, pod.UID = "p", "ns", "u"
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes}
	where := ` (pod: "p_ns(u)", container: c)`
	for _, tt := range []struct {
		name  string
		asks  *int64
		image runtime.Image
		want  string
	}{
		{"an image of root's", nil, runtime.Image{}, "container has runAsNonRoot and image will run as root" + where},
		{"an image of user 0", nil, runtime.Image{UID: &root}, "container has runAsNonRoot and image will run as root" + where},
		{"an image of somebody's", nil, runtime.Image{Username: "app"}, "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root" + where},
		{"an image of a number's", nil, runtime.Image{UID: &user}, ""},
		{"it asks for root", &root, runtime.Image{UID: &user}, "container's runAsUser breaks non-root policy" + where},
		{"it asks for another", &user, runtime.Image{}, ""},
	} {
		c := &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{RunAsUser: tt.asks}}
		got := ""
		if err := containerspec.VerifyNonRoot(pod, c, &tt.image); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace, pod.Spec.Subdomain = "web-0", "ns", "web"
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"a", "b"}}}
	text := string(containerspec.Hosts(pod, []string{"10.0.0.1"}, "cluster.local", nil))
	for _, want := range []string{"10.0.0.1\tweb-0.web.ns.svc.cluster.local\tweb-0\n", "1.2.3.4\ta\tb\n", "127.0.0.1\tlocalhost\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}

func TestServiceVariablesStayInTheNamespace(t *testing.T) {
	service := func(ns, name string) *corev1.Service {
		s := &corev1.Service{}
		s.Namespace, s.Name = ns, name
		s.Spec.ClusterIP, s.Spec.Ports = "10.0.0.1", []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
		return s
	}
	list := []*corev1.Service{service("default", "kubernetes"), service("ns", "my-db"), service("other", "x")}
	pod := &corev1.Pod{}
	pod.Namespace = "ns"
	names := map[string]string{}
	for _, v := range containerspec.ServiceVariables(pod, list) {
		names[v.Name] = v.Value
	}
	if names["MY_DB_SERVICE_PORT_HTTP"] != "80" || names["MY_DB_PORT_80_TCP"] != "tcp://10.0.0.1:80" || names["KUBERNETES_SERVICE_HOST"] == "" || names["X_SERVICE_HOST"] != "" {
		t.Errorf("%v", names)
	}
	no := false
	pod.Spec.EnableServiceLinks = &no
	if got := len(containerspec.ServiceVariables(pod, list)); got != 8 {
		t.Errorf("%d variables without links, want the API's 8", got)
	}
}
