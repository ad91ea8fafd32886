package admissionregistration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

const maxConditions = 64

// age of an expression: one that is stored already may use what is new.
func age(stored sets.Set[string], expression string) celexpr.Age {
	if stored.Has(expression) {
		return celexpr.Stored
	}
	return celexpr.New
}

// compileError is what is wrong with an expression, as the error of a field.
func compileError(path *field.Path, value string, err *apiservercel.Error) errorList {
	switch {
	case err == nil:
		return nil
	case err.Type == apiservercel.ErrorTypeRequired:
		return errorList{field.Required(path, err.Detail)}
	case err.Type == apiservercel.ErrorTypeInvalid:
		return errorList{field.Invalid(path, value, err.Detail)}
	}
	return errorList{field.InternalError(path, err)}
}

// validateConditions checks match conditions, which have no variables.
func validateConditions(conditions []admissionv1.MatchCondition, d celexpr.Declares, stored sets.Set[string], path *field.Path) errorList {
	var errs errorList
	if len(conditions) > maxConditions {
		errs = append(errs, field.TooMany(path, len(conditions), maxConditions))
		// What is too much is not compiled either.
		conditions = conditions[:maxConditions]
	}
	names := sets.New[string]()
	compiler := &celexpr.Compiler{}
	for i, m := range conditions {
		at := path.Index(i)
		if text := strings.TrimSpace(m.Expression); text == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			e := compiler.Compile(text, d, age(stored, text), cel.BoolType)
			errs = append(errs, compileError(at.Child("expression"), text, e.Err)...)
		}
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, rules.Matches(m.Name, at.Child("name"), validation.IsQualifiedName(m.Name))...)
		if names.Has(m.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), m.Name))
		}
		names.Insert(m.Name)
	}
	return errs
}

var identifier = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")

var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let",
	"loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
}

// validateVariables checks and compiles the variables of a policy, in order: each may
// use those before it.
func validateVariables(compiler *celexpr.Compiler, variables []admissionv1.Variable, d celexpr.Declares, stored sets.Set[string], path *field.Path) errorList {
	if len(variables) == 0 {
		return nil
	}
	compiler.WithVariables()
	var errs errorList
	for i, v := range variables {
		at := path.Index(i)
		if strings.TrimSpace(v.Name) == "" {
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		} else if !identifier.MatchString(v.Name) || slices.Contains(reserved, v.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
			continue
		}
		e := compiler.Variable(v.Name, v.Expression, d, age(stored, v.Expression))
		errs = append(errs, compileError(at.Child("expression"), v.Expression, e.Err)...)
	}
	return errs
}

func validateParamKind(k *admissionv1.ParamKind, path *field.Path) errorList {
	if k == nil {
		return nil
	}
	var errs errorList
	at := path.Child("apiVersion")
	group, version, both := strings.Cut(k.APIVersion, "/")
	if !both {
		group, version = "", k.APIVersion
	}
	switch {
	case k.APIVersion == "":
		errs = append(errs, field.Required(at, ""))
	case strings.Count(k.APIVersion, "/") > 1:
		errs = append(errs, field.Invalid(at, k.APIVersion, fmt.Sprintf("unexpected GroupVersion string: %v", k.APIVersion)))
	default:
		if wrong := validation.IsDNS1123Subdomain(group); group != "" && len(wrong) > 0 {
			errs = append(errs, field.Invalid(at, group, strings.Join(wrong, ",")))
		}
		if version == "" {
			errs = append(errs, field.Invalid(at, k.APIVersion, "version must be specified"))
		} else if wrong := validation.IsDNS1035Label(version); len(wrong) > 0 {
			errs = append(errs, field.Invalid(at, version, strings.Join(wrong, ",")))
		}
	}
	if k.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), ""))
	} else if wrong := validation.IsDNS1035Label(strings.ToLower(k.Kind)); len(wrong) > 0 {
		errs = append(errs, field.Invalid(path.Child("kind"), k.Kind, "may have mixed case, but should otherwise match: "+strings.Join(wrong, ",")))
	}
	return errs
}
