package apiextensions

import (
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	celgo "github.com/google/cel-go/cel"
)

var reasons = []string{
	string(apiextensions.FieldValueDuplicate), string(apiextensions.FieldValueForbidden),
	string(apiextensions.FieldValueInvalid), string(apiextensions.FieldValueRequired),
}

// ruleShapes checks the rules of a schema as far as that needs no compiler.
func ruleShapes(s *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	blank := func(text string) bool { return strings.TrimSpace(text) == "" }
	broken := func(text string) bool { return strings.ContainsAny(text, "\r\n") }
	for i, r := range s.XValidations {
		at := path.Child("x-kubernetes-validations").Index(i)
		message := strings.TrimSpace(r.Message)
		switch {
		case blank(r.Rule):
			errs = append(errs, field.Required(at.Child("rule"), "rule is not specified"))
		case r.Message != "" && message == "":
			errs = append(errs, field.Invalid(at.Child("message"), r.Message, "must be non-empty if specified"))
		case broken(message):
			errs = append(errs, field.Invalid(at.Child("message"), r.Message, "must not contain line breaks"))
		case broken(strings.TrimSpace(r.Rule)) && message == "":
			errs = append(errs, field.Required(at.Child("message"), "message must be specified if rule contains line breaks"))
		}
		if r.MessageExpression != "" && blank(r.MessageExpression) {
			errs = append(errs, field.Required(at.Child("messageExpression"), "messageExpression must be non-empty if specified"))
		}
		if r.Reason != nil && !contains(reasons, string(*r.Reason)) {
			errs = append(errs, field.NotSupported(at.Child("reason"), *r.Reason, reasons))
		}
		if r.FieldPath == "" {
			continue
		}
		if blank(r.FieldPath) {
			errs = append(errs, field.Invalid(at.Child("fieldPath"), r.FieldPath, "must be non-empty if specified"))
		}
		if broken(r.FieldPath) {
			errs = append(errs, field.Invalid(at.Child("fieldPath"), r.FieldPath, "must not contain line breaks"))
		}
		if form, err := structural(s); err == nil {
			if _, _, err := cel.ValidFieldPath(r.FieldPath, form); err != nil {
				errs = append(errs, field.Invalid(at.Child("fieldPath"), r.FieldPath, "must be a valid path"))
			}
		}
	}
	return errs
}

func contains(list []string, value string) bool {
	for _, v := range list {
		if v == value {
			return true
		}
	}
	return false
}

// compile checks the rules of a schema with the compiler, and adds up what they may
// cost.
func (c *checker) compile(s *apiextensions.JSONSchemaProps, path *field.Path, in place, rules *scope) field.ErrorList {
	path = path.Child("x-kubernetes-validations")
	info, err := rules.types()
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("internal error: failed to construct type information for x-kubernetes-validations rules: %s", err))}
	}
	if info == nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("internal error: failed to retrieve type information for x-kubernetes-validations"))}
	}
	environments := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	compiled, err := cel.Compile(info.schema, info.decl, celconfig.PerCallLimit, environments, c)
	if err != nil {
		return field.ErrorList{field.InternalError(path, err)}
	}
	var errs field.ErrorList
	cost := func(name string, at *field.Path, amount uint64) {
		if !c.unchanged && amount > MaxRuleCost {
			errs = append(errs, field.Forbidden(at, costMessage("estimated "+name+" cost", amount, MaxRuleCost)))
		}
		rules.total.add(at, amount)
	}
	for i, r := range compiled {
		at, rule := path.Index(i), s.XValidations[i]
		cost("rule", at.Child("rule"), rules.times(r.MaxCost, r.MaxCardinality))
		if r.Error != nil {
			if r.Error.Type == apiservercel.ErrorTypeRequired {
				errs = append(errs, field.Required(at.Child("rule"), r.Error.Detail))
			} else {
				errs = append(errs, field.Invalid(at.Child("rule"), rule, r.Error.Detail))
			}
		}
		if r.MessageExpressionError != nil {
			errs = append(errs, field.Invalid(at.Child("messageExpression"), rule, r.MessageExpressionError.Detail))
		} else if r.MessageExpression != nil {
			cost("messageExpression", at.Child("messageExpression"), r.MessageExpressionMaxCost)
		}
		switch {
		case r.UsesOldSelf && in.uncorrelate != nil:
			errs = append(errs, field.Invalid(at.Child("rule"), rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", in.uncorrelate)))
		case !r.UsesOldSelf && rule.OptionalOldSelf != nil:
			errs = append(errs, field.Invalid(at.Child("optionalOldSelf"), *rule.OptionalOldSelf, "may not be set if oldSelf is not used in rule"))
		}
	}
	return errs
}

// RuleEnv implements cel.EnvLoader: what is stored may use all that any server of
// the cluster knows, what is new only what all of them do.
func (c *checker) RuleEnv(set *environment.EnvSet, expression string) *celgo.Env {
	return envOf(set, c.forgiven.rules.Has(expression))
}

// MessageExpressionEnv implements cel.EnvLoader.
func (c *checker) MessageExpressionEnv(set *environment.EnvSet, expression string) *celgo.Env {
	return envOf(set, c.forgiven.messages.Has(expression))
}

func envOf(set *environment.EnvSet, stored bool) *celgo.Env {
	if stored {
		return set.StoredExpressionsEnv()
	}
	return set.NewExpressionsEnv()
}
