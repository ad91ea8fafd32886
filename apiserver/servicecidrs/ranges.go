package servicecidrs

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/allocator"
)

// Ranges are what the objects say: each range once, open if one of those that have it
// is.
func Ranges(objects map[string]*networkingv1.ServiceCIDR) []allocator.Range {
	var out []allocator.Range
	at := map[netip.Prefix]int{}
	for _, o := range objects {
		for _, text := range o.Spec.CIDRs {
			cidr, err := netip.ParsePrefix(text)
			if err != nil {
				continue // what is stored was checked
			}
			i, known := at[cidr]
			if !known {
				i = len(out)
				at[cidr] = i
				out = append(out, allocator.Range{CIDR: cidr})
			}
			out[i].Open = out[i].Open || open(o)
		}
	}
	return out
}

// open says that addresses may come from the ranges of an object. One that nobody has
// judged yet counts, so that a cluster without controllers works.
func open(o *networkingv1.ServiceCIDR) bool {
	if o.DeletionTimestamp != nil {
		return false
	}
	ready := meta.FindStatusCondition(o.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	return ready == nil || ready.Status == metav1.ConditionTrue
}
