package admissionregistration

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

const (
	maxAnnotations          = 20
	maxAnnotationExpression = 5 << 10
)

var reasons = []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge}

// storedExpressions of a policy, by what they are for.
type storedExpressions struct{ conditions, validations, messages, annotations sets.Set[string] }

func storedOf(old *admissionv1.ValidatingAdmissionPolicy) storedExpressions {
	s := storedExpressions{sets.New[string](), sets.New[string](), sets.New[string](), sets.New[string]()}
	if old == nil {
		return s
	}
	for _, m := range old.Spec.MatchConditions {
		s.conditions.Insert(m.Expression)
	}
	for _, v := range old.Spec.Validations {
		s.validations.Insert(v.Expression)
		s.messages.Insert(v.MessageExpression)
	}
	for _, a := range old.Spec.AuditAnnotations {
		s.annotations.Insert(a.ValueExpression)
	}
	return s
}

// validatePolicyFrame checks what both kinds of policies have.
func validatePolicyFrame(failure *admissionv1.FailurePolicyType, kind *admissionv1.ParamKind, match *admissionv1.MatchResources, path *field.Path) errorList {
	errs := required(failure, path.Child("failurePolicy"), failurePolicies)
	errs = append(errs, validateParamKind(kind, path.Child("paramKind"))...)
	if match == nil {
		return append(errs, field.Required(path.Child("matchConstraints"), ""))
	}
	errs = append(errs, validateMatch(match, path.Child("matchConstraints"))...)
	if len(match.ResourceRules) == 0 {
		errs = append(errs, field.Required(path.Child("matchConstraints", "resourceRules"), ""))
	}
	return errs
}

// validateValidatingPolicy: old is nil for a new one.
func validateValidatingPolicy(p, old *admissionv1.ValidatingAdmissionPolicy) errorList {
	spec, path, stored := &p.Spec, field.NewPath("spec"), storedOf(old)
	declares := celexpr.Declares{Params: spec.ParamKind != nil, Authorizer: true}
	errs := validatePolicyFrame(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, path)
	if old == nil || !reflect.DeepEqual(spec.ParamKind, old.Spec.ParamKind) || !reflect.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, validateConditions(spec.MatchConditions, declares, stored.conditions, path.Child("matchConditions"))...)
	}
	compiler := &celexpr.Compiler{}
	errs = append(errs, validateVariables(compiler, spec.Variables, declares, stored.validations, path.Child("variables"))...)
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		const missing = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(path.Child("validations"), missing), field.Required(path.Child("auditAnnotations"), missing))
	}
	for i := range spec.Validations {
		errs = append(errs, validateValidation(compiler, &spec.Validations[i], declares, stored, path.Child("validations").Index(i))...)
	}
	return append(errs, validateAnnotations(compiler, p, declares, stored, path.Child("auditAnnotations"))...)
}

func validateValidation(compiler *celexpr.Compiler, v *admissionv1.Validation, declares celexpr.Declares, stored storedExpressions, path *field.Path) errorList {
	var errs errorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	} else {
		e := compiler.Compile(v.Expression, declares, age(stored.validations, v.Expression), cel.BoolType)
		errs = append(errs, compileError(path.Child("expression"), v.Expression, e.Err)...)
	}
	if m := v.MessageExpression; m != "" {
		if strings.TrimSpace(m) == "" {
			errs = append(errs, field.Invalid(path.Child("messageExpression"), m, "must be non-empty if specified"))
		} else {
			e := compiler.Compile(m, celexpr.Declares{Params: declares.Params}, age(stored.messages, m), cel.StringType)
			errs = append(errs, compileError(path.Child("messageExpression"), m, e.Err)...)
		}
	}
	switch message := strings.TrimSpace(v.Message); {
	case v.Message != "" && message == "":
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "message must be non-empty if specified"))
	case strings.ContainsAny(message, "\n\r"):
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "message must not contain line breaks"))
	}
	return append(errs, optional(v.Reason, path.Child("reason"), reasons)...)
}

