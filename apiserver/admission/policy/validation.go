package policy

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/strake-io/strake/apiserver/admission/celexpr"
)

// validation is a compiled ValidatingAdmissionPolicy.
type validation struct {
	compiler    *celexpr.Compiler
	conditions  *celexpr.Conditions
	checks      []check
	annotations []annotation
}

type check struct {
	expression *celexpr.Expression
	// sentence makes the message; nil where it is fixed.
	sentence *celexpr.Expression
	message  string
	reason   metav1.StatusReason
}

type annotation struct {
	key   string
	value *celexpr.Expression
}

func readValidation(obj runtime.Object) (definition[validation], bool) {
	p, ok := obj.(*admissionv1.ValidatingAdmissionPolicy)
	if !ok {
		return definition[validation]{}, false
	}
	s := &p.Spec
	return newDefinition(&p.ObjectMeta, s.FailurePolicy, s.ParamKind, s.MatchConstraints, func() *validation { return compileValidation(s) }), true
}

func readValidationBinding(obj runtime.Object) (*binding, bool) {
	b, ok := obj.(*admissionv1.ValidatingAdmissionPolicyBinding)
	if !ok {
		return nil, false
	}
	out := newBinding(b.Name, b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
	out.actions = b.Spec.ValidationActions
	return out, true
}

// declare compiles the variables that all policies may have.
func declare(variables []admissionv1.Variable, d celexpr.Declares) *celexpr.Compiler {
	c := &celexpr.Compiler{}
	if len(variables) > 0 {
		c.WithVariables()
	}
	for _, v := range variables {
		c.Variable(v.Name, v.Expression, d, celexpr.Stored)
	}
	return c
}

func compileValidation(s *admissionv1.ValidatingAdmissionPolicySpec) *validation {
	d := celexpr.Declares{Params: s.ParamKind != nil, Authorizer: true}
	c := declare(s.Variables, d)
	v := &validation{compiler: c, conditions: c.Conditions(s.MatchConditions, d, celexpr.Stored)}
	for i := range s.Validations {
		of := &s.Validations[i]
		one := check{
			expression: c.Compile(of.Expression, d, celexpr.Stored, cel.BoolType),
			message:    strings.TrimSpace(of.Message), reason: metav1.StatusReasonInvalid,
		}
		if of.MessageExpression != "" {
			one.sentence = c.Compile(of.MessageExpression, celexpr.Declares{Params: d.Params}, celexpr.Stored, cel.StringType)
		}
		if of.Reason != nil {
			one.reason = *of.Reason
		}
		if one.message == "" {
			one.message = "failed expression: " + strings.TrimSpace(of.Expression)
		}
		v.checks = append(v.checks, one)
	}
	for _, a := range s.AuditAnnotations {
		v.annotations = append(v.annotations, annotation{a.Key, c.Compile(a.ValueExpression, d, celexpr.Stored, cel.StringType, cel.NullType)})
	}
	return v
}

// failure is a check that did not hold, or could not be made.
type failure struct {
	// index of the check in the policy.
	index   int
	message string
	reason  metav1.StatusReason
	// broken: an error, which the failure policy may let pass.
	broken bool
	// annotation: of an audit annotation, which no action of the binding softens.
	annotation bool
}

// evaluate makes the checks. publish takes the audit annotations.
func (v *validation) evaluate(ctx context.Context, in celexpr.Input, publish func(key, value string)) []failure {
	broken := func(err error) []failure { return []failure{{message: err.Error(), broken: true}} }
	namespace := in.Namespace
	matched, err := conditions(ctx, v.compiler, v.conditions, in)
	if err != nil {
		return broken(err)
	}
	if !matched {
		return nil
	}
	in.Namespace = namespace
	evaluator, err := v.compiler.Evaluate(ctx, in)
	if err != nil {
		return broken(err)
	}
	var failures []failure
	budget := celexpr.Budget(celexpr.PolicyBudget)
	for i := range v.checks {
		c := &v.checks[i]
		result, wrong, err := evaluator.Eval(c.expression, &budget)
		switch {
		case err != nil:
			// The budget is spent: nothing that was found before counts.
			return broken(err)
		case wrong != nil:
			failures = append(failures, failure{index: i, message: wrong.Error(), broken: true})
		case result != types.True:
			message, err := c.explain(evaluator, &budget)
			if err != nil {
				failures = append(failures, failure{index: i, message: fmt.Sprintf("failed messageExpression: %s", err), broken: true})
				continue
			}
			failures = append(failures, failure{index: i, message: message, reason: c.reason})
		}
	}
	return append(failures, v.annotate(evaluator, publish)...)
}

// explain is the message of a check that did not hold. An expression that makes none
// of use gives way to the fixed message.
func (c *check) explain(evaluator *celexpr.Evaluator, budget *celexpr.Budget) (string, error) {
	if c.sentence == nil {
		return c.message, nil
	}
	result, wrong, err := evaluator.Eval(c.sentence, budget)
	if err != nil {
		return "", err
	}
	if wrong != nil {
		return c.message, nil
	}
	text, _ := result.Value().(string)
	text = strings.TrimSpace(text)
	if text == "" || len(text) > celconfig.MaxEvaluatedMessageExpressionSizeBytes || strings.Contains(text, "\n") {
		return c.message, nil
	}
	return text, nil
}

const maxAnnotationValue = 10 << 10

func (v *validation) annotate(evaluator *celexpr.Evaluator, publish func(key, value string)) []failure {
	var failures []failure
	budget := celexpr.Budget(celexpr.PolicyBudget)
	for _, a := range v.annotations {
		result, wrong, err := evaluator.Eval(a.value, &budget)
		if err != nil {
			return []failure{{message: err.Error(), broken: true}}
		}
		if wrong != nil {
			failures = append(failures, failure{message: wrong.Error(), broken: true, annotation: true})
			continue
		}
		text, _ := result.Value().(string)
		if text = strings.TrimSpace(text); text != "" {
			publish(a.key, text[:min(len(text), maxAnnotationValue)])
		}
	}
	return failures
}
