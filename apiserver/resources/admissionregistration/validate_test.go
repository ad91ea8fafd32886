package admissionregistration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func of(t *testing.T, plural string) *resource.Resource {
	t.Helper()
	for _, r := range Resources() {
		if r.Plural == plural {
			return r
		}
	}
	t.Fatalf("no %s", plural)
	return nil
}

// errorsOf an object after its defaults; old is nil for a new one.
func errorsOf(r *resource.Resource, obj, old runtime.Object) []string {
	r.Default(obj)
	var list errorList
	if old == nil {
		list = r.Validate(obj)
	} else {
		r.Default(old)
		list = r.ValidateChange(obj, old)
	}
	var out []string
	for _, e := range list {
		// The rest of a compiler's message is CEL's.
		text, _, _ := strings.Cut(e.Error(), "\n")
		out = append(out, text)
	}
	return out
}

func webhook(change func(*admissionv1.MutatingWebhook)) *admissionv1.MutatingWebhookConfiguration {
	h := admissionv1.MutatingWebhook{
		Name: "a.b.c", SideEffects: ptr.To(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		ClientConfig: admissionv1.WebhookClientConfig{URL: ptr.To("https://x/y")},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
	}
	if change != nil {
		change(&h)
	}
	return &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Webhooks: []admissionv1.MutatingWebhook{h}}
}

func TestWebhooks(t *testing.T) {
	tests := map[string]struct {
		change func(*admissionv1.MutatingWebhook)
		want   []string
	}{
		"fine":      {},
		"name":      {func(h *admissionv1.MutatingWebhook) { h.Name = "a" }, []string{`webhooks[0].name: Invalid value: "a": should be a domain with at least three segments separated by dots`}},
		"no client": {func(h *admissionv1.MutatingWebhook) { h.ClientConfig.URL = nil }, []string{`webhooks[0].clientConfig: Required value: exactly one of url or service is required`}},
		"plain URL": {func(h *admissionv1.MutatingWebhook) { h.ClientConfig.URL = ptr.To("http://x") }, []string{`webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]`}},
		"service": {func(h *admissionv1.MutatingWebhook) {
			h.ClientConfig = admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Name: "s", Namespace: "n", Path: ptr.To("x"), Port: ptr.To[int32](0)}}
		}, []string{
			`webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive`,
			`webhooks[0].clientConfig.service.path: Invalid value: "x": must start with a '/'`,
			`webhooks[0].clientConfig.service.path: Invalid value: "x": segment[0] may not be empty`,
		}},
		"side effects":    {func(h *admissionv1.MutatingWebhook) { h.SideEffects = nil }, []string{`webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun`}},
		"timeout":         {func(h *admissionv1.MutatingWebhook) { h.TimeoutSeconds = ptr.To[int32](31) }, []string{`webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds`}},
		"no versions":     {func(h *admissionv1.MutatingWebhook) { h.AdmissionReviewVersions = nil }, []string{`webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1`}},
		"unknown version": {func(h *admissionv1.MutatingWebhook) { h.AdmissionReviewVersions = []string{"v2"} }, []string{`webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1`}},
		"operations": {func(h *admissionv1.MutatingWebhook) {
			h.Rules[0].Operations = []admissionv1.OperationType{"*", "CREATE"}
		}, []string{`webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations`}},
		"operation":     {func(h *admissionv1.MutatingWebhook) { h.Rules[0].Operations = []admissionv1.OperationType{"X"} }, []string{`webhooks[0].rules[0].operations[0]: Unsupported value: "X": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"`}},
		"resources":     {func(h *admissionv1.MutatingWebhook) { h.Rules[0].Resources = []string{"*", "pods"} }, []string{`webhooks[0].rules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources without subresources`}},
		"sub-resources": {func(h *admissionv1.MutatingWebhook) { h.Rules[0].Resources = []string{"pods/*", "pods/exec"} }, []string{`webhooks[0].rules[0].resources[1]: Invalid value: "pods/exec": if 'pods/*' is present, must not specify pods/exec`}},
		"condition": {func(h *admissionv1.MutatingWebhook) {
			h.MatchConditions = []admissionv1.MatchCondition{{Name: "a", Expression: "1"}, {Name: "a", Expression: "params.x"}, {Name: "", Expression: " "}}
		}, []string{
			`webhooks[0].matchConditions[0].expression: Invalid value: "1": must evaluate to bool but got int`,
			`webhooks[0].matchConditions[1].expression: Invalid value: "params.x": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')`,
			`webhooks[0].matchConditions[1].name: Duplicate value: "a"`,
			`webhooks[0].matchConditions[2].expression: Required value`,
			`webhooks[0].matchConditions[2].name: Required value`,
		}},
	}
	r := of(t, "mutatingwebhookconfigurations")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, errorsOf(r, webhook(tt.change), nil)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestUpdatesForgive: what was wrong before may stay so.
