package servicecidr_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/servicecidr"
)

var epoch = metav1.NewTime(time.Unix(1_000_000, 0))

// cidr is a ServiceCIDR at rest.
func cidr(name string, ranges ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: []string{"other", servicecidr.Finalizer}},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: ranges},
		Status: networkingv1.ServiceCIDRStatus{Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, Message: "Kubernetes Service CIDR is ready",
		}}},
	}
}

func going(c *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR {
	c.DeletionTimestamp = &epoch
	return c
}

func with(c *networkingv1.ServiceCIDR, change func(*networkingv1.ServiceCIDR)) *networkingv1.ServiceCIDR {
	change(c)
	return c
}

func TestDecide(t *testing.T) {
	bare := func(c *networkingv1.ServiceCIDR) { c.Finalizers = nil }
	silent := func(c *networkingv1.ServiceCIDR) { c.Status = networkingv1.ServiceCIDRStatus{} }
	waiting := func(c *networkingv1.ServiceCIDR) {
		c.Status.Conditions[0] = metav1.Condition{
			Type: "Ready", Status: metav1.ConditionFalse, Reason: "Terminating",
			Message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
		}
	}
	const four = "10.1.0.0/24"
	for name, test := range map[string]struct {
		cidr      *networkingv1.ServiceCIDR
		others    []*networkingv1.ServiceCIDR
		addresses []string
		after     time.Duration // since it was deleted
		want      servicecidr.Decision
		says      string
	}{
		"at rest": {cidr: cidr("m", four)},
		"new":     {cidr: with(with(cidr("m", four), bare), silent), want: servicecidr.Decision{Finalizer: servicecidr.Add}, says: "True "},
		"lost it": {cidr: with(cidr("m", four), bare), want: servicecidr.Decision{Finalizer: servicecidr.Add}},
		"other message": {cidr: with(cidr("m", four), func(c *networkingv1.ServiceCIDR) {
			c.Status.Conditions[0].Message = "Kubernetes default Service CIDR is ready"
		}), says: "True "},
		"still waiting, but not deleted": {cidr: with(cidr("m", four), waiting), says: "True "},

		"gone, fresh":            {cidr: going(cidr("m", four)), after: 3 * time.Second, want: servicecidr.Decision{After: 7 * time.Second}},
		"gone, a while ago":      {cidr: going(cidr("m", four)), after: 10 * time.Second, want: servicecidr.Decision{Finalizer: servicecidr.Remove}},
		"gone, others hold it":   {cidr: going(with(cidr("m", four), bare)), after: time.Hour},
		"gone, used":             {cidr: going(cidr("m", four)), addresses: []string{"10.0.0.1", "10.1.0.254"}, after: time.Hour, says: "False Terminating"},
		"gone, used and said so": {cidr: going(with(cidr("m", four), waiting)), addresses: []string{"10.1.0.1"}, after: time.Hour},
		"gone, used no more":     {cidr: going(with(cidr("m", four), waiting)), after: time.Hour, want: servicecidr.Decision{Finalizer: servicecidr.Remove}},
		"gone, not its own":      {cidr: going(cidr("m", four, "fd01::/120")), addresses: []string{"10.0.0.1", "10.1.0.0", "10.1.0.255", "fd01::", "fd01::1:0"}, after: time.Hour, want: servicecidr.Decision{Finalizer: servicecidr.Remove}},
		"gone, used in IPv6":     {cidr: going(cidr("m", four, "fd01::/120")), addresses: []string{"fd01::ff"}, after: time.Hour, says: "False Terminating"},

		"gone, another has the address": {
			cidr: going(cidr("m", four)), others: []*networkingv1.ServiceCIDR{cidr("a", "10.1.0.0/30")},
			addresses: []string{"10.1.0.1"}, after: time.Hour, want: servicecidr.Decision{Finalizer: servicecidr.Remove},
		},
		"gone, another has one address": {
			cidr: going(cidr("m", four)), others: []*networkingv1.ServiceCIDR{cidr("z", "10.1.0.0/30")},
			addresses: []string{"10.1.0.1", "10.1.0.3"}, after: time.Hour, says: "False Terminating",
		},
		"two gone, the first": {
			cidr: going(cidr("m", four)), others: []*networkingv1.ServiceCIDR{going(cidr("z", four))},
			addresses: []string{"10.1.0.1"}, after: time.Hour, want: servicecidr.Decision{Finalizer: servicecidr.Remove},
		},
		"two gone, the last": {
			cidr: going(cidr("m", four)), others: []*networkingv1.ServiceCIDR{going(cidr("a", "10.0.0.0/8"))},
			addresses: []string{"10.1.0.1"}, after: time.Hour, says: "False Terminating",
		},
	} {
		v := servicecidr.View{CIDR: test.cidr, All: append(slices.Clone(test.others), test.cidr)}
		for _, ip := range test.addresses {
			v.Addresses = append(v.Addresses, netip.MustParseAddr(ip))
		}
		now := epoch.Add(test.after)
		got, says := servicecidr.Decide(v, now), ""
		if c := got.Condition; c != nil {
			says = string(c.Status) + " " + c.Reason
			if c.Type != "Ready" || !c.LastTransitionTime.Time.Equal(now) {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if got.Finalizer != test.want.Finalizer || got.After != test.want.After || says != test.says {
			t.Errorf("%s: %+v, says %q; want %+v, %q", name, got, says, test.want, test.says)
		}
	}
}

func address(name string) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
		Spec:       networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "default", Name: "s"}},
	}
}

// A ServiceCIDR becomes ready, waits for its address when it is deleted, is freed of
// that by another, and goes.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := address("10.1.0.8")
		foreign.Labels = nil
		api := fakeapi.New(address("10.1.0.7"), foreign)
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{servicecidr.New()}})
		ctx, cidrs := t.Context(), api.Client.NetworkingV1().ServiceCIDRs()
		create := func(name, of string) {
			t.Helper()
			if _, err := cidrs.Create(ctx, &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{of}}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		remove := func(name string) {
			t.Helper()
			if err := cidrs.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(9 * time.Second)
		}
		state := func(name string) string {
			t.Helper()
			got, err := cidrs.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return "gone"
			}
			if err != nil || len(got.Status.Conditions) != 1 || !slices.Equal(got.Finalizers, []string{servicecidr.Finalizer}) {
				t.Fatalf("%+v, %v", got, err)
			}
			return string(got.Status.Conditions[0].Status) + got.Status.Conditions[0].Reason
		}
		expect := func(name, want string) {
			t.Helper()
			if got := state(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		create("one", "10.1.0.0/24")
		expect("one", "True")
		remove("one")
		expect("one", "FalseTerminating")
		time.Sleep(time.Hour)
		expect("one", "FalseTerminating")
		create("two", "10.0.0.0/8")
		expect("one", "gone")
		remove("two")
		expect("two", "FalseTerminating")
		if err := api.Client.NetworkingV1().IPAddresses().Delete(ctx, "10.1.0.7", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		expect("two", "gone")
		create("three", "10.1.0.0/24")
		remove("three")
		expect("three", "True") // nothing holds it, but all API servers must see it go
		time.Sleep(2 * time.Second)
		expect("three", "gone")
	})
}
