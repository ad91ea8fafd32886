package containerspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

const (
	maxHostname = 63
	maxSearches = 32
	maxServers  = 3
)

// Hostname of a pod and its domain ("" where it has none).
func Hostname(pod *corev1.Pod, clusterDomain string) (host, domain string) {
	if o := pod.Spec.HostnameOverride; o != nil {
		return *o, ""
	}
	host = pod.Spec.Hostname
	if host == "" {
		host = pod.Name
	}
	if len(host) > maxHostname {
		host = strings.TrimRight(host[:maxHostname], "-.")
	}
	if pod.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, clusterDomain)
	}
	return host, domain
}

// sandboxHostname is the name in the pod's UTS namespace.
func sandboxHostname(pod *corev1.Pod, clusterDomain string) string {
	if pod.Spec.HostNetwork && pod.Spec.HostnameOverride == nil {
		return ""
	}
	host, domain := Hostname(pod, clusterDomain)
	if domain != "" && pod.Spec.SetHostnameAsFQDN != nil && *pod.Spec.SetHostnameAsFQDN {
		return host + "." + domain
	}
	return host
}

// Hosts is the pod's /etc/hosts. machine is the node's own file, which pods on
// the node's network start from.
func Hosts(pod *corev1.Pod, podIPs []string, clusterDomain string, machine []byte) []byte {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(machine)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n" +
			"127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\n" +
			"fe00::0\tip6-mcastprefix\n" +
			"fe00::1\tip6-allnodes\n" +
			"fe00::2\tip6-allrouters\n")
		host, domain := Hostname(pod, clusterDomain)
		for _, ip := range podIPs {
			if domain != "" {
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, host, domain, host)
			} else {
				fmt.Fprintf(&b, "%s\t%s\n", ip, host)
			}
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	return []byte(b.String())
}

// DNS is the resolver of a pod; nil copies the machine's.
func DNS(pod *corev1.Pod, node Node) *runtime.DNSConfig {
	var out *runtime.DNSConfig
	policy := pod.Spec.DNSPolicy
	clusterFirst := policy == corev1.DNSClusterFirstWithHostNet || !pod.Spec.HostNetwork && (policy == corev1.DNSClusterFirst || policy == "")
	switch {
	case policy == corev1.DNSNone:
		out = &runtime.DNSConfig{}
	case clusterFirst && len(node.ClusterDNS) > 0:
		out = &runtime.DNSConfig{Servers: slices.Clone(node.ClusterDNS), Options: []string{"ndots:5"}}
		if d := node.ClusterDomain; d != "" {
			out.Searches = []string{pod.Namespace + ".svc." + d, "svc." + d, d}
		}
		if node.HostDNS != nil {
			out.Searches = append(out.Searches, node.HostDNS.Searches...)
		}
	case node.HostDNS != nil:
		out = &runtime.DNSConfig{Servers: slices.Clone(node.HostDNS.Servers), Searches: slices.Clone(node.HostDNS.Searches), Options: slices.Clone(node.HostDNS.Options)}
	case pod.Spec.DNSConfig == nil:
		return nil
	default:
		out = &runtime.DNSConfig{}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		out.Servers = append(out.Servers, c.Nameservers...)
		out.Searches = append(out.Searches, c.Searches...)
		for _, o := range c.Options {
			out.Options = slices.DeleteFunc(out.Options, func(have string) bool {
				name, _, _ := strings.Cut(have, ":")
				return name == o.Name
			})
			if o.Value != nil && *o.Value != "" {
				out.Options = append(out.Options, o.Name+":"+*o.Value)
			} else {
				out.Options = append(out.Options, o.Name)
			}
		}
	}
	out.Servers, out.Searches = distinct(out.Servers, maxServers), distinct(out.Searches, maxSearches)
	return out
}

func distinct(list []string, most int) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) && len(out) < most {
			out = append(out, s)
		}
	}
	return out
}

// ParseResolvConf reads a resolv.conf; lines that it does not know are skipped.
func ParseResolvConf(text string) *runtime.DNSConfig {
	out := &runtime.DNSConfig{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			out.Servers = append(out.Servers, fields[1])
		case "search", "domain":
			out.Searches = nil
			for _, s := range fields[1:] {
				if s != "." {
					out.Searches = append(out.Searches, s)
				}
			}
		case "options":
			out.Options = append([]string(nil), fields[1:]...)
		}
	}
	return out
}