func validateAnnotations(compiler *celexpr.Compiler, p *admissionv1.ValidatingAdmissionPolicy, declares celexpr.Declares, stored storedExpressions, path *field.Path) errorList {
	var errs errorList
	annotations := p.Spec.AuditAnnotations
	if len(annotations) > maxAnnotations {
		errs = append(errs, field.Invalid(path, annotations, fmt.Sprintf("must not have more than %d auditAnnotations", maxAnnotations)))
		annotations = annotations[:maxAnnotations]
	}
	keys := sets.New[string]()
	for i, a := range annotations {
		at := path.Index(i)
		if p.Name == "" {
			errs = append(errs, field.Invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			full := p.Name + "/" + a.Key
			errs = append(errs, rules.Matches(full, at.Child("key"), validation.IsQualifiedName(full))...)
		}
		text := strings.TrimSpace(a.ValueExpression)
		switch at := at.Child("valueExpression"); {
		case text == "":
			errs = append(errs, field.Required(at, "valueExpression is not specified"))
		case len(text) > maxAnnotationExpression:
			errs = append(errs, field.Required(at, fmt.Sprintf("must not exceed %d bytes in length", maxAnnotationExpression)))
		default:
			e := compiler.Compile(text, declares, age(stored.annotations, a.ValueExpression), cel.StringType, cel.NullType)
			errs = append(errs, compileError(at, a.ValueExpression, e.Err)...)
		}
		if keys.Has(a.Key) {
			errs = append(errs, field.Duplicate(at.Child("key"), a.Key))
		}
		keys.Insert(a.Key)
	}
	return errs
}

// validateMutatingPolicy: old is nil for a new one.
func validateMutatingPolicy(p, old *admissionv1.MutatingAdmissionPolicy) errorList {
	spec, path := &p.Spec, field.NewPath("spec")
	declares := celexpr.Declares{Params: spec.ParamKind != nil, Authorizer: true}
	stored := sets.New[string]()
	if old != nil {
		for _, m := range old.Spec.MatchConditions {
			stored.Insert(m.Expression)
		}
		for i := range old.Spec.Mutations {
			stored.Insert(mutationExpression(&old.Spec.Mutations[i]))
		}
		for _, v := range old.Spec.Variables {
			stored.Insert(v.Expression)
		}
	}
	errs := validatePolicyFrame(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, path)
	errs = append(errs, onlyMutable(spec.MatchConstraints, path.Child("matchConstraints"))...)
	if old == nil || !reflect.DeepEqual(spec.ParamKind, old.Spec.ParamKind) || !reflect.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, validateConditions(spec.MatchConditions, declares, stored, path.Child("matchConditions"))...)
	}
	compiler := &celexpr.Compiler{}
	errs = append(errs, validateVariables(compiler, spec.Variables, declares, stored, path.Child("variables"))...)
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(path.Child("mutations"), "mutations must contain at least one item"))
	}
	declares.Patches = true
	for i := range spec.Mutations {
		errs = append(errs, validateMutation(compiler, &spec.Mutations[i], declares, stored, path.Child("mutations").Index(i))...)
	}
	if spec.ReinvocationPolicy == "" {
		return append(errs, field.Required(path.Child("reinvocationPolicy"), ""))
	}
	return append(errs, optional(&spec.ReinvocationPolicy, path.Child("reinvocationPolicy"), reinvocations)...)
}

// onlyMutable: nothing but what has an object to change is mutated.
func onlyMutable(match *admissionv1.MatchResources, path *field.Path) errorList {
	if match == nil {
		return nil
	}
	var errs errorList
	for _, r := range match.ResourceRules {
		for _, op := range r.Operations {
			errs = append(errs, rules.OneOf(op, path.Child("resourceRules", "operations"), mutable...)...)
		}
	}
	return errs
}

var mutable = []admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Connect, admissionv1.Create, admissionv1.Update}

func mutationExpression(m *admissionv1.Mutation) string {
	switch {
	case m.ApplyConfiguration != nil:
		return m.ApplyConfiguration.Expression
	case m.JSONPatch != nil:
		return m.JSONPatch.Expression
	}
	return ""
}

func validateMutation(compiler *celexpr.Compiler, m *admissionv1.Mutation, declares celexpr.Declares, stored sets.Set[string], path *field.Path) errorList {
	apply, patch := path.Child("applyConfiguration"), path.Child("jsonPatch")
	compile := func(at *field.Path, text string, returns *cel.Type) errorList {
		if strings.TrimSpace(text) == "" {
			return errorList{field.Required(at.Child("expression"), "")}
		}
		e := compiler.Compile(text, declares, age(stored, text), returns)
		return compileError(at.Child("expression"), text, e.Err)
	}
	var errs errorList
	switch m.PatchType {
	case "":
		errs = append(errs, field.Required(path.Child("patchType"), ""))
	case admissionv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			errs = append(errs, compile(apply, m.ApplyConfiguration.Expression, celexpr.ObjectType)...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(patch, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	case admissionv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(patch, "must be specified when patchType is JSONPatch"))
		} else {
			errs = append(errs, compile(patch, m.JSONPatch.Expression, celexpr.PatchesType)...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("patchType"), m.PatchType,
			slices.Sorted(slices.Values([]admissionv1.PatchType{admissionv1.PatchTypeApplyConfiguration, admissionv1.PatchTypeJSONPatch}))))
	}
	return errs
}
