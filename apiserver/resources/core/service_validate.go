package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

const (
	maxAffinitySeconds = 86400
	onlyLoadBalancer   = "may only be used when `type` is 'LoadBalancer'"
)

// validateService checks a service that has passed validateChoice; old is what it was,
// nil where it is new: addresses that it has already are not held against it.
func validateService(s, old *corev1.Service) field.ErrorList {
	var held corev1.ServiceSpec
	if old != nil {
		held = old.Spec
	}
	path := field.NewPath("spec")
	errs := validateServiceType(s, path)
	errs = append(errs, validateServicePorts(s, path)...)
	errs = append(errs, rules.Labels(s.Spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateAffinity(s, path)...)
	errs = append(errs, validateTraffic(s, path)...)
	errs = append(errs, validateLoadBalancer(s, held.LoadBalancerSourceRanges, path)...)
	for i, ip := range s.Spec.ExternalIPs {
		at := path.Child("externalIPs").Index(i)
		if bad := rules.NewIP(ip, held.ExternalIPs, at); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		errs = append(errs, rules.NonZeroIP(ip, at)...)
	}
	return errs
}

// validateChoice checks what addresses and ports are chosen by. Upstream chooses before
// it looks at anything else of a service, and so these errors come alone.
func (p *servicePools) validateChoice(s, old *corev1.Service) field.ErrorList {
	var held []string
	if old != nil {
		held = old.Spec.ClusterIPs
	}
	if bad := validateClusterIPs(s, held, field.NewPath("spec")); len(bad) > 0 {
		return bad
	}
	if bad := checkFamilies(s, old, p.families()); len(bad) > 0 {
		return bad
	}
	if old == nil && needsNodePort(s) {
		return sharedNodePorts(s)
	}
	return nil
}

// sharedNodePorts refuses one node port for several ports of a new service; for several
// protocols of one port it is fine.
func sharedNodePorts(s *corev1.Service) field.ErrorList {
	taken := map[int32]int32{} // node port → port
	for i, p := range s.Spec.Ports {
		if p.NodePort == 0 {
			continue
		}
		if of, is := taken[p.NodePort]; is && of != p.Port {
			at := field.NewPath("spec", "ports").Index(i).Child("nodePort")
			return field.ErrorList{field.Invalid(at, p.NodePort, allocator.ErrPortTaken.Error())}
		}
		taken[p.NodePort] = p.Port
	}
	return nil
}

func validateServiceType(s *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Spec.Ports) == 0 && !headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	none := path.Child("clusterIPs").Index(0)
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		if headless(s) {
			errs = append(errs, field.Invalid(none, corev1.ClusterIPNone, "may not be set to 'None' for LoadBalancer services"))
		}
	case corev1.ServiceTypeNodePort:
		if headless(s) {
			errs = append(errs, field.Invalid(none, corev1.ClusterIPNone, "may not be set to 'None' for NodePort services"))
		}
	case corev1.ServiceTypeExternalName:
		if len(s.Spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clusterIPs"), "may not be set for ExternalName services"))
		}
		if len(s.Spec.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ipFamilies"), "may not be set for ExternalName services"))
		}
		if s.Spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(path.Child("ipFamilyPolicy"), "may not be set for ExternalName services"))
		}
		if name := strings.TrimSuffix(s.Spec.ExternalName, "."); name == "" {
			errs = append(errs, field.Required(path.Child("externalName"), ""))
		} else {
			errs = append(errs, rules.Subdomain(name, path.Child("externalName"))...)
		}
	}
	return append(errs, rules.Enum(s.Spec.Type, path.Child("type"),
		corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
}

// shownPort is a port as upstream's internal type shows it.
type shownPort struct {
	Name        string
	Protocol    corev1.Protocol
	AppProtocol *string
	Port        int32
	TargetPort  intstr.IntOrString
	NodePort    int32
}

func validateServicePorts(s *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	type numbered struct {
		protocol corev1.Protocol
		port     int32
	}
	names, ports, nodePorts := sets.New[string](), sets.New[numbered](), sets.New[numbered]()
	for i := range s.Spec.Ports {
		p, at := &s.Spec.Ports[i], path.Child("ports").Index(i)
		switch {
		case p.Name == "" && len(s.Spec.Ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), ""))
		case p.Name != "":
			errs = append(errs, rules.Label(p.Name, at.Child("name"))...)
			if names.Has(p.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		errs = append(errs, rules.Port(p.Port, at.Child("port"))...)
		errs = append(errs, rules.Enum(p.Protocol, at.Child("protocol"), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		errs = append(errs, rules.PortOrName(p.TargetPort, at.Child("targetPort"))...)
		if p.AppProtocol != nil {
			errs = append(errs, rules.Matches(*p.AppProtocol, at.Child("appProtocol"), validation.IsQualifiedName(*p.AppProtocol))...)
		}
		id := numbered{p.Protocol, p.Port}
		if ports.Has(id) {
			errs = append(errs, field.Duplicate(at, shownPort{Protocol: p.Protocol, Port: p.Port}))
		}
		ports.Insert(id)
		if p.NodePort == 0 {
			continue
		}
		if s.Spec.Type == corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Forbidden(at.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			continue
		}
		id = numbered{p.Protocol, p.NodePort}
		if nodePorts.Has(id) {
			errs = append(errs, field.Duplicate(at.Child("nodePort"), p.NodePort))
		}
		nodePorts.Insert(id)
	}
	return errs
}

func validateAffinity(s *corev1.Service, path *field.Path) field.ErrorList {
	errs := rules.Enum(s.Spec.SessionAffinity, path.Child("sessionAffinity"), corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	c, at := s.Spec.SessionAffinityConfig, path.Child("sessionAffinityConfig")
	switch {
	case s.Spec.SessionAffinity == corev1.ServiceAffinityNone && c != nil:
		errs = append(errs, field.Forbidden(at, fmt.Sprintf("must not be set when session affinity is %s", corev1.ServiceAffinityNone)))
	case s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP:
		why := fmt.Sprintf("when session affinity type is %s", corev1.ServiceAffinityClientIP)
		switch {
		case c == nil:
			return append(errs, field.Required(at, why))
		case c.ClientIP == nil:
			return append(errs, field.Required(at.Child("clientIP"), why))
		case c.ClientIP.TimeoutSeconds == nil:
			return append(errs, field.Required(at.Child("clientIP", "timeoutSeconds"), why))
		}
		if t := *c.ClientIP.TimeoutSeconds; t <= 0 || t > maxAffinitySeconds {
			errs = append(errs, field.Invalid(at.Child("clientIP", "timeoutSeconds"), t, fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySeconds)))
		}
	}
	return errs
}

func validateClusterIPs(s *corev1.Service, held []string, path *field.Path) field.ErrorList {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var errs field.ErrorList
	ips, at := s.Spec.ClusterIPs, path.Child("clusterIPs")
	switch {
	case s.Spec.ClusterIP != "" && len(ips) == 0:
		errs = append(errs, field.Required(at, ""))
	case s.Spec.ClusterIP == "" && len(ips) > 0:
		errs = append(errs, field.Invalid(at, ips, "must be empty when `clusterIP` is not specified"))
	case len(ips) > 0 && ips[0] != s.Spec.ClusterIP:
		errs = append(errs, field.Invalid(at, ips, "first value must match `clusterIP`"))
	}
	families := path.Child("ipFamilies")
	seen := sets.New[corev1.IPFamily]()
	for i, f := range s.Spec.IPFamilies {
		errs = append(errs, rules.OneOf(f, families.Index(i), corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if seen.Has(f) {
			errs = append(errs, field.Duplicate(families.Index(i), f))
		}
		seen.Insert(f)
	}
	if p := s.Spec.IPFamilyPolicy; p != nil {
		errs = append(errs, rules.OneOf(*p, path.Child("ipFamilyPolicy"),
			corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	wrong := false
	for i, ip := range ips {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(ips) > 1 {
				wrong, errs = true, append(errs, field.Invalid(at, ips, "'None' must be the first and only value"))
			}
			continue
		}
		bad := rules.NewIP(ip, held, at.Index(i))
		wrong, errs = wrong || len(bad) > 0, append(errs, bad...)
	}
	if len(ips) > 2 {
		errs = append(errs, field.Invalid(at, ips, "may only hold up to 2 values"))
	}
	if wrong {
		return errs
	}
	if len(ips) == 2 && netutils.IsIPv6String(ips[0]) == netutils.IsIPv6String(ips[1]) {
		errs = append(errs, field.Invalid(at, ips, "may specify no more than one IP for each IP family"))
	}
	if headless(s) || len(errs) > 0 {
		return errs
	}
	for i, ip := range ips {
		if i < len(s.Spec.IPFamilies) && netutils.IsIPv6String(ip) != (s.Spec.IPFamilies[i] == corev1.IPv6Protocol) {
			errs = append(errs, field.Invalid(at.Index(i), ip, fmt.Sprintf("expected an %v value as indicated by `ipFamilies[%v]`", s.Spec.IPFamilies[i], i)))
		}
	}
	return errs
}

func validateTraffic(s *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("externalTrafficPolicy")
	switch p := s.Spec.ExternalTrafficPolicy; {
	case !externallyAccessible(s) && p != "":
		errs = append(errs, field.Invalid(at, p, "may only be set for externally-accessible services"))
	case externallyAccessible(s):
		errs = append(errs, rules.Enum(p, at, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	at = path.Child("healthCheckNodePort")
	if p := s.Spec.HealthCheckNodePort; p != 0 {
		if !needsHealthCheckPort(s) {
			errs = append(errs, field.Invalid(at, p, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		} else {
			errs = append(errs, rules.Port(p, at)...)
			if i := slices.IndexFunc(s.Spec.Ports, func(sp corev1.ServicePort) bool { return sp.NodePort == p }); i >= 0 {
				errs = append(errs, field.Invalid(at, p, "may not be the same as the node port of a service port"))
			}
		}
	}
	if p := s.Spec.InternalTrafficPolicy; p != nil {
		errs = append(errs, rules.OneOf(*p, path.Child("internalTrafficPolicy"),
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	} else if s.Spec.Type == corev1.ServiceTypeClusterIP || needsNodePort(s) {
		errs = append(errs, field.Required(path.Child("internalTrafficPolicy"), ""))
	}
	if d := s.Spec.TrafficDistribution; d != nil {
		errs = append(errs, rules.OneOf(*d, path.Child("trafficDistribution"),
			corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
	}
	return errs
}

func validateLoadBalancer(s *corev1.Service, held []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	balancer := s.Spec.Type == corev1.ServiceTypeLoadBalancer
	if ranges := s.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		at := path.Child("LoadBalancerSourceRanges") // upstream's spelling
		if !balancer {
			errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
		}
		for i, r := range ranges {
			errs = append(errs, rules.NewCIDR(strings.TrimSpace(r), held, at.Index(i))...)
		}
	} else if ranges, ok := s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]; ok {
		at := field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
		if !balancer {
			errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
		}
		for r := range strings.SplitSeq(strings.TrimSpace(ranges), ",") {
			if balancer && strings.TrimSpace(ranges) != "" {
				errs = append(errs, rules.CIDR(strings.TrimSpace(r), at)...)
			}
		}
	}
	at := path.Child("allocateLoadBalancerNodePorts")
	switch {
	case balancer && s.Spec.AllocateLoadBalancerNodePorts == nil:
		errs = append(errs, field.Required(at, ""))
	case !balancer && s.Spec.AllocateLoadBalancerNodePorts != nil:
		errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
	}
	if c := s.Spec.LoadBalancerClass; c != nil {
		if !balancer {
			errs = append(errs, field.Forbidden(path.Child("loadBalancerClass"), onlyLoadBalancer))
		} else {
			errs = append(errs, rules.Matches(*c, path.Child("loadBalancerClass"), validation.IsQualifiedName(*c))...)
		}
	}
	return errs
}
