package validatingadmissionpolicystatus

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/internal/celtypes"
)

// Typed is a kind with what is known of its fields.
type Typed struct {
	Kind schema.GroupVersionKind
	// Schema refers to no other; nil makes the kind one of which nothing is known.
	Schema *spec.Schema
}

// View is what there is to see of a policy.
type View struct {
	Policy *admissionv1.ValidatingAdmissionPolicy
	// Kinds are those that it is about, as far as their schemas are known; Params
	// the kind of its parameters, nil where it has none.
	Kinds  []Typed
	Params *Typed
}

// Check finds mistakes in the validations of a policy and their messages that only
// show when the fields of the objects are known: fields that are not there, operators
// that do not fit. Other expressions, and variables by themselves, are not looked at.
func Check(v View) []admissionv1.ExpressionWarning {
	var checkers []*checker
	for _, kind := range v.Kinds {
		// A kind that no environment can be made for is none that anything is known of.
		if c, err := newChecker(kind, v.Params); err == nil {
			c.declare(v.Policy.Spec.Variables)
			checkers = append(checkers, c)
		}
	}
	var warnings []admissionv1.ExpressionWarning
	check := func(text string, at *field.Path) {
		var found []string
		for _, c := range checkers {
			if _, mistake := c.compile(text); mistake != "" {
				found = append(found, mistake)
			}
		}
		if len(found) > 0 {
			warnings = append(warnings, admissionv1.ExpressionWarning{FieldRef: at.String(), Warning: strings.Join(found, "\n")})
		}
	}
	validations := field.NewPath("spec", "validations")
	for i, one := range v.Policy.Spec.Validations {
		check(one.Expression, validations.Index(i).Child("expression"))
		if one.MessageExpression != "" {
			check(one.MessageExpression, validations.Index(i).Child("messageExpression"))
		}
	}
	return warnings
}

// checker compiles expressions about objects of one kind.
type checker struct {
	kind schema.GroupVersionKind
	set  *environment.EnvSet
	// variables are the fields of the object of that name; they grow.
	variables map[string]*apiservercel.DeclField
}

// newChecker declares what upstream's check does: authorizer, but nothing below it.
func newChecker(kind Typed, params *Typed) (*checker, error) {
	c := &checker{kind: kind.Kind, variables: map[string]*apiservercel.DeclField{}}
	request, namespace := celtypes.Request(), celtypes.Namespace()
	variables := apiservercel.NewObjectType("kubernetes.variables", c.variables)
	types := []*apiservercel.DeclType{namespace, request, variables}
	of := func(t *Typed, name string) *cel.Type {
		d := declared(t, name)
		if d == nil {
			return cel.DynType
		}
		types = append(types, d)
		return d.CelType()
	}
	object := of(&kind, kind.Kind.Kind+"0")
	options := []cel.EnvOption{
		cel.Variable("namespaceObject", namespace.CelType()), cel.Variable("request", request.CelType()),
		cel.Variable("object", object), cel.Variable("oldObject", object),
		cel.Variable("variables", variables.CelType()), cel.Variable("authorizer", library.AuthorizerType),
	}
	if params != nil {
		options = append(options, cel.Variable("params", of(params, params.Kind.Kind+"1")))
	}
	var err error
	c.set, err = environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: options, DeclTypes: types,
	})
	return c, err
}

func declared(t *Typed, name string) *apiservercel.DeclType {
	if t.Schema == nil {
		return nil
	}
	d := common.SchemaDeclType(&openapi.Schema{Schema: t.Schema}, true)
	if d == nil {
		return nil
	}
	return d.MaybeAssignTypeName(name)
}

// declare adds the variables, in the order in which they may use each other. One with
// a mistake is of any type.
func (c *checker) declare(variables []admissionv1.Variable) {
	for _, v := range variables {
		t, _ := c.compile(v.Expression)
		c.variables[v.Name] = apiservercel.NewDeclField(v.Name, celtypes.Declared(t), true, nil, nil)
	}
}

// compile gives the type of an expression, or says what is wrong with it.
func (c *checker) compile(text string) (*cel.Type, string) {
	env, err := c.set.Env(environment.StoredExpressions)
	if err != nil {
		return nil, fmt.Sprintf("%v: type checking error: fail to build env: %v\n", c.kind, err)
	}
	ast, issues := env.Compile(text)
	if issues != nil {
		return nil, fmt.Sprintf("%v: %s\n", c.kind, issues)
	}
	return ast.OutputType(), ""
}
