package apiextensions

import (
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// forgive says what an update of old to crd may go on to break.
func forgive(crd, old *apiextensions.CustomResourceDefinition) leniency {
	l := leniency{
		namesFixed: apiextensions.IsCRDConditionTrue(old, apiextensions.Established),
		rules:      sets.New[string](), messages: sets.New[string](), sameSchema: sets.New[string](), manyFields: sets.New[string](),
	}
	if c := old.Spec.Conversion; c != nil && len(c.ConversionReviewVersions) > 0 {
		l.reviewVersions = !slices.ContainsFunc(c.ConversionReviewVersions, func(v string) bool { return slices.Contains(reviewVersions, v) })
	}
	l.badBundle = !l.namesFixed
	if c := old.Spec.Conversion; c != nil && c.WebhookClientConfig != nil && len(rules.CABundle(c.WebhookClientConfig.CABundle, field.NewPath(""))) > 0 {
		l.badBundle = true
	}
	l.noSchema = old.Spec.Validation == nil || old.Spec.Validation.OpenAPIV3Schema == nil
	if l.noSchema {
		l.noSchema = slices.ContainsFunc(old.Spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool {
			return v.Schema == nil || v.Schema.OpenAPIV3Schema == nil
		})
	}
	for _, s := range schemasOf(&old.Spec) {
		l.nonStructural = l.nonStructural || !isStructural(s)
		l.unprunedDefaults = l.unprunedDefaults || hasUnprunedDefaults(s)
		within(s, func(s *apiextensions.JSONSchemaProps) bool {
			for _, r := range s.XValidations {
				l.rules.Insert(r.Rule)
				l.messages.Insert(r.MessageExpression)
			}
			l.propertyTypes = l.propertyTypes || s.Type != "" && !slices.Contains(schemaTypes, s.Type)
			l.setItems = l.setItems || looseSet(s)
			l.listKeys = l.listKeys || len(listKeys(s, field.NewPath(""))) > 0
			return false
		})
	}
	forgiveVersions(&l, crd, old)
	return l
}

func forgiveVersions(l *leniency, crd, old *apiextensions.CustomResourceDefinition) {
	unchanged := func(now, was []apiextensions.SelectableField) bool {
		return len(was) > MaxSelectableFields && apiequality.Semantic.DeepEqual(now, was)
	}
	if unchanged(crd.Spec.SelectableFields, old.Spec.SelectableFields) {
		l.manyFields.Insert("")
	}
	for _, v := range crd.Spec.Versions {
		now, err := apiextensions.GetSchemaForVersion(crd, v.Name)
		if err != nil {
			continue
		}
		if was, err := apiextensions.GetSchemaForVersion(old, v.Name); err == nil && apiequality.Semantic.DeepEqual(now, was) {
			l.sameSchema.Insert(v.Name)
		}
		for _, o := range old.Spec.Versions {
			if o.Name == v.Name && unchanged(v.SelectableFields, o.SelectableFields) {
				l.manyFields.Insert(v.Name)
			}
		}
	}
}

// schemasOf are all the schemas of a definition.
func schemasOf(spec *apiextensions.CustomResourceDefinitionSpec) []*apiextensions.JSONSchemaProps {
	var all []*apiextensions.JSONSchemaProps
	if spec.Validation != nil && spec.Validation.OpenAPIV3Schema != nil {
		all = append(all, spec.Validation.OpenAPIV3Schema)
	}
	for i := range spec.Versions {
		if v := spec.Versions[i].Schema; v != nil && v.OpenAPIV3Schema != nil {
			all = append(all, v.OpenAPIV3Schema)
		}
	}
	return all
}

func anySchema(spec *apiextensions.CustomResourceDefinitionSpec, is func(s *apiextensions.JSONSchemaProps) bool) bool {
	return slices.ContainsFunc(schemasOf(spec), func(s *apiextensions.JSONSchemaProps) bool { return within(s, is) })
}

// within says whether a schema or one inside of it is something. It visits them
// until it is.
func within(s *apiextensions.JSONSchemaProps, is func(s *apiextensions.JSONSchemaProps) bool) bool {
	if s == nil {
		return false
	}
	if is(s) || within(s.Not, is) {
		return true
	}
	var inside []*apiextensions.JSONSchemaProps
	for _, list := range [][]apiextensions.JSONSchemaProps{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			inside = append(inside, &list[i])
		}
	}
	if s.Items != nil {
		inside = append(inside, s.Items.Schema)
		for i := range s.Items.JSONSchemas {
			inside = append(inside, &s.Items.JSONSchemas[i])
		}
	}
	if s.AdditionalProperties != nil {
		inside = append(inside, s.AdditionalProperties.Schema)
	}
	if s.AdditionalItems != nil {
		inside = append(inside, s.AdditionalItems.Schema)
	}
	for _, named := range []map[string]apiextensions.JSONSchemaProps{s.Properties, s.PatternProperties, s.Definitions} {
		for _, schema := range named {
			inside = append(inside, &schema)
		}
	}
	for _, d := range s.Dependencies {
		inside = append(inside, d.Schema)
	}
	return slices.ContainsFunc(inside, func(s *apiextensions.JSONSchemaProps) bool { return within(s, is) })
}

// extended says that a schema uses what only structural schemas may.
func extended(s *apiextensions.JSONSchemaProps) bool {
	return s.XEmbeddedResource || s.XPreserveUnknownFields != nil || s.XIntOrString || len(s.XListMapKeys) > 0 || s.XListType != nil || len(s.XValidations) > 0
}

func isStructural(s *apiextensions.JSONSchemaProps) bool {
	form, err := structural(s)
	return err == nil && len(structuralschema.ValidateStructural(nil, form)) == 0
}

func hasUnprunedDefaults(s *apiextensions.JSONSchemaProps) bool {
	if !within(s, func(s *apiextensions.JSONSchemaProps) bool { return s.Default != nil }) || !isStructural(s) {
		return false
	}
	form, err := structural(s)
	if err != nil {
		return false
	}
	pruned := form.DeepCopy()
	if err := defaulting.PruneDefaults(pruned); err != nil {
		return false
	}
	return !reflect.DeepEqual(form, pruned)
}
