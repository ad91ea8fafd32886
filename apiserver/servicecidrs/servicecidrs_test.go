package servicecidrs

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/allocator"
)

func object(status metav1.ConditionStatus, cidrs ...string) *networkingv1.ServiceCIDR {
	o := &networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
	if status != "" {
		o.Status.Conditions = []metav1.Condition{{Type: "Other", Status: "False"}, {Type: "Ready", Status: status, Reason: "Why", Message: "because"}}
	}
	return o
}

func going(o *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR {
	o.DeletionTimestamp = &metav1.Time{}
	return o
}

func TestRanges(t *testing.T) {
	got := Ranges(map[string]*networkingv1.ServiceCIDR{
		"ready":          object("True", "10.0.0.0/24", "fd00::/64"),
		"nobody said":    object("", "10.1.0.0/24"),
		"not ready":      object("False", "10.2.0.0/24"),
		"unknown":        object("Unknown", "10.3.0.0/24"),
		"going":          going(object("True", "10.4.0.0/24")),
		"one of two":     object("True", "10.5.0.0/24"),
		"the other one":  going(object("True", "10.5.0.0/24")),
		"no address":     object("True", "10.6.0.0"),
		"inside another": object("False", "10.0.0.0/25"),
	})
	slices.SortFunc(got, func(a, b allocator.Range) int { return cmp.Compare(a.CIDR.String(), b.CIDR.String()) })
	of := func(open bool, cidr string) allocator.Range {
		return allocator.Range{CIDR: netip.MustParsePrefix(cidr), Open: open}
	}
	want := []allocator.Range{
		of(true, "10.0.0.0/24"), of(false, "10.0.0.0/25"), of(true, "10.1.0.0/24"), of(false, "10.2.0.0/24"),
		of(false, "10.3.0.0/24"), of(false, "10.4.0.0/24"), of(true, "10.5.0.0/24"), of(true, "fd00::/64"),
	}
	if diff := gocmp.Diff(want, got, gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecide(t *testing.T) {
	const a, b, six = "10.0.0.0/24", "10.1.0.0/24", "fd00::/64"
	for name, test := range map[string]struct {
		found      *networkingv1.ServiceCIDR
		configured []string
		want       step
		told       string
	}{
		"none":                     {configured: []string{a}, want: create},
		"new":                      {found: object("", a), configured: []string{a}, want: approve},
		"unknown":                  {found: object("Unknown", a), configured: []string{a}, want: approve},
		"ready":                    {found: object("True", a, six), configured: []string{a, six}},
		"not ready":                {found: object("False", a), configured: []string{a}, told: "Why: Configuration matches, but because"},
		"going":                    {found: going(object("False", a)), configured: []string{a}},
		"going, of another":        {found: going(object("True", b)), configured: []string{a}},
		"second family":            {found: object("True", a), configured: []string{a, six}, want: extend},
		"second family of another": {found: object("True", b), configured: []string{a, six}, told: "KubernetesDefaultServiceCIDRInconsistent: The default ServiceCIDR [10.1.0.0/24] does not match the controller flag configurations [10.0.0.0/24 fd00::/64]"},
		"one family less":          {found: object("", a, six), configured: []string{a}, told: "KubernetesDefaultServiceCIDRInconsistent: The default ServiceCIDR [10.0.0.0/24 fd00::/64] does not match the controller flag configurations [10.0.0.0/24]"},
	} {
		got, wrong := decide(test.found, test.configured)
		told := ""
		if wrong != nil {
			told = wrong.reason + ": " + wrong.message
		}
		if got != test.want || told != test.told {
			t.Errorf("%s: step %d, %q; want %d, %q", name, got, told, test.want, test.told)
		}
	}
}
