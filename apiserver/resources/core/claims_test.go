package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestValidateClaimStatus(t *testing.T) {
	s := &corev1.PersistentVolumeClaimStatus{
		Capacity: corev1.ResourceList{"storage": resource.MustParse("-1")},
		AllocatedResourceStatuses: map[corev1.ResourceName]corev1.ClaimResourceStatus{
			"storage": "NodeResizePending", "cpu": "NodeResizePending", "example.com/x": "Soon",
		},
		AllocatedResources: corev1.ResourceList{"storage": resource.MustParse("1Gi"), "example.com/x": resource.MustParse("-2"), "a b": {}},
	}
	want := []string{
		`status.capacity[storage]: Invalid value: -1: must be a valid resource quantity`,
		`status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"`,
		`status.allocatedResourceStatuses: Unsupported value: "example.com/x": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"`,
		`status.allocatedResources: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		`status.allocatedResources[example.com/x]: Invalid value: "-2": must be greater than or equal to 0`,
	}
	if diff := cmp.Diff(want, lines(validateClaimStatus(s, field.NewPath("status")))); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsThatStay(t *testing.T) {
	r := endpoints()
	old := &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "010.0.0.1"}}}}}
	if errs := r.ValidateChange(old.DeepCopy(), old); len(errs) > 0 {
		t.Error(errs)
	}
	if diff := cmp.Diff([]string{`subsets[0].addresses[0].ip: Invalid value: "010.0.0.1": must not have leading 0s`}, lines(r.Validate(old))); diff != "" {
		t.Error(diff)
	}
}
