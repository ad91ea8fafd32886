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
	if errs := validateSlice(s, nil); len(errs) > 0 {
		t.Errorf("a good slice: %v", errs)
	}
	if diff := cmp.Diff([]any{"web-x", "IPv4", "80", "10.1.0.1,10.1.0.2,10.1.0.3 + 1 more...", "1s"}, sliceCells(s, now)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	s.AddressType, s.Endpoints, s.Ports = "", []discoveryv1.Endpoint{{}}, append(s.Ports, s.Ports[0])
	var got []string
	for _, e := range validateSlice(s, nil) {
		got = append(got, e.Error())
	}
	want := []string{
		"addressType: Required value", `ports[1].name: Duplicate value: ""`, "endpoints[0].addresses: Required value",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestSliceChange(t *testing.T) {
	old := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{
		{Addresses: []string{"010.0.0.1"}, DeprecatedTopology: map[string]string{"kubernetes.io/hostname": "n"}},
	}}
	if errs := validateSlice(old.DeepCopy(), old); len(errs) > 0 {
		t.Errorf("endpoints as they were: %v", errs)
	}
	s := old.DeepCopy()
	s.Endpoints[0].Hints = &discoveryv1.EndpointHints{
		ForZones: []discoveryv1.ForZone{{Name: "z"}, {Name: "z"}}, ForNodes: []discoveryv1.ForNode{{Name: "N"}},
	}
	var got []string
	for _, e := range validateSlice(s, old) {
		got = append(got, e.Field+" "+string(e.Type))
	}
	want := []string{
		"endpoints[0].addresses[0] FieldValueInvalid", "endpoints[0].hints.forZones[1].name FieldValueDuplicate",
		"endpoints[0].hints.forNodes[0].name FieldValueInvalid",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	dropTopology(s, old)
	if e := s.Endpoints[0]; e.DeprecatedTopology != nil || ptr.Deref(e.NodeName, "") != "n" {
		t.Errorf("topology %v, node %v", e.DeprecatedTopology, e.NodeName)
	}
}
