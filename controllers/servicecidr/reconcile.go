package servicecidr

import (
	"net/netip"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Finalizer is that of ServiceCIDRs.
	Finalizer = "networking.k8s.io/service-cidr-finalizer"
	// managedBy labels the addresses that the API server gives to services.
	managedBy = "ipallocator.k8s.io"
	// grace is how long a deleted ServiceCIDR stays, so that every API server has seen
	// that it gives no more addresses.
	grace = 10 * time.Second
)

// View is what there is to see of a ServiceCIDR. The rest is only looked at once it is
// deleted: All are all ServiceCIDRs, Addresses those that the API server gave to services.
type View struct {
	CIDR      *networkingv1.ServiceCIDR
	All       []*networkingv1.ServiceCIDR
	Addresses []netip.Addr
}

// Change is what to do about the finalizer.
type Change int

// The changes of a finalizer.
const (
	Keep Change = iota
	Add
	Remove
)

// Decision is what to do about a ServiceCIDR.
type Decision struct {
	Finalizer Change
	// Condition to set, nil for none.
	Condition *metav1.Condition
	// After is when to look again, 0 for when something changes.
	After time.Duration
}

// Decide says what a ServiceCIDR needs.
func Decide(v View, now time.Time) Decision {
	held := slices.Contains(v.CIDR.Finalizers, Finalizer)
	if v.CIDR.DeletionTimestamp == nil {
		d := Decision{Condition: news(v.CIDR, metav1.Condition{Status: metav1.ConditionTrue, Message: "Kubernetes Service CIDR is ready"}, now)}
		if !held {
			d.Finalizer = Add
		}
		return d
	}
	if v.needed() {
		return Decision{Condition: news(v.CIDR, metav1.Condition{
			Status: metav1.ConditionFalse, Reason: networkingv1.ServiceCIDRReasonTerminating,
			Message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
		}, now)}
	}
	if left := v.CIDR.DeletionTimestamp.Add(grace).Sub(now); left > 0 {
		return Decision{After: left}
	}
	if held {
		return Decision{Finalizer: Remove}
	}
	return Decision{}
}

// news completes a condition for an object, nil if the object says it already.
func news(cidr *networkingv1.ServiceCIDR, c metav1.Condition, now time.Time) *metav1.Condition {
	c.Type, c.LastTransitionTime = networkingv1.ServiceCIDRConditionReady, metav1.NewTime(now)
	has := meta.FindStatusCondition(cidr.Status.Conditions, c.Type)
	if has != nil && has.Status == c.Status && has.Reason == c.Reason && has.Message == c.Message {
		return nil
	}
	return &c
}

// needed says that there is an address which only this ServiceCIDR has. Of several that
// are on their way out the last by name has what they have in common, so that they do
// not leave it to each other.
func (v View) needed() bool {
	var others []netip.Prefix
	for _, o := range v.All {
		if o.Name > v.CIDR.Name || o.Name < v.CIDR.Name && o.DeletionTimestamp == nil {
			others = append(others, prefixes(o)...)
		}
	}
	own := prefixes(v.CIDR)
	return slices.ContainsFunc(v.Addresses, func(ip netip.Addr) bool { return cover(own, ip) && !cover(others, ip) })
}

func prefixes(cidr *networkingv1.ServiceCIDR) (out []netip.Prefix) {
	for _, text := range cidr.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// cover says that a service may have had the address from one of the ranges: that it is
// in one, and neither the network's own address nor, in IPv4, the one for broadcasts.
func cover(ranges []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool {
		return p.Contains(ip) && ip != p.Addr() && (ip.Is6() || p.Contains(ip.Next()))
	})
}

func overlap(a, b *networkingv1.ServiceCIDR) bool {
	of := prefixes(b)
	return slices.ContainsFunc(prefixes(a), func(p netip.Prefix) bool { return slices.ContainsFunc(of, p.Overlaps) })
}
