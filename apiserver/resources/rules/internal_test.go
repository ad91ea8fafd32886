package rules_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

func TestInternal(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{
			name:  "fields by their Go names, nil as null, apimachinery as in the API",
			value: &appsv1.DaemonSetUpdateStrategy{Type: "X", RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: ptr.To(intstr.FromString("10%"))}},
			want:  `f: Invalid value: {"Type":"X","RollingUpdate":{"MaxUnavailable":null,"MaxSurge":"10%"}}: no`,
		},
		{
			name: "metadata among the fields, no kind",
			value: []corev1.ConfigMap{{
				TypeMeta: metav1.TypeMeta{Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "v"},
			}},
			want: `f: Invalid value: [{"name":"a","Immutable":null,"Data":{"k":"v"},"BinaryData":null}]: no`,
		},
		{name: "nothing", value: (*appsv1.DaemonSetUpdateStrategy)(nil), want: `f: Invalid value: null: no`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := field.Invalid(field.NewPath("f"), rules.Internal(c.value), "no").Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
