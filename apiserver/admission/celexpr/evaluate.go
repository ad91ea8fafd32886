package celexpr

import (
	"context"
	"fmt"
	"math"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/lazy"
	"k8s.io/apiserver/pkg/cel/library"
)

// Input is what expressions see of one request. Nothing in it is changed.
type Input struct {
	// Object and Old with their kind set; nil where there is none.
	Object, Old runtime.Object
	Request     *admissionv1.AdmissionRequest
	// Namespace of the object; nil for what is in none.
	Namespace *corev1.Namespace
	// Params is null where it is nil.
	Params runtime.Object
	// Authorizer answers the checks of the expression, about User and Resource; nil
	// where no expression declares it.
	Authorizer authorizer.UnconditionalAuthorizer
	User       user.Info
	Resource   library.Resource
	// Plain lets values be taken apart into plain maps and lists, as the results of
	// mutations must be.
	Plain bool
}

// Budget is what is left to spend; it goes down with each evaluation.
type Budget int64

// Evaluator evaluates expressions of one compiler for one input. It is used by one
// goroutine at a time.
type Evaluator struct {
	compiler  *Compiler
	ctx       context.Context
	values    map[string]ref.Val
	variables *lazy.MapValue
	// spent by variables that an evaluation has asked for.
	spent int64
}

// Evaluate prepares the evaluation of expressions that c has compiled. Its variables
// are evaluated when an expression first asks for them.
func (c *Compiler) Evaluate(ctx context.Context, in Input) (*Evaluator, error) {
	object, err := value(in.Object, in.Plain)
	if err != nil {
		return nil, fmt.Errorf("failed to prepare object variable for evaluation: %w", err)
	}
	old, err := value(in.Old, in.Plain)
	if err != nil {
		return nil, fmt.Errorf("failed to prepare oldObject variable for evaluation: %w", err)
	}
	e := &Evaluator{compiler: c, ctx: ctx, values: map[string]ref.Val{
		objectName: object, oldObjectName: old, paramsName: types.NullValue,
		requestName: common.SchemalessTypedToVal(in.Request), namespaceName: common.SchemalessTypedToVal(in.Namespace),
	}}
	if in.Params != nil {
		// Parameters are shared with everyone: their values are never written to.
		e.values[paramsName] = common.SchemalessTypedToVal(in.Params)
		if u, ok := in.Params.(*unstructured.Unstructured); ok {
			e.values[paramsName] = types.DefaultTypeAdapter.NativeToValue(u.Object)
		}
	}
	if in.Authorizer != nil {
		e.values[authorizerName] = library.NewAuthorizerVal(in.User, in.Authorizer)
		e.values[resourceAuthorizerName] = library.NewResourceAuthorizerVal(in.User, in.Authorizer, in.Resource)
	}
	if c.variables != nil {
		e.variables = lazy.NewMapValue(c.variables)
		for name, expression := range c.compiled {
			e.variables.Append(name, func(*lazy.MapValue) ref.Val { return e.variable(name, expression) })
		}
	}
	return e, nil
}

func value(obj runtime.Object, plain bool) (ref.Val, error) {
	if obj == nil {
		return types.NullValue, nil
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return types.DefaultTypeAdapter.NativeToValue(u.Object), nil
	}
	if !plain {
		return common.SchemalessTypedToVal(obj), nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	return types.DefaultTypeAdapter.NativeToValue(content), nil
}

// ResolveName implements interpreter.Activation.
func (e *Evaluator) ResolveName(name string) (any, bool) {
	if name == variablesName && e.variables != nil {
		return e.variables, true
	}
	v, ok := e.values[name]
	return v, ok
}

// Parent implements interpreter.Activation.
func (e *Evaluator) Parent() interpreter.Activation { return nil }

func (e *Evaluator) variable(name string, x *Expression) ref.Val {
	if x.Err != nil {
		return types.NewErr("composited variable %q fails to compile: %v", name, x.Err)
	}
	v, details, err := x.program.ContextEval(e.ctx, e)
	if details == nil {
		return types.NewErr("unable to get evaluation details of variable %q", name)
	}
	cost := details.ActualCost()
	if cost == nil {
		return types.NewErr("unable to calculate cost of variable %q", name)
	}
	e.spent += int64(min(*cost, math.MaxInt64/2))
	if err != nil {
		return types.NewErr("composited variable %q fails to evaluate: %v", name, err)
	}
	return v
}

// Eval evaluates an expression and takes its cost from the budget. An error of the
// expression itself is failure; err is one after which nothing more can be
// evaluated: the budget is spent.
func (e *Evaluator) Eval(x *Expression, budget *Budget) (result ref.Val, failure, err error) {
	if x.Err != nil {
		return nil, &apiservercel.Error{
			Type: apiservercel.ErrorTypeInvalid, Detail: fmt.Sprintf("compilation error: %v", x.Err), Cause: x.Err,
		}, nil
	}
	result, details, evalErr := x.program.ContextEval(e.ctx, e)
	if details == nil || details.ActualCost() == nil {
		return nil, nil, &apiservercel.Error{Type: apiservercel.ErrorTypeInternal, Detail: fmt.Sprintf(
			"runtime cost could not be calculated for expression: %v, no further expression will be run", x.Text)}
	}
	cost := int64(min(*details.ActualCost(), math.MaxInt64/2)) + e.spent
	e.spent = 0
	if cost > int64(*budget) {
		return nil, nil, &apiservercel.Error{
			Type:   apiservercel.ErrorTypeInvalid,
			Detail: "validation failed due to running out of cost budget, no further validation rules will be run",
			Cause:  apiservercel.ErrOutOfBudget,
		}
	}
	*budget -= Budget(cost)
	if evalErr != nil {
		return nil, &apiservercel.Error{
			Type: apiservercel.ErrorTypeInvalid, Detail: fmt.Sprintf("expression '%v' resulted in error: %v", x.Text, evalErr),
		}, nil
	}
	return result, nil, nil
}
