package admissionregistration

import (
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func validatingPolicies() *resource.Resource {
	halves := typed.SpecAndStatus(func(p *admissionv1.ValidatingAdmissionPolicy) (*admissionv1.ValidatingAdmissionPolicySpec, *admissionv1.ValidatingAdmissionPolicyStatus) {
		return &p.Spec, &p.Status
	})
	return declare("ValidatingAdmissionPolicy", "validatingadmissionpolicies", resource.Resource{
		New: typed.New[admissionv1.ValidatingAdmissionPolicy], NewList: typed.New[admissionv1.ValidatingAdmissionPolicyList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(p *admissionv1.ValidatingAdmissionPolicy) {
				orDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
				defaultMatch(p.Spec.MatchConstraints)
			}),
			PrepareForCreate: halves.Create, PrepareForUpdate: halves.Update,
			Validate:       typed.Validate(func(p *admissionv1.ValidatingAdmissionPolicy) errorList { return validateValidatingPolicy(p, nil) }),
			ValidateChange: typed.Change(validateValidatingPolicy),
			ResetFields:    typed.Reset("status"),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(),
				columns.Integer("Validations", "Validations indicates the number of validation rules defined in this configuration"),
				columns.String("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
				columns.Created(),
			},
			Cells: typed.Cells(func(p *admissionv1.ValidatingAdmissionPolicy, now time.Time) []any {
				return []any{p.Name, int64(len(p.Spec.Validations)), paramKindCell(p.Spec.ParamKind), columns.Age(p.CreationTimestamp, now)}
			}),
		},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(p, _ *admissionv1.ValidatingAdmissionPolicy) errorList {
			return validatePolicyStatus(&p.Status)
		})},
	})
}

func mutatingPolicies() *resource.Resource {
	counted := typed.Counted(func(p *admissionv1.MutatingAdmissionPolicy) *admissionv1.MutatingAdmissionPolicySpec { return &p.Spec })
	return declare("MutatingAdmissionPolicy", "mutatingadmissionpolicies", resource.Resource{
		New: typed.New[admissionv1.MutatingAdmissionPolicy], NewList: typed.New[admissionv1.MutatingAdmissionPolicyList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(p *admissionv1.MutatingAdmissionPolicy) {
				orDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
				defaultMatch(p.Spec.MatchConstraints)
			}),
			PrepareForCreate: counted.Create, PrepareForUpdate: counted.Update,
			Validate:       typed.Validate(func(p *admissionv1.MutatingAdmissionPolicy) errorList { return validateMutatingPolicy(p, nil) }),
			ValidateChange: typed.Change(validateMutatingPolicy),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(),
				columns.Integer("Mutations", "Mutations indicates the number of mutations rules defined in this configuration"),
				columns.String("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
				columns.Created(),
			},
			Cells: typed.Cells(func(p *admissionv1.MutatingAdmissionPolicy, now time.Time) []any {
				return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindCell(p.Spec.ParamKind), columns.Age(p.CreationTimestamp, now)}
			}),
		},
	})
}

func validatingBindings() *resource.Resource {
	counted := typed.Counted(func(b *admissionv1.ValidatingAdmissionPolicyBinding) *admissionv1.ValidatingAdmissionPolicyBindingSpec {
		return &b.Spec
	})
	return declare("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", resource.Resource{
		New: typed.New[admissionv1.ValidatingAdmissionPolicyBinding], NewList: typed.New[admissionv1.ValidatingAdmissionPolicyBindingList],
		Strategy: resource.Strategy{
			Default:          typed.Default(func(b *admissionv1.ValidatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) }),
			PrepareForCreate: counted.Create, PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(b *admissionv1.ValidatingAdmissionPolicyBinding) errorList {
				errs := validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
				return append(errs, validateActions(b.Spec.ValidationActions)...)
			}),
		},
		Table: bindingTable(func(b *admissionv1.ValidatingAdmissionPolicyBinding) (string, *admissionv1.ParamRef) {
			return b.Spec.PolicyName, b.Spec.ParamRef
		}),
	})
}

func mutatingBindings() *resource.Resource {
	counted := typed.Counted(func(b *admissionv1.MutatingAdmissionPolicyBinding) *admissionv1.MutatingAdmissionPolicyBindingSpec {
		return &b.Spec
	})
	return declare("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", resource.Resource{
		New: typed.New[admissionv1.MutatingAdmissionPolicyBinding], NewList: typed.New[admissionv1.MutatingAdmissionPolicyBindingList],
		Strategy: resource.Strategy{
			Default:          typed.Default(func(b *admissionv1.MutatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) }),
			PrepareForCreate: counted.Create, PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(b *admissionv1.MutatingAdmissionPolicyBinding) errorList {
				errs := validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
				return append(errs, onlyMutable(b.Spec.MatchResources, field.NewPath("spec", "matchResources"))...)
			}),
		},
		Table: bindingTable(func(b *admissionv1.MutatingAdmissionPolicyBinding) (string, *admissionv1.ParamRef) {
			return b.Spec.PolicyName, b.Spec.ParamRef
		}),
	})
}

func bindingTable[T typed.Object](parts func(T) (policy string, params *admissionv1.ParamRef)) resource.Table {
	return resource.Table{
		Columns: []metav1.TableColumnDefinition{
			columns.Name(),
			columns.String("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
			columns.String("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
			columns.Created(),
		},
		Cells: typed.Cells(func(b T, now time.Time) []any {
			policy, params := parts(b)
			return []any{b.GetName(), policy, paramRefCell(params), columns.Age(b.GetCreationTimestamp(), now)}
		}),
	}
}

func paramKindCell(k *admissionv1.ParamKind) string {
	if k == nil {
		return "<unset>"
	}
	return k.APIVersion + "/" + k.Kind
}

// paramRefCell: whether parameters are in namespaces is not known here.
func paramRefCell(ref *admissionv1.ParamRef) string {
	switch {
	case ref == nil:
	case ref.Name != "" && ref.Namespace != "":
		return ref.Namespace + "/" + ref.Name
	case ref.Name != "":
		return "*/" + ref.Name
	case ref.Selector != nil:
		return ref.Selector.String()
	}
	return "<unset>"
}
