package validatingadmissionpolicystatus

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// things is a document with what documents have: references, some of them wrapped, and
// a schema that refers to itself.
func things() document {
	object := func(props map[string]spec.Schema) *spec.Schema {
		return &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, Properties: props}}
	}
	ref := func(name string) spec.Schema { return *spec.RefSchema(references + name) }
	list := spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"array"}, Items: &spec.SchemaOrArray{Schema: ptr(ref("Node"))}}}
	byName := spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, AdditionalProperties: &spec.SchemaOrBool{Allows: true, Schema: ptr(ref("Node"))}}}
	thing := object(map[string]spec.Schema{
		"spec": {SchemaProps: spec.SchemaProps{Description: "wrapped", AllOf: []spec.Schema{ref("Spec")}}},
	})
	thing.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": "example.com", "version": "v1", "kind": "Thing"}})
	broken := object(map[string]spec.Schema{"spec": ref("Nowhere")})
	broken.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": "example.com", "version": "v1", "kind": "Broken"}})
	return document{
		"Thing": thing, "Broken": broken,
		"Spec": object(map[string]spec.Schema{"size": *spec.Int64Property(), "name": *spec.StringProperty(), "nodes": list, "byName": byName}),
		"Node": object(map[string]spec.Schema{"label": *spec.StringProperty(), "next": ref("Node")}),
	}
}

func ptr[T any](v T) *T { return &v }

func kind(name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: name}
}

func TestSchema(t *testing.T) {
	s, err := things().of(kind("Thing"))
	if err != nil {
		t.Fatal(err)
	}
	node := s.Properties["spec"].Properties["nodes"].Items.Schema
	if next := node.Properties["next"]; node.Properties["label"].Type[0] != "string" || next.Type[0] != "object" || next.Properties != nil {
		t.Errorf("a node is %+v", node)
	}
	for _, name := range []string{"Broken", "Other"} {
		if _, err := things().of(kind(name)); !errors.Is(err, errNoSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Each refers to the next one ten times.
	bomb := document{}
	for i := range 10 {
		s := &spec.Schema{SchemaProps: spec.SchemaProps{Properties: map[string]spec.Schema{}}}
		for j := range 10 {
			s.Properties[fmt.Sprint(j)] = *spec.RefSchema(references + fmt.Sprint(i+1))
		}
		bomb[fmt.Sprint(i)] = s
	}
	bomb["10"] = spec.StringProperty()
	left := maxSchema
	if _, err := bomb.expand(bomb["0"], nil, &left); !errors.Is(err, errTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
}

func TestCheck(t *testing.T) {
	s, err := things().of(kind("Thing"))
	if err != nil {
		t.Fatal(err)
	}
	thing, unknown := Typed{Kind: kind("Thing"), Schema: s}, Typed{Kind: kind("Unknown")}
	const noField = "example.com/v1, Kind=Thing: ERROR: <input>:1:12: undefined field 'sise'\n | object.spec.sise > 1\n | ...........^\n"
	for name, test := range map[string]struct {
		kinds      []Typed
		params     *Typed
		variables  []admissionv1.Variable
		expression string
		message    string
		want       []admissionv1.ExpressionWarning
	}{
		"all is well":          {kinds: []Typed{thing}, expression: "object.spec.size > 1 && oldObject.spec.nodes.all(n, n.label != '')", message: "'size ' + string(object.spec.size)"},
		"nothing is known":     {kinds: []Typed{unknown}, expression: "object.spec.sise > 1"},
		"no kinds":             {expression: "object.spec.sise > 1"},
		"no such field":        {kinds: []Typed{thing, unknown}, expression: "object.spec.sise > 1", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: noField}}},
		"of two kinds":         {kinds: []Typed{thing, thing}, expression: "object.spec.sise > 1", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: noField + "\n" + noField}}},
		"in the message":       {kinds: []Typed{thing}, expression: "true", message: "object.spec.name + 1", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].messageExpression", Warning: "found no matching overload for '_+_' applied to '(string, int)'"}}},
		"everything there is":  {kinds: []Typed{thing}, expression: "request.userInfo.username == 'x' && namespaceObject.metadata.name == 'x' && authorizer.group('').resource('pods').check('get').allowed()"},
		"no request":           {kinds: []Typed{thing}, expression: "request.nothing == 'x'", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: "undefined field 'nothing'"}}},
		"params":               {kinds: []Typed{unknown}, params: &thing, expression: "params.spec.sise == 1", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: "example.com/v1, Kind=Unknown: ERROR: <input>:1:12: undefined field 'sise'"}}},
		"params of any kind":   {kinds: []Typed{thing}, params: &unknown, expression: "params.spec.sise == 1"},
		"both of one kind":     {kinds: []Typed{thing}, params: &thing, expression: "params.spec.size == object.spec.size"},
		"no params":            {kinds: []Typed{thing}, expression: "params.x", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: "undeclared reference to 'params'"}}},
		"variables":            {kinds: []Typed{thing}, variables: []admissionv1.Variable{{Name: "size", Expression: "object.spec.size"}, {Name: "big", Expression: "variables.size > 9"}}, expression: "variables.big"},
		"a variable's type":    {kinds: []Typed{thing}, variables: []admissionv1.Variable{{Name: "size", Expression: "object.spec.size"}}, expression: "variables.size == 'x'", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: "found no matching overload for '_==_' applied to '(int, string)'"}}},
		"a mistaken variable":  {kinds: []Typed{thing}, variables: []admissionv1.Variable{{Name: "size", Expression: "object.spec.sise"}}, expression: "variables.size == 'x'"},
		"a variable not there": {kinds: []Typed{thing}, expression: "variables.size == 1", want: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression", Warning: "undefined field 'size'"}}},
	} {
		got := Check(View{Kinds: test.kinds, Params: test.params, Policy: &admissionv1.ValidatingAdmissionPolicy{Spec: admissionv1.ValidatingAdmissionPolicySpec{
			Variables: test.variables, Validations: []admissionv1.Validation{{Expression: test.expression, MessageExpression: test.message}},
		}}})
		same := len(got) == len(test.want)
		for i := range got {
			same = same && got[i].FieldRef == test.want[i].FieldRef && strings.Contains(got[i].Warning, test.want[i].Warning)
		}
		if !same {
			t.Errorf("%s: %s", name, cmp.Diff(test.want, got))
		}
	}
}

