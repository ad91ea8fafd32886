package storage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

func TestStorageErrors(t *testing.T) {
	term := func(key string, values ...string) corev1.TopologySelectorTerm {
		return corev1.TopologySelectorTerm{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: key, Values: values}}}
	}
	node := func(id string, count int32) *storagev1.CSINode {
		return &storagev1.CSINode{Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{
			{Name: "d", NodeID: id, Allocatable: &storagev1.VolumeNodeResources{Count: &count}},
		}}}
	}
	for name, test := range map[string]struct {
		errs field.ErrorList
		want []string
	}{
		"terms that say the same, or nothing": {
			validateTopologies([]corev1.TopologySelectorTerm{term("k", "a", "b"), term("k", "b", "a"), {}}, field.NewPath("t")),
			[]string{`t[1].matchLabelExpressions: Duplicate value: ""`, `t[2].matchLabelExpressions: Duplicate value: ""`},
		},
		"a driver that changes how much it attaches": {validateNodeUpdate(node("n", 2), node("n", 1)), nil},
		"a driver of another name": {
			validateNodeUpdate(node("m", 1), node("n", 1)),
			[]string{`spec.drivers: Invalid value: {"Name":"d","NodeID":"m","TopologyKeys":null,"Allocatable":null}: field is immutable`},
		},
		"an attacher in capitals": {rules.Driver("A.io", field.NewPath("a")), nil},
		"errors of an attachment": {
			validateAttachmentStatus(&storagev1.VolumeAttachmentStatus{AttachError: &storagev1.VolumeError{ErrorCode: ptr.To(int32(-1))}}, field.NewPath("status")),
			[]string{"status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
		},
		"a class without parameters": {
			validateParameters(nil, false, field.NewPath("parameters")),
			[]string{"parameters: Required value: must contain at least one key/value pair"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, err := range test.errs {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
