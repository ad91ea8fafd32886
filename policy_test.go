package strake

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The status of a policy says which mistakes its expressions have, by the schemas that
// the server publishes.
func TestPolicyStatusInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{})
		defer stop()
		policies := c.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies()
		_, err := policies.Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "p"},
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
				MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{"*"},
					Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments", "replicasets"}},
				}}}},
				Validations: []admissionv1.Validation{
					{Expression: "object.spec.replicas > 1 && object.spec.template.spec.containers.all(c, c.image != '' && c.ports.all(p, p.containerPort > 1))"},
					{Expression: "object.spec.strategy.type == 'Recreate'"},
					{Expression: "params.data['a'] == 'b'", MessageExpression: "string(params.datum)"},
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p, err := policies.Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		const datum = "ERROR: <input>:1:14: undefined field 'datum'\n | string(params.datum)\n | .............^\n"
		want := admissionv1.ValidatingAdmissionPolicyStatus{ObservedGeneration: 1, TypeChecking: &admissionv1.TypeChecking{ExpressionWarnings: []admissionv1.ExpressionWarning{
			{FieldRef: "spec.validations[1].expression", Warning: "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'\n | object.spec.strategy.type == 'Recreate'\n | ...........^\n"},
			{FieldRef: "spec.validations[2].messageExpression", Warning: "apps/v1, Kind=Deployment: " + datum + "\n" + "apps/v1, Kind=ReplicaSet: " + datum},
		}}}
		if d := cmp.Diff(want, p.Status); d != "" {
			t.Error(d)
		}
		if !slices.ContainsFunc(p.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
			return m.Manager == "validatingadmissionpolicy-status" && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "status"
		}) {
			t.Errorf("managed by %+v", p.ManagedFields)
		}
	})
}
