package policy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

func apply(expression string) []admissionv1.Mutation {
	return []admissionv1.Mutation{{PatchType: admissionv1.PatchTypeApplyConfiguration, ApplyConfiguration: &admissionv1.ApplyConfiguration{Expression: expression}}}
}

func patch(expression string) []admissionv1.Mutation {
	return []admissionv1.Mutation{{PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: expression}}}
}

func TestMutatingPolicies(t *testing.T) {
	const denied = "policy 'p' with binding 'p' denied request: "
	tests := map[string]struct {
		spec admissionv1.MutatingAdmissionPolicySpec
		want map[string]string // the labels then
		err  string
	}{
		"apply": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: apply(`Object{metadata: Object.metadata{labels: {"a": object.metadata.name}}}`)},
			want: map[string]string{"was": "there", "a": "c"},
		},
		"patch": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: patch(`[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("x/y"), value: "z"}, JSONPatch{op: "remove", path: "/metadata/labels/was"}]`)},
			want: map[string]string{"x/y": "z"},
		},
		"a test that fails does nothing": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: patch(`[JSONPatch{op: "test", path: "/metadata/labels/was", value: "elsewhere"}, JSONPatch{op: "remove", path: "/metadata/labels/was"}]`)},
			want: map[string]string{"was": "there"},
		},
		"one after another": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: append(
				apply(`Object{metadata: Object.metadata{labels: {"a": "b"}}}`),
				patch(`[JSONPatch{op: "replace", path: "/metadata/labels/a", value: object.metadata.labels.a + "2"}]`)...)},
			want: map[string]string{"was": "there", "a": "b2"},
		},
		"variables and conditions": {
			spec: admissionv1.MutatingAdmissionPolicySpec{
				Variables:       []admissionv1.Variable{{Name: "tier", Expression: "namespaceObject.metadata.labels.tier"}},
				MatchConditions: []admissionv1.MatchCondition{{Name: "c", Expression: "object.metadata.name == 'c'"}},
				Mutations:       apply(`Object{metadata: Object.metadata{labels: {"tier": variables.tier}}}`),
			},
			want: map[string]string{"was": "there", "tier": "gold"},
		},
		"conditions that do not hold": {
			spec: admissionv1.MutatingAdmissionPolicySpec{
				MatchConditions: []admissionv1.MatchCondition{{Name: "d", Expression: "object.metadata.name == 'd'"}},
				Mutations:       apply(`Object{metadata: Object.metadata{labels: {"a": "b"}}}`),
			},
			want: map[string]string{"was": "there"},
		},
		"an error refuses": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: apply(`Object{metadata: Object.metadata{labels: {"a": object.data.missing}}}`)},
			err:  denied + "expression 'Object{metadata: Object.metadata{labels: {\"a\": object.data.missing}}}' resulted in error: no such key: data",
		},
		"or is ignored": {
			spec: admissionv1.MutatingAdmissionPolicySpec{
				FailurePolicy: ptr.To(admissionv1.Ignore), Mutations: apply(`Object{metadata: Object.metadata{labels: {"a": object.data.missing}}}`),
			},
			want: map[string]string{"was": "there"},
		},
		"a patch that does not apply": {
			spec: admissionv1.MutatingAdmissionPolicySpec{Mutations: patch(`[JSONPatch{op: "remove", path: "/spec"}]`)},
			err:  denied + "JSON Patch: ",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := serve(t)
			mutating(t, client, "p", tt.spec, admissionv1.MutatingAdmissionPolicyBindingSpec{})
			cm := configMap("c", nil)
			cm.Labels = map[string]string{"was": "there"}
			got, err := create(t, client, cm)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Labels); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestAppliedConfigurations: lists of named things merge, and defaults fill what they
// bring.
func TestAppliedConfigurations(t *testing.T) {
	client, _ := serve(t)
	constraints := match("deployments")
	constraints.ResourceRules[0].APIGroups = []string{"apps"}
	mutating(t, client, "p", admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: constraints, Mutations: apply(
		`Object{spec: Object.spec{replicas: 3, template: Object.spec.template{spec: Object.spec.template.spec{
			initContainers: [Object.spec.template.spec.initContainers{name: "mesh", image: "mesh:1", restartPolicy: "Always"}]}}}}`)},
		admissionv1.MutatingAdmissionPolicyBindingSpec{})
	labels := map[string]string{"app": "d"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i"}}, InitContainers: []corev1.Container{{Name: "first", Image: "i"}},
		}},
	}}
	got, err := client.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range got.Spec.Template.Spec.InitContainers {
		names = append(names, c.Name+" "+string(c.ImagePullPolicy))
	}
	if diff := cmp.Diff([]string{"first Always", "mesh IfNotPresent"}, names); diff != "" || *got.Spec.Replicas != 3 {
		t.Errorf("replicas %d, (-want +got)\n%s", *got.Spec.Replicas, diff)
	}
}

func TestAtomicFieldsAreNotApplied(t *testing.T) {
	client, _ := serve(t)
	mutating(t, client, "p", admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: match("services"), Mutations: apply(
		`Object{spec: Object.spec{selector: {"a": "b"}}}`)}, admissionv1.MutatingAdmissionPolicyBindingSpec{})
	_, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	const want = "policy 'p' with binding 'p' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector"
	if text(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// late is a plugin after the policies; it adds to the trail once.
type late struct{}

func (late) Name() string { return "late" }

func (late) Admit(_ context.Context, a *admission.Attributes) error {
	if cm, ok := a.Object.(*corev1.ConfigMap); ok && !a.Reinvoked() {
		cm.Data["trail"] += "L"
		a.Reinvoke()
	}
	return nil
}

func TestReinvocation(t *testing.T) {
	client, _ := serve(t, late{})
	step := func(letter string) []admissionv1.Mutation {
		return patch(`[JSONPatch{op: "replace", path: "/data/trail", value: object.data.trail + "` + letter + `"}]`)
	}
	once, again := admissionv1.NeverReinvocationPolicy, admissionv1.IfNeededReinvocationPolicy
	mutating(t, client, "a", admissionv1.MutatingAdmissionPolicySpec{Mutations: step("a"), ReinvocationPolicy: again}, admissionv1.MutatingAdmissionPolicyBindingSpec{})
	mutating(t, client, "b", admissionv1.MutatingAdmissionPolicySpec{Mutations: step("b"), ReinvocationPolicy: once}, admissionv1.MutatingAdmissionPolicyBindingSpec{})
	got, err := create(t, client, configMap("c", map[string]string{"trail": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Data["trail"] != "abLa" {
		t.Errorf("trail %q", got.Data["trail"])
	}
}

// TestMutationsWithParameters: they come from the object's own namespace.
func TestMutationsWithParameters(t *testing.T) {
	client, _ := serve(t)
	if _, err := create(t, client, configMap("settings", map[string]string{"colour": "red"})); err != nil {
		t.Fatal(err)
	}
	mutating(t, client, "p", admissionv1.MutatingAdmissionPolicySpec{
		MatchConstraints: match("secrets"), ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
		Mutations: apply(`Object{metadata: Object.metadata{annotations: params.data}}`),
	}, admissionv1.MutatingAdmissionPolicyBindingSpec{ParamRef: &admissionv1.ParamRef{Name: "settings", ParameterNotFoundAction: deny}})
	got, err := client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Annotations["colour"] != "red" {
		t.Errorf("annotations %v", got.Annotations)
	}
}