func TestKinds(t *testing.T) {
	rule := func(groups, versions, resources string) admissionv1.NamedRuleWithOperations {
		return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{Rule: admissionv1.Rule{
			APIGroups: strings.Split(groups, ","), APIVersions: strings.Split(versions, ","), Resources: strings.Split(resources, ","),
		}}}
	}
	for _, test := range []struct {
		rules []admissionv1.NamedRuleWithOperations
		want  string
	}{
		{},
		{rules: []admissionv1.NamedRuleWithOperations{rule("g", "v2,v1", "b,a,a/status,*,*/*")}, want: "g/v1 a, g/v1 b, g/v2 a, g/v2 b"},
		{rules: []admissionv1.NamedRuleWithOperations{rule("*", "v1", "a"), rule("g", "*", "a"), rule("h,g", "v1", "none,a"), rule("g", "v1", "a")}, want: "g/v1 a, h/v1 a"},
		{rules: []admissionv1.NamedRuleWithOperations{rule("g", "v1", "l,k,j,i,h,g,f,e,d,c,b,a"), rule("h", "v1", "a")}, want: "g/v1 a, g/v1 b, g/v1 c, g/v1 d, g/v1 e, g/v1 f, g/v1 g, g/v1 h, g/v1 i, g/v1 j"},
	} {
		policy := &admissionv1.ValidatingAdmissionPolicy{Spec: admissionv1.ValidatingAdmissionPolicySpec{MatchConstraints: &admissionv1.MatchResources{ResourceRules: test.rules}}}
		var got []string
		for _, k := range Kinds(policy, func(of schema.GroupVersionResource) []schema.GroupVersionKind {
			if of.Resource == "none" {
				return nil
			}
			return []schema.GroupVersionKind{of.GroupVersion().WithKind(of.Resource)}
		}) {
			got = append(got, k.GroupVersion().String()+" "+k.Kind)
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
