package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// inferFamilies fills in the policy and the address families that a client left open,
// given those of the cluster, the default one first. It stops where checkFamilies has
// something to refuse.
func inferFamilies(s, old *corev1.Service, cluster []corev1.IPFamily) {
	if len(cluster) == 0 || !needsClusterIP(s) || keepsPreferred(s, old) {
		return
	}
	spec := &s.Spec
	if spec.IPFamilyPolicy == nil {
		spec.IPFamilyPolicy = ptr.To(impliedPolicy(s, old))
	}
	single := singleStack(s)
	if single {
		dropSecond(s, old)
		if len(spec.ClusterIPs) > 1 {
			return
		}
	} else if released(s, old) {
		return
	}
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		if i < len(spec.IPFamilies) {
			continue
		}
		if !slices.Contains(cluster, familyOf(ip)) {
			return
		}
		spec.IPFamilies = append(spec.IPFamilies, familyOf(ip))
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{cluster[0]}
	}
	if !single && len(spec.IPFamilies) == 1 && (len(cluster) > 1 || anyFamily(s)) {
		spec.IPFamilies = append(spec.IPFamilies, otherFamily(spec.IPFamilies[0]))
	}
}

// checkFamilies refuses policies, addresses and families that do not go together or
// that the cluster does not have.
func checkFamilies(s, old *corev1.Service, cluster []corev1.IPFamily) field.ErrorList {
	if len(cluster) == 0 || !needsClusterIP(s) || keepsPreferred(s, old) {
		return nil
	}
	spec, path := &s.Spec, field.NewPath("spec")
	policy, single := path.Child("ipFamilyPolicy"), singleStack(s)
	var errs field.ErrorList
	refuse := func(when bool, why string) {
		if when {
			errs = append(errs, field.Invalid(policy, spec.IPFamilyPolicy, why))
		}
	}
	refuse(!single && fewer(s, old, clusterIPs), "must be 'SingleStack' to release the secondary cluster IP")
	refuse(!single && fewer(s, old, ipFamilies), "must be 'SingleStack' to release the secondary IP family")
	refuse(single && len(spec.ClusterIPs) == 2, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified")
	refuse(single && len(spec.IPFamilies) == 2, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")
	for i, ip := range spec.ClusterIPs {
		if ip != corev1.ClusterIPNone && i >= len(spec.IPFamilies) && !slices.Contains(cluster, familyOf(ip)) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(i), spec.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", familyOf(ip))))
		}
	}
	if len(errs) > 0 || anyFamily(s) {
		return errs
	}
	refuse(len(cluster) < 2 && *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack, "this cluster is not configured for dual-stack services")
	for i, f := range spec.IPFamilies {
		if !slices.Contains(cluster, f) {
			errs = append(errs, field.Invalid(path.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	return errs
}

// impliedPolicy is that of a service whose client said none.
func impliedPolicy(s, old *corev1.Service) corev1.IPFamilyPolicy {
	switch {
	case old != nil && old.Spec.IPFamilyPolicy != nil:
		return *old.Spec.IPFamilyPolicy
	case anyFamily(s):
		return corev1.IPFamilyPolicyRequireDualStack
	}
	return corev1.IPFamilyPolicySingleStack
}

// anyFamily says that a service has whatever families its endpoints have: there is
// neither a selector nor an address of its own.
func anyFamily(s *corev1.Service) bool { return headless(s) && len(s.Spec.Selector) == 0 }

// keepsPreferred says that a service took the families that there were and is left as
// it is: those of the cluster may have changed since.
func keepsPreferred(s, old *corev1.Service) bool {
	prefers := func(s *corev1.Service) bool {
		return ptr.Deref(s.Spec.IPFamilyPolicy, "") == corev1.IPFamilyPolicyPreferDualStack
	}
	return old != nil && old.Spec.Type == s.Spec.Type && prefers(s) && (old.Spec.IPFamilyPolicy == nil || prefers(old)) &&
		s.Spec.ClusterIP == old.Spec.ClusterIP && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) &&
		slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies)
}

// dropSecond gives up the second address and family of a service that is to have one,
// where a client changed the policy alone.
func dropSecond(s, old *corev1.Service) {
	if old == nil {
		return
	}
	if len(s.Spec.ClusterIPs) > 1 && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
	}
	if len(s.Spec.IPFamilies) > 1 && slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) {
		s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
	}
}

// released says that a client gave up an address or a family.
func released(s, old *corev1.Service) bool {
	return fewer(s, old, clusterIPs) || fewer(s, old, ipFamilies)
}

func fewer(s, old *corev1.Service, count func(*corev1.Service) int) bool {
	return old != nil && count(s) > 0 && count(s) < count(old)
}

func clusterIPs(s *corev1.Service) int { return len(s.Spec.ClusterIPs) }
func ipFamilies(s *corev1.Service) int { return len(s.Spec.IPFamilies) }

func singleStack(s *corev1.Service) bool {
	return ptr.Deref(s.Spec.IPFamilyPolicy, "") == corev1.IPFamilyPolicySingleStack
}

func familyOf(ip string) corev1.IPFamily {
	if netutils.IsIPv6String(ip) {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func otherFamily(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv6Protocol {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}
