package flowcontrol

import (
	"fmt"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// defaultPrecedence is the matching precedence of a schema that names none.
const defaultPrecedence = 1000

func flowSchemas() *resource.Resource {
	halves := typed.SpecAndStatus(func(s *flowcontrolv1.FlowSchema) (*flowcontrolv1.FlowSchemaSpec, *flowcontrolv1.FlowSchemaStatus) {
		return &s.Spec, &s.Status
	})
	return &resource.Resource{
		GVK: gvk("FlowSchema"), Plural: "flowschemas", Singular: "flowschema", StoragePrefix: "flowschemas",
		New: typed.New[flowcontrolv1.FlowSchema], NewList: typed.New[flowcontrolv1.FlowSchemaList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(s *flowcontrolv1.FlowSchema) {
				if s.Spec.MatchingPrecedence == 0 {
					s.Spec.MatchingPrecedence = defaultPrecedence
				}
			}),
			PrepareForCreate:         halves.Create,
			PrepareForUpdate:         halves.Update,
			Validate:                 typed.Validate(validateSchema),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: schemaColumns(), Cells: typed.Cells(schemaCells)},
		Subresources: []resource.Subresource{statusView(
			func(s, old *flowcontrolv1.FlowSchema) { s.ObjectMeta, s.Spec = old.ObjectMeta, old.Spec }, validateSchemaStatus,
		)},
	}
}

func validateSchema(s *flowcontrolv1.FlowSchema) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateSchemaSpec(s.Name, &s.Spec, path)
	if fixed := mandatorySchema(s.Name); fixed != nil && !apiequality.Semantic.DeepEqual(s.Spec, fixed.Spec) {
		errs = append(errs, field.Invalid(path, s.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
	}
	return errs
}

func validateSchemaSpec(name string, spec *flowcontrolv1.FlowSchemaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("matchingPrecedence")
	if spec.MatchingPrecedence <= 0 {
		errs = append(errs, field.Invalid(at, spec.MatchingPrecedence, "must be a positive value"))
	}
	if spec.MatchingPrecedence > flowcontrolv1.FlowSchemaMaxMatchingPrecedence {
		errs = append(errs, field.Invalid(at, spec.MatchingPrecedence, fmt.Sprintf("must not be greater than %v", flowcontrolv1.FlowSchemaMaxMatchingPrecedence)))
	}
	if spec.MatchingPrecedence == 1 && name != flowcontrolv1.FlowSchemaNameExempt {
		errs = append(errs, field.Invalid(at, spec.MatchingPrecedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	if m := spec.DistinguisherMethod; m != nil {
		allowed := []flowcontrolv1.FlowDistinguisherMethodType{
			flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType,
		}
		if m.Type != allowed[0] && m.Type != allowed[1] {
			errs = append(errs, field.NotSupported(path.Child("distinguisherMethod", "type"), rules.Internal(m), allowed))
		}
	}
	level := path.Child("priorityLevelConfiguration", "name")
	if spec.PriorityLevelConfiguration.Name == "" {
		errs = append(errs, field.Required(level, "must reference a priority level"))
	} else {
		errs = append(errs, rules.Subdomain(spec.PriorityLevelConfiguration.Name, level)...)
	}
	for i := range spec.Rules {
		errs = append(errs, validateRule(&spec.Rules[i], path.Child("rules").Index(i))...)
	}
	return errs
}

func validateSchemaStatus(s, _ *flowcontrolv1.FlowSchema) field.ErrorList {
	var errs field.ErrorList
	seen := map[flowcontrolv1.FlowSchemaConditionType]bool{}
	for i, c := range s.Status.Conditions {
		errs = append(errs, condition(c.Type, seen, field.NewPath("status", "conditions").Index(i))...)
	}
	return errs
}

func schemaColumns() []metav1.TableColumnDefinition {
	spec := flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("PriorityLevel", flowcontrolv1.PriorityLevelConfigurationReference{}.SwaggerDoc()["name"]),
		columns.String("MatchingPrecedence", spec["matchingPrecedence"]), columns.String("DistinguisherMethod", spec["distinguisherMethod"]),
		columns.Created(), columns.String("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
	}
}

func schemaCells(s *flowcontrolv1.FlowSchema, now time.Time) []any {
	method, dangling := "<none>", "?"
	if s.Spec.DistinguisherMethod != nil {
		method = string(s.Spec.DistinguisherMethod.Type)
	}
	for _, c := range s.Status.Conditions {
		if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
			dangling = string(c.Status)
		}
	}
	return []any{
		s.Name, s.Spec.PriorityLevelConfiguration.Name, int64(s.Spec.MatchingPrecedence), method, columns.Age(s.CreationTimestamp, now), dangling,
	}
}
