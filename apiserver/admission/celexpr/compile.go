package celexpr

import (
	"fmt"

	"github.com/google/cel-go/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/strake-io/strake/internal/celtypes"
)

// Age says which version of the language an expression may use: what is new must be
// understood by the version before this one too, so that a downgrade finds nothing
// that it cannot read.
type Age = environment.Type

// New expressions come with a write, Stored ones have been accepted before.
const (
	New    = environment.NewExpressions
	Stored = environment.StoredExpressions
)

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct {
	// Text as it was written.
	Text string
	// Err is what was wrong with it; evaluation gives it as an error.
	Err     *apiservercel.Error
	output  *cel.Type
	program cel.Program
}

// Compiler compiles the expressions of one policy, with its variables, or of a
// webhook, which has none. The zero value is ready to use; it is not safe for
// concurrent use, and is not used any more once its expressions are evaluated.
type Compiler struct {
	variables *apiservercel.DeclType
	compiled  map[string]*Expression
	// extended are the environments with the variables.
	extended map[Declares]*environment.EnvSet
}

const variablesType = "kubernetes.variables"

// WithVariables declares the object variables, to which [Compiler.Variable] adds
// fields. It comes before any expression.
func (c *Compiler) WithVariables() {
	c.variables = apiservercel.NewObjectType(variablesType, map[string]*apiservercel.DeclField{})
	c.compiled, c.extended = map[string]*Expression{}, map[Declares]*environment.EnvSet{}
}

func (c *Compiler) environment(d Declares, age Age) (*cel.Env, error) {
	if set := c.extended[d]; set != nil {
		return set.Env(age)
	}
	set, err := environments[d]()
	if err != nil {
		return nil, err
	}
	if c.variables != nil {
		set, err = set.Extend(environment.VersionedOptions{
			IntroducedVersion: always,
			EnvOptions:        []cel.EnvOption{cel.Variable(variablesName, c.variables.CelType())},
			DeclTypes:         []*apiservercel.DeclType{c.variables},
		})
		if err != nil {
			return nil, err
		}
		c.extended[d] = set
	}
	return set.Env(age)
}

// Variable compiles an expression, of any type, that later ones may use as
// variables.NAME.
func (c *Compiler) Variable(name, text string, d Declares, age Age) *Expression {
	e := c.Compile(text, d, age, cel.AnyType)
	c.variables.Fields[name] = apiservercel.NewDeclField(name, celtypes.Declared(e.output), true, nil, nil)
	c.compiled[name] = e
	return e
}

// Compile compiles an expression that must be of one of the types given; AnyType
// takes all. Its error is in the result.
func (c *Compiler) Compile(text string, d Declares, age Age, returns ...*cel.Type) *Expression {
	e := &Expression{Text: text}
	fail := func(kind apiservercel.ErrorType, detail string, cause error) *Expression {
		e.Err = &apiservercel.Error{Type: kind, Detail: detail, Cause: cause}
		return e
	}
	env, err := c.environment(d, age)
	if err != nil {
		return fail(apiservercel.ErrorTypeInternal, fmt.Sprintf("unexpected error loading CEL environment: %v", err), nil)
	}
	ast, issues := env.Compile(text)
	if issues != nil {
		return fail(apiservercel.ErrorTypeInvalid, "compilation failed: "+issues.String(), apiservercel.NewCompilationError(issues))
	}
	if !oneOf(ast.OutputType(), returns) {
		if len(returns) == 1 {
			return fail(apiservercel.ErrorTypeInvalid, fmt.Sprintf("must evaluate to %v but got %v", returns[0], ast.OutputType()), nil)
		}
		return fail(apiservercel.ErrorTypeInvalid, fmt.Sprintf("must evaluate to one of %v but got %v", returns, ast.OutputType()), nil)
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		return fail(apiservercel.ErrorTypeInternal, "program instantiation failed: "+err.Error(), nil)
	}
	e.output, e.program = ast.OutputType(), program
	return e
}

func oneOf(t *cel.Type, allowed []*cel.Type) bool {
	for _, a := range allowed {
		if t.IsExactType(a) || cel.AnyType.IsExactType(a) {
			return true
		}
	}
	return false
}
