package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

const fixed = "may not change once set"

func validateServiceUpdate(s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec")
	if s.Spec.Type != corev1.ServiceTypeExternalName && old.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, changedClusterIPs(s, old, path)...)
		errs = append(errs, changedFamilies(s, old, path)...)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && old.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		!ptr.Equal(s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(path.Child("loadBalancerClass"), s.Spec.LoadBalancerClass, fixed))
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(path.Child("healthCheckNodePort"), "field is immutable"))
	}
	return errs
}

// changedClusterIPs: a second address may come and go; those that stay do not change.
func changedClusterIPs(s, old *corev1.Service, path *field.Path) field.ErrorList {
	if headless(s) && headless(old) {
		return nil
	}
	at, has, had := path.Child("clusterIPs"), s.Spec.ClusterIPs, old.Spec.ClusterIPs
	var errs field.ErrorList
	switch {
	case len(has) == len(had):
		for i := range had {
			if has[i] != had[i] {
				errs = append(errs, field.Invalid(at.Index(i), has, fixed))
			}
		}
		return errs
	case len(has) == 0:
		return field.ErrorList{field.Invalid(at.Index(0), has, "primary clusterIP can not be unset")}
	case len(had) > 0 && has[0] != had[0]:
		errs = append(errs, field.Invalid(at.Index(0), has, fixed))
	}
	if len(has) == 1 && len(had) > 1 {
		errs = append(errs, releasedSecond(s, "must be set to 'SingleStack' when releasing the secondary clusterIP", path)...)
	}
	return errs
}

// changedFamilies is the same of the address families, which a headless service may
// choose anew.
func changedFamilies(s, old *corev1.Service, path *field.Path) field.ErrorList {
	if headless(s) || headless(old) {
		return nil
	}
	at, has, had := path.Child("ipFamilies").Index(0), s.Spec.IPFamilies, old.Spec.IPFamilies
	var errs field.ErrorList
	if len(has) == len(had) {
		for i := range had {
			if has[i] != had[i] {
				errs = append(errs, field.Invalid(at, has, fixed))
			}
		}
		return errs
	}
	if len(had) > len(has) && len(s.Spec.ClusterIPs) == 0 {
		errs = append(errs, field.Invalid(at, has, "primary ipFamily can not be unset"))
	}
	if len(had) > 0 && len(has) > 0 && has[0] != had[0] {
		// Upstream shows the addresses here, not the families.
		errs = append(errs, field.Invalid(at, s.Spec.ClusterIPs, fixed))
	}
	if len(had) > 1 && len(has) == 1 {
		errs = append(errs, releasedSecond(s, "must be set to 'SingleStack' when releasing the secondary ipFamily", path)...)
	}
	return errs
}

func releasedSecond(s *corev1.Service, otherwise string, path *field.Path) field.ErrorList {
	if p := s.Spec.IPFamilyPolicy; p == nil || *p != corev1.IPFamilyPolicySingleStack {
		return field.ErrorList{field.Invalid(path.Child("ipFamilyPolicy"), p, otherwise)}
	}
	return nil
}

func validateServiceStatus(s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status", "loadBalancer", "ingress")
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 {
		return field.ErrorList{field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var held []string
	for _, in := range old.Status.LoadBalancer.Ingress {
		held = append(held, in.IP)
	}
	for i, in := range s.Status.LoadBalancer.Ingress {
		at, mode := path.Index(i), path.Index(i).Child("ipMode")
		if in.IP != "" {
			errs = append(errs, rules.NewIP(in.IP, held, at.Child("ip"))...)
		}
		switch {
		case in.IP == "" && in.IPMode != nil:
			errs = append(errs, field.Forbidden(mode, "may not be specified when `ip` is not set"))
		case in.IP != "" && in.IPMode == nil:
			errs = append(errs, field.Required(mode, "must be specified when `ip` is set"))
		case in.IPMode != nil:
			errs = append(errs, rules.OneOf(*in.IPMode, mode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
		}
		if in.Hostname != "" {
			errs = append(errs, rules.Subdomain(in.Hostname, at.Child("hostname"))...)
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
