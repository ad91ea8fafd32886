package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"github.com/strake-io/strake/apiserver/resource"
)

func TestValidateNode(t *testing.T) {
	r := nodes(nil)
	for name, test := range map[string]struct {
		node corev1.Node
		want []string
	}{
		"right": {node: corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24", "fd00::/64"}}}},
		"one family": {node: corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24", "10.0.1.0/24"}}}, want: []string{
			`spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each IP family`,
		}},
		"taints": {node: corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a"}, {Key: "b", Effect: "Never"}}}}, want: []string{
			"metadata.taints[0].effect: Required value",
			`metadata.taints[1].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
		}},
		"less than nothing": {node: corev1.Node{Status: corev1.NodeStatus{Capacity: corev1.ResourceList{"cpu": apiresource.MustParse("-1")}}}, want: []string{
			`status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`,
		}},
		"half a device": {node: corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"a.b/gpu": apiresource.MustParse("500m")}}}, want: []string{
			`status.allocatable.a.b/gpu: Invalid value: "500m": must be an integer`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, lines(r.Validate(&test.node))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodeUpdates(t *testing.T) {
	r := nodes(nil)
	old := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}, ProviderID: "a", DoNotUseExternalID: "x"}}
	node := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.1.0/24"}, ProviderID: "b", ConfigSource: &corev1.NodeConfigSource{}}}
	r.PrepareForUpdate(resource.Request{}, node, old)
	if node.Spec.ConfigSource != nil {
		t.Error("a source of configuration is kept")
	}
	want := []string{
		`spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`,
		`spec.providerID: Invalid value: null: field cannot be modified once set`,
		`spec.externalID: Forbidden: may not be updated`,
	}
	if diff := cmp.Diff(want, lines(r.ValidateChange(node, old))); diff != "" {
		t.Error(diff)
	}
	warned := []string{"spec.externalID: this field is deprecated, and is unused by Kubernetes"}
	if diff := cmp.Diff(warned, r.Warnings(old, nil)); diff != "" {
		t.Error(diff)
	}
}
