package celexpr

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// Conditions are compiled match conditions.
type Conditions struct {
	names       []string
	expressions []*Expression
}

// Conditions compiles match conditions. What does not compile is an error when it
// is evaluated.
func (c *Compiler) Conditions(conditions []admissionregistrationv1.MatchCondition, d Declares, age Age) *Conditions {
	out := &Conditions{}
	for _, m := range conditions {
		out.names = append(out.names, m.Name)
		out.expressions = append(out.expressions, c.Compile(m.Expression, d, age, cel.BoolType))
	}
	return out
}

// Len is how many there are.
func (c *Conditions) Len() int { return len(c.expressions) }

// Match says whether all conditions are true. One that is false settles it, whatever
// errors there are; without one, errors are returned, all together. The conditions
// of one webhook or policy have [MatchBudget] to spend.
func (c *Conditions) Match(e *Evaluator) (bool, error) {
	budget := Budget(MatchBudget)
	var failures []error
	matches := true
	for _, x := range c.expressions {
		result, failure, err := e.Eval(x, &budget)
		switch {
		case err != nil:
			return false, err
		case failure != nil:
			failures = append(failures, failure)
		case result == types.False:
			matches = false
		}
	}
	if !matches {
		return false, nil
	}
	if len(failures) > 0 {
		return false, utilerrors.NewAggregate(failures)
	}
	return true, nil
}