func TestUpdatesForgive(t *testing.T) {
	wrong := func(h *admissionv1.MutatingWebhook) {
		h.SideEffects, h.AdmissionReviewVersions = ptr.To(admissionv1.SideEffectClassSome), []string{"v2"}
		h.MatchConditions = []admissionv1.MatchCondition{{Name: "a", Expression: "nonsense"}}
	}
	if got := errorsOf(of(t, "mutatingwebhookconfigurations"), webhook(wrong), webhook(wrong)); got != nil {
		t.Errorf("errors %q", got)
	}
}

func TestDefaults(t *testing.T) {
	c := webhook(func(h *admissionv1.MutatingWebhook) {
		h.ClientConfig = admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Name: "s", Namespace: "n"}}
	})
	of(t, "mutatingwebhookconfigurations").Default(c)
	h := c.Webhooks[0]
	want := admissionv1.MutatingWebhook{
		Name: h.Name, SideEffects: h.SideEffects, AdmissionReviewVersions: h.AdmissionReviewVersions,
		FailurePolicy: ptr.To(admissionv1.Fail), MatchPolicy: ptr.To(admissionv1.Equivalent), TimeoutSeconds: ptr.To[int32](10),
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{}, ReinvocationPolicy: ptr.To(admissionv1.NeverReinvocationPolicy),
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Name: "s", Namespace: "n", Port: ptr.To[int32](443)}},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create}, Rule: admissionv1.Rule{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: ptr.To(admissionv1.AllScopes),
		}}},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPolicies(t *testing.T) {
	rules := []admissionv1.NamedRuleWithOperations{{RuleWithOperations: webhook(nil).Webhooks[0].Rules[0]}}
	tests := map[string]struct {
		spec admissionv1.ValidatingAdmissionPolicySpec
		want []string
	}{
		"empty": {admissionv1.ValidatingAdmissionPolicySpec{}, []string{
			`spec.matchConstraints: Required value`,
			`spec.validations: Required value: validations or auditAnnotations must contain at least one item`,
			`spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item`,
		}},
		"no rules": {admissionv1.ValidatingAdmissionPolicySpec{MatchConstraints: &admissionv1.MatchResources{}, Validations: []admissionv1.Validation{{Expression: "true"}}},
			[]string{`spec.matchConstraints.resourceRules: Required value`}},
		"param kind": {admissionv1.ValidatingAdmissionPolicySpec{ParamKind: &admissionv1.ParamKind{APIVersion: "a/b/c", Kind: "x y"}, MatchConstraints: &admissionv1.MatchResources{ResourceRules: rules}, Validations: []admissionv1.Validation{{Expression: "true"}}},
			[]string{
				`spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c`,
				`spec.paramKind.kind: Invalid value: "x y": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
			}},
		"expressions": {admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: rules},
			Variables:        []admissionv1.Variable{{Name: "for", Expression: "1"}, {Name: "n", Expression: "2"}},
			Validations: []admissionv1.Validation{
				{Expression: "variables.n + 1 == 'x'", Message: "a\nb", Reason: ptr.To(metav1.StatusReason("Odd"))},
				{Expression: "variables.missing == 1", MessageExpression: "authorizer.path('/').check('get').reason()"},
			},
			AuditAnnotations: []admissionv1.AuditAnnotation{{Key: "k", ValueExpression: "1"}, {Key: "k", ValueExpression: "'v'"}},
		}, []string{
			`spec.variables[0].name: Invalid value: "for": must be a valid CEL identifier`,
			`spec.validations[0].expression: Invalid value: "variables.n + 1 == 'x'": compilation failed: ERROR: <input>:1:17: found no matching overload for '_==_' applied to '(int, string)'`,
			`spec.validations[0].message: Invalid value: "a\nb": message must not contain line breaks`,
			`spec.validations[0].reason: Unsupported value: "Odd": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"`,
			`spec.validations[1].expression: Invalid value: "variables.missing == 1": compilation failed: ERROR: <input>:1:10: undefined field 'missing'`,
			`spec.validations[1].messageExpression: Invalid value: "authorizer.path('/').check('get').reason()": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')`,
			`spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null_type] but got int`,
			`spec.auditAnnotations[1].key: Duplicate value: "k"`,
		}},
	}
	r := of(t, "validatingadmissionpolicies")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: tt.spec}
			if diff := cmp.Diff(tt.want, errorsOf(r, p, nil)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestMutatingPolicies(t *testing.T) {
	rules := []admissionv1.NamedRuleWithOperations{{RuleWithOperations: webhook(nil).Webhooks[0].Rules[0]}}
	rules[0].Operations = []admissionv1.OperationType{admissionv1.Delete}
	p := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: admissionv1.MutatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: rules},
		Mutations: []admissionv1.Mutation{
			{PatchType: "Odd"}, {PatchType: admissionv1.PatchTypeJSONPatch},
			{PatchType: admissionv1.PatchTypeApplyConfiguration, ApplyConfiguration: &admissionv1.ApplyConfiguration{Expression: "1"}},
			{PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: `[JSONPatch{op: "add", path: "/a", value: "b"}]`}},
		},
	}}
	want := []string{
		`spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"`,
		`spec.mutations[0].patchType: Unsupported value: "Odd": supported values: "ApplyConfiguration", "JSONPatch"`,
		`spec.mutations[1].jsonPatch: Required value: must be specified when patchType is JSONPatch`,
		`spec.mutations[2].applyConfiguration.expression: Invalid value: "1": must evaluate to Object but got int`,
		`spec.reinvocationPolicy: Required value`,
	}
	if diff := cmp.Diff(want, errorsOf(of(t, "mutatingadmissionpolicies"), p, nil)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBindings(t *testing.T) {
	b := &admissionv1.ValidatingAdmissionPolicyBinding{Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		ParamRef: &admissionv1.ParamRef{Name: "a/b", Selector: &metav1.LabelSelector{}}, ValidationActions: []admissionv1.ValidationAction{"Deny", "Warn", "Odd"},
	}}
	want := []string{
		`spec.policyName: Required value`,
		`spec.paramRef.name: Invalid value: "a/b": may not contain '/'`,
		`spec.paramRef.name: Forbidden: name and selector are mutually exclusive`,
		`spec.paramRef.selector: Forbidden: name and selector are mutually exclusive`,
		`spec.paramRef.parameterNotFoundAction: Required value`,
		`spec.validationActions[2]: Unsupported value: "Odd": supported values: "Audit", "Deny", "Warn"`,
		`spec.validationActions: Invalid value: ["Deny","Warn","Odd"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)`,
	}
	if diff := cmp.Diff(want, errorsOf(of(t, "validatingadmissionpolicybindings"), b, nil)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
