package policy

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
)

// mutation is a compiled MutatingAdmissionPolicy.
type mutation struct {
	compiler   *celexpr.Compiler
	conditions *celexpr.Conditions
	changes    []change
	// again: it may run a second time, when others have changed the object after it.
	again bool
}

// change is one of the mutations of a policy.
type change struct {
	expression *celexpr.Expression
	// apply: it evaluates to an apply configuration, not to JSON patch operations.
	apply bool
}

func readMutation(obj runtime.Object) (definition[mutation], bool) {
	p, ok := obj.(*admissionv1.MutatingAdmissionPolicy)
	if !ok {
		return definition[mutation]{}, false
	}
	s := &p.Spec
	return newDefinition(&p.ObjectMeta, s.FailurePolicy, s.ParamKind, s.MatchConstraints, func() *mutation { return compileMutation(s) }), true
}

func readMutationBinding(obj runtime.Object) (*binding, bool) {
	b, ok := obj.(*admissionv1.MutatingAdmissionPolicyBinding)
	if !ok {
		return nil, false
	}
	return newBinding(b.Name, b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources), true
}

func compileMutation(s *admissionv1.MutatingAdmissionPolicySpec) *mutation {
	d := celexpr.Declares{Params: s.ParamKind != nil, Authorizer: true}
	c := declare(s.Variables, d)
	m := &mutation{
		compiler: c, conditions: c.Conditions(s.MatchConditions, d, celexpr.Stored),
		again: s.ReinvocationPolicy == admissionv1.IfNeededReinvocationPolicy,
	}
	d.Patches = true
	for i := range s.Mutations {
		of := &s.Mutations[i]
		switch {
		case of.PatchType == admissionv1.PatchTypeApplyConfiguration && of.ApplyConfiguration != nil:
			m.changes = append(m.changes, m.compile(of.ApplyConfiguration.Expression, d, true, celexpr.ObjectType))
		case of.PatchType == admissionv1.PatchTypeJSONPatch && of.JSONPatch != nil:
			m.changes = append(m.changes, m.compile(of.JSONPatch.Expression, d, false, celexpr.PatchesType))
		}
	}
	return m
}

func (m *mutation) compile(text string, d celexpr.Declares, apply bool, returns *cel.Type) change {
	return change{m.compiler.Compile(text, d, celexpr.Stored, returns), apply}
}

// make is what one change makes of an object of a kind, which it leaves as it is: an
// object with defaults and without TypeMeta. in.Object is that object with its kind
// set.
func (c *change) make(ctx context.Context, catalog admission.Catalog, compiler *celexpr.Compiler, in celexpr.Input, kind schema.GroupVersionKind) (runtime.Object, error) {
	if c.expression.Err != nil {
		return nil, c.expression.Err
	}
	in.Plain = true
	evaluator, err := compiler.Evaluate(ctx, in)
	if err != nil {
		return nil, err
	}
	budget := celexpr.Budget(celexpr.PolicyBudget)
	result, wrong, err := evaluator.Eval(c.expression, &budget)
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		return nil, wrong
	}
	var data []byte
	if c.apply {
		schema, err := catalog.Schema(kind)
		if err != nil {
			return nil, apierrors.NewServiceUnavailable(fmt.Sprintf(
				"Resource kind %s not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.", kind))
		}
		data, err = applied(schema, in.Object, kind, result)
		if err != nil {
			return nil, err
		}
	} else if data, err = patched(in.Object, result); err != nil {
		return nil, err
	}
	if data == nil {
		return in.Object, nil
	}
	return catalog.Decode(kind, data)
}
