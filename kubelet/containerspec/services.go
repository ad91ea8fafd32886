package containerspec

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// ServiceVariables are the variables that tell a pod of services: of the API
// itself always, of its own namespace's if it wants them. Sorted by service.
func ServiceVariables(pod *corev1.Pod, services []*corev1.Service) []runtime.EnvVar {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	chosen := map[string]*corev1.Service{}
	for _, s := range services {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		switch {
		case s.Namespace == pod.Namespace && links:
			chosen[s.Name] = s
		case s.Namespace == corev1.NamespaceDefault && s.Name == "kubernetes" && chosen[s.Name] == nil:
			chosen[s.Name] = s
		}
	}
	names := make([]string, 0, len(chosen))
	for name := range chosen {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []runtime.EnvVar
	for _, name := range names {
		out = append(out, variables(chosen[name])...)
	}
	return out
}

func variables(s *corev1.Service) []runtime.EnvVar {
	name, ip := shout(s.Name), s.Spec.ClusterIP
	number := func(p *corev1.ServicePort) string { return strconv.Itoa(int(p.Port)) }
	out := []runtime.EnvVar{
		{Name: name + "_SERVICE_HOST", Value: ip},
		{Name: name + "_SERVICE_PORT", Value: number(&s.Spec.Ports[0])},
	}
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.Name != "" {
			out = append(out, runtime.EnvVar{Name: name + "_SERVICE_PORT_" + shout(p.Name), Value: number(p)})
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		protocol := string(p.Protocol)
		if protocol == "" {
			protocol = string(corev1.ProtocolTCP)
		}
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(ip, number(p))
		if i == 0 {
			out = append(out, runtime.EnvVar{Name: name + "_PORT", Value: url})
		}
		prefix := fmt.Sprintf("%s_PORT_%d_%s", name, p.Port, strings.ToUpper(protocol))
		out = append(out,
			runtime.EnvVar{Name: prefix, Value: url},
			runtime.EnvVar{Name: prefix + "_PROTO", Value: strings.ToLower(protocol)},
			runtime.EnvVar{Name: prefix + "_PORT", Value: number(p)},
			runtime.EnvVar{Name: prefix + "_ADDR", Value: ip})
	}
	return out
}

func shout(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
