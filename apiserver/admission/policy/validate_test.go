package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func check(expression, message string) []admissionv1.Validation {
	return []admissionv1.Validation{{Expression: expression, Message: message}}
}

func TestValidatingPolicies(t *testing.T) {
	const denied = `configmaps "c" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: `
	tests := map[string]struct {
		spec   admissionv1.ValidatingAdmissionPolicySpec
		bind   admissionv1.ValidatingAdmissionPolicyBindingSpec
		data   map[string]string
		want   string // "" lets it pass
		code   int32
		reason metav1.StatusReason
		warned []string
	}{
		"holds":       {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("object.data.a == 'b'", "")}, data: map[string]string{"a": "b"}},
		"does not":    {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("object.data.a == 'c'", "")}, want: denied + "failed expression: object.data.a == 'c'", code: 422, reason: "Invalid"},
		"kind is set": {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("object.kind == 'ConfigMap' && object.apiVersion == 'v1'", "")}},
		"message":     {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("false", "  never ")}, want: denied + "never", code: 422, reason: "Invalid"},
		"message expression and reason": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: []admissionv1.Validation{{
				Expression: "false", MessageExpression: "'no ' + object.metadata.name", Reason: ptr.To(metav1.StatusReasonForbidden),
			}}},
			want: denied + "no c", code: 403, reason: "Forbidden",
		},
		"a message expression of no use": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: []admissionv1.Validation{{Expression: "false", MessageExpression: "string(object.data.missing)", Message: "m"}}},
			want: denied + "m", code: 422, reason: "Invalid",
		},
		"variables": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{
				Variables: []admissionv1.Variable{
					{Name: "one", Expression: "size(object.data)"}, {Name: "two", Expression: "variables.one * 2"},
					{Name: "wrong", Expression: "object.data.nothing"},
				},
				Validations: check("variables.two == 4", "two"),
			},
			want: denied + "two", code: 422, reason: "Invalid",
		},
		"the namespace": {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("namespaceObject.metadata.labels.tier == 'gold'", "")}},
		"the request": {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check(
			"request.operation == 'CREATE' && request.resource.resource == 'configmaps' && request.userInfo.username == 'admin' && request.name == 'c' && !has(request.options.fieldManager) && request.options.kind == 'CreateOptions'", "")}},
		"the authoriser": {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check(
			"authorizer.requestResource.check('delete').allowed() && authorizer.group('').resource('pods').namespace('default').check('get').allowed()", "")}},
		"no old object": {spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("oldObject == null && params == null", "")}, want: "compile"},
		"an error refuses": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("object.data.missing == 'x'", "")},
			want: denied + "expression 'object.data.missing == 'x'' resulted in error: no such key: missing", code: 422, reason: "Invalid",
		},
		"or is ignored": {spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Ignore), Validations: check("object.data.missing == 'x'", ""),
		}},
		"conditions": {spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConditions: []admissionv1.MatchCondition{{Name: "others", Expression: "object.metadata.name != 'c'"}}, Validations: check("false", ""),
		}},
		"a condition that fails": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{
				MatchConditions: []admissionv1.MatchCondition{{Name: "broken", Expression: "object.spec.x == 1"}}, Validations: check("true", ""),
			},
			want: denied + "expression 'object.spec.x == 1' resulted in error: no such key: spec", code: 422, reason: "Invalid",
		},
		"a warning": {
			spec:   admissionv1.ValidatingAdmissionPolicySpec{Validations: check("false", "hm")},
			bind:   admissionv1.ValidatingAdmissionPolicyBindingSpec{ValidationActions: []admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}},
			warned: []string{"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': hm"},
		},
		"elsewhere": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check("false", "")},
			bind: admissionv1.ValidatingAdmissionPolicyBindingSpec{MatchResources: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "silver"}},
			}},
		},
		"too dear": {
			spec: admissionv1.ValidatingAdmissionPolicySpec{Validations: check(
				"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a+b+c+d+e+f > 0))))))", "")},
			want: denied + "expression '", code: 422, reason: "Invalid",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, said := serve(t)
			if tt.want == "compile" {
				p := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: tt.spec}
				p.Spec.MatchConstraints = match("configmaps")
				_, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(t.Context(), p, metav1.CreateOptions{})
				if err == nil || !strings.Contains(err.Error(), "undeclared reference to 'params'") {
					t.Errorf("params of a policy without paramKind: %v", err)
				}
				return
			}
			validating(t, client, tt.spec, tt.bind)
			said.take()
			data := tt.data
			if data == nil {
				data = map[string]string{"a": "b"}
			}
			_, err := create(t, client, configMap("c", data))
			if diff := cmp.Diff(tt.warned, said.take()); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var status apierrors.APIStatus
			if !errors.As(err, &status) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
			if s := status.Status(); s.Code != tt.code || s.Reason != tt.reason {
				t.Errorf("code %d reason %s, want %d %s", s.Code, s.Reason, tt.code, tt.reason)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	spec := admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind:   &admissionv1.ParamKind{APIVersion: "v1", Kind: "Secret"},
		Validations: []admissionv1.Validation{{Expression: "params == null || !(object.metadata.name in params.metadata.labels)", MessageExpression: "'not ' + params.metadata.name"}},
	}
	named := &admissionv1.ParamRef{Name: "one", ParameterNotFoundAction: deny}
	all := &admissionv1.ParamRef{Selector: &metav1.LabelSelector{}, ParameterNotFoundAction: ptr.To(admissionv1.AllowAction)}
	const denied = `configmaps "c" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: `
	secret := func(namespace, name, label string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{label: "x"}}}
	}
	tests := map[string]struct {
		ref     *admissionv1.ParamRef
		secrets []*corev1.Secret
		want    string
	}{
		"no reference":   {},
		"missing":        {ref: named, want: denied + "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"},
		"none selected":  {ref: all},
		"named, fine":    {ref: named, secrets: []*corev1.Secret{secret("default", "one", "d")}},
		"named, denied":  {ref: named, secrets: []*corev1.Secret{secret("default", "one", "c")}, want: denied + "not one"},
		"all must allow": {ref: all, secrets: []*corev1.Secret{secret("default", "one", "d"), secret("default", "two", "c")}, want: denied + "not two"},
		"elsewhere": {
			ref:     &admissionv1.ParamRef{Name: "one", Namespace: "other", ParameterNotFoundAction: deny},
			secrets: []*corev1.Secret{secret("other", "one", "c"), secret("default", "one", "d")}, want: denied + "not one",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := serve(t)
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
			if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.secrets {
				if _, err := client.CoreV1().Secrets(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			validating(t, client, spec, admissionv1.ValidatingAdmissionPolicyBindingSpec{ParamRef: tt.ref})
			_, err := create(t, client, configMap("c", nil))
			if got := text(err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPolicyChangesAndGoes(t *testing.T) {
	client, _ := serve(t)
	validating(t, client, admissionv1.ValidatingAdmissionPolicySpec{Validations: check("object.metadata.name != 'c'", "")}, admissionv1.ValidatingAdmissionPolicyBindingSpec{})
	if _, err := create(t, client, configMap("c", nil)); err == nil {
		t.Fatal("c was let in")
	}
	policies := client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	p, err := policies.Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Validations[0].Expression = "object.metadata.name != 'd'"
	if p, err = policies.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if p.Generation != 2 {
		t.Errorf("generation %d", p.Generation)
	}
	settle(t, client)
	if _, err := create(t, client, configMap("c", nil)); err != nil {
		t.Error(err)
	}
	if _, err := create(t, client, configMap("d", nil)); err == nil {
		t.Error("d was let in")
	}
	// Updates are matched too, and see what was there.
	p.Spec.Validations[0].Expression = "oldObject == null || oldObject.metadata.uid == object.metadata.uid && !has(oldObject.data)"
	if _, err = policies.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	settle(t, client)
	if _, err := client.CoreV1().ConfigMaps("default").Update(t.Context(), configMap("c", map[string]string{"a": "b"}), metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
	if err := policies.Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	settle(t, client)
	if _, err := create(t, client, configMap("d", nil)); err != nil {
		t.Error(err)
	}
}
