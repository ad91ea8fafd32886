package discovery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestEndpointSlices(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "web-x", CreationTimestamp: metav1.NewTime(now.Add(-time.Second))}, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.1.0.1"}}, {Addresses: []string{"10.1.0.2"}}, {Addresses: []string{"10.1.0.3"}}, {Addresses: []string{"10.1.0.4"}},
		},
		Ports: []discoveryv1.EndpointPort{{Port: ptr.To(int32(80))}},
	}
	defaultSlice(s)
	if errs := validateSlice(s); len(errs) > 0 {
		t.Errorf("a good slice: %v", errs)
	}
	if diff := cmp.Diff([]any{"web-x", "IPv4", "80", "10.1.0.1,10.1.0.2,10.1.0.3 + 1 more...", "1s"}, sliceCells(s, now)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	s.AddressType, s.Endpoints, s.Ports = "", []discoveryv1.Endpoint{{}}, append(s.Ports, s.Ports[0])
	var got []string
	for _, e := range validateSlice(s) {
		got = append(got, e.Error())
	}
	want := []string{
		"addressType: Required value", "endpoints[0].addresses: Required value: must contain at least 1 address",
		`ports[1].name: Duplicate value: ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
