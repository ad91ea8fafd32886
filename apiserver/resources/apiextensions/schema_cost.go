package apiextensions

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

const (
	// MaxRuleCost is the most that one CEL rule may be estimated to cost, in the
	// units of cel-go, times as often as it may have to be evaluated for one object.
	MaxRuleCost = 10_000_000
	// MaxSchemaCost is the same for all rules of a schema together.
	MaxSchemaCost = 100_000_000
)

// scope is what the rules of one schema inside of a definition are compiled in: the
// types of self, and how often the schema may apply within one object. All methods
// of nil give nil.
type scope struct {
	parent *scope
	schema *apiextensions.JSONSchemaProps
	// needed: there are rules here or further up, so that types are worth making.
	needed bool
	// step finds the types here in those of the parent; nil where it cannot.
	step func(parent *types) *types
	// limit is how often the schema may apply; nil is without a limit.
	limit *uint64
	total *total

	made *types
	err  error
}

// types of self.
type types struct {
	schema *structuralschema.Structural
	decl   *apiservercel.DeclType
}

func rootScope(schema *apiextensions.JSONSchemaProps) *scope {
	once := uint64(1)
	return &scope{schema: schema, needed: len(schema.XValidations) > 0, limit: &once, total: &total{}}
}

func (s *scope) child(schema *apiextensions.JSONSchemaProps, step func(*types) *types) *scope {
	if s == nil || schema == nil {
		return nil
	}
	c := &scope{parent: s, schema: schema, needed: s.needed || len(schema.XValidations) > 0, step: step, total: s.total}
	if most := mostItems(s.schema); s.limit != nil && most != nil {
		product := multiply(*s.limit, *most)
		c.limit = &product
	}
	return c
}

func (s *scope) property(schema *apiextensions.JSONSchemaProps, name string) *scope {
	return s.child(schema, func(parent *types) *types {
		property, known := parent.schema.Properties[name]
		escaped, ok := apiservercel.Escape(name)
		if !known || !ok || parent.decl.Fields[escaped] == nil {
			return nil // what has no type that rules know is not theirs to see
		}
		return &types{&property, parent.decl.Fields[escaped].Type}
	})
}

func (s *scope) items(schema *apiextensions.JSONSchemaProps) *scope {
	return s.child(schema, func(parent *types) *types {
		if parent.schema.Items == nil {
			return nil
		}
		return &types{parent.schema.Items, parent.decl.ElemType}
	})
}

func (s *scope) values(schema *apiextensions.JSONSchemaProps) *scope {
	return s.child(schema, func(parent *types) *types {
		if parent.schema.AdditionalProperties == nil || parent.schema.AdditionalProperties.Structural == nil {
			return nil
		}
		return &types{parent.schema.AdditionalProperties.Structural, parent.decl.ElemType}
	})
}

// types of self in this scope: found in those of the parent where it has them,
// since to make them from the schema is dear.
func (s *scope) types() (*types, error) {
	if s == nil || !s.needed {
		return nil, nil
	}
	if s.made != nil || s.err != nil {
		return s.made, s.err
	}
	if s.parent != nil {
		parent, err := s.parent.types()
		if err != nil {
			s.err = err
			return nil, err
		}
		if parent != nil {
			if s.made = s.step(parent); s.made != nil {
				return s.made, nil
			}
		}
	}
	form, err := structural(s.schema)
	if err != nil {
		s.err = err
		return nil, err
	}
	decl := model.SchemaDeclType(form, s.parent == nil || s.schema.XEmbeddedResource)
	if decl == nil {
		s.err = errors.New("unable to convert structural schema to CEL declarations")
		return nil, s.err
	}
	s.made = &types{form, decl}
	return s.made, nil
}

// times is the cost of a rule for a whole object. otherwise is how often it is
// evaluated where the schema sets no limit.
func (s *scope) times(cost, otherwise uint64) uint64 {
	if s.limit != nil {
		otherwise = *s.limit
	}
	return multiply(cost, otherwise)
}

// multiply stops at the largest number.
func multiply(a, b uint64) uint64 {
	if a != 0 && b > math.MaxUint64/a {
		return math.MaxUint64
	}
	return a * b
}

// mostItems is how many values a schema may have below it: nil without a limit.
func mostItems(s *apiextensions.JSONSchemaProps) *uint64 {
	one := uint64(1)
	limit := func(n *int64) *uint64 {
		if n == nil {
			return nil
		}
		most := uint64(max(*n, 0))
		return &most
	}
	switch {
	case s.Type == "object" && s.AdditionalProperties != nil:
		return limit(s.MaxProperties)
	case s.Type == "array":
		return limit(s.MaxItems)
	}
	return &one
}

// total of what the rules of a schema may cost.
type total struct {
	sum     uint64
	dearest []item
}

type item struct {
	path *field.Path
	cost uint64
}

func (t *total) add(path *field.Path, cost uint64) {
	if t.sum > math.MaxUint64-cost {
		t.sum = math.MaxUint64
	} else {
		t.sum += cost
	}
	if cost < MaxSchemaCost/100 {
		return
	}
	t.dearest = append(t.dearest, item{path, cost})
	slices.SortStableFunc(t.dearest, func(a, b item) int { return cmp.Compare(b.cost, a.cost) })
	t.dearest = t.dearest[:min(len(t.dearest), 4)]
}

func (t *total) check(path *field.Path) field.ErrorList {
	if t.sum <= MaxSchemaCost {
		return nil
	}
	var errs field.ErrorList
	for _, d := range t.dearest {
		errs = append(errs, field.Forbidden(d.path, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"))
	}
	return append(errs, field.Forbidden(path,
		costMessage("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", t.sum, MaxSchemaCost)))
}

func costMessage(what string, cost, limit uint64) string {
	factor := float64(cost) / float64(limit)
	by := fmt.Sprintf("%.1fx", factor)
	switch {
	case factor > 100:
		by = "more than 100x"
	case factor < 1.5:
		by = fmt.Sprintf("%fx", factor)
	}
	return fmt.Sprintf("%s exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", what, by)
}

var _ cel.EnvLoader = (*checker)(nil)
