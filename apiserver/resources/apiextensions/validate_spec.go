package apiextensions

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

func validateSpec(spec *apiextensions.CustomResourceDefinitionSpec, forgiven leniency) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	switch messages := validation.IsDNS1123Subdomain(spec.Group); {
	case spec.Group == "":
		errs = append(errs, field.Required(path.Child("group"), ""))
	case len(messages) > 0:
		errs = append(errs, joined(spec.Group, path.Child("group"), messages)...)
	case !strings.Contains(spec.Group, "."):
		errs = append(errs, field.Invalid(path.Child("group"), spec.Group, "should be a domain with at least one dot"))
	}
	errs = append(errs, rules.Enum(spec.Scope, path.Child("scope"), apiextensions.ClusterScoped, apiextensions.NamespaceScoped)...)

	pruned := spec.PreserveUnknownFields == nil || !*spec.PreserveUnknownFields
	errs = append(errs, schemasGiven(spec, pruned, forgiven, path)...)
	if pruned {
		forgiven.nonStructural = false
	}
	if anySchema(spec, func(s *apiextensions.JSONSchemaProps) bool { return s.Default != nil }) {
		forgiven.nonStructural = false
		if spec.PreserveUnknownFields == nil || *spec.PreserveUnknownFields {
			errs = append(errs, field.Invalid(path.Child("preserveUnknownFields"), true, "must be false in order to use defaults in the schema"))
		}
	}
	if anySchema(spec, extended) {
		forgiven.nonStructural = false
	}
	errs = append(errs, validateVersions(spec, forgiven, path)...)

	for _, name := range []struct{ field, value string }{
		{"plural", spec.Names.Plural}, {"singular", spec.Names.Singular}, {"kind", spec.Names.Kind}, {"listKind", spec.Names.ListKind},
	} {
		if name.value == "" {
			errs = append(errs, field.Required(path.Child("names", name.field), ""))
		}
	}
	errs = append(errs, validateNames(&spec.Names, path.Child("names"))...)
	errs = append(errs, validateSchema(spec.Validation, anyStatus(spec), forgiven, forgiven.sameSchema.Has(spec.Version), path.Child("validation"))...)
	errs = append(errs, validateSubresources(spec.Subresources, path.Child("subresources"))...)
	for i := range spec.AdditionalPrinterColumns {
		errs = append(errs, validateColumn(&spec.AdditionalPrinterColumns[i], path.Child("additionalPrinterColumns").Index(i))...)
	}
	if len(spec.SelectableFields) > 0 {
		if spec.Validation == nil {
			errs = append(errs, field.Invalid(path.Child("selectableFields"), "", "may only be set when validations.schema is included"))
		} else {
			errs = append(errs, validateSelectable(spec.SelectableFields, spec.Validation.OpenAPIV3Schema, forgiven.manyFields.Has(""), path)...)
		}
	}
	if spec.Conversion != nil && spec.Conversion.Strategy != apiextensions.NoneConverter && (spec.PreserveUnknownFields == nil || *spec.PreserveUnknownFields) {
		errs = append(errs, field.Invalid(path.Child("conversion", "strategy"), spec.Conversion.Strategy, "must be None if spec.preserveUnknownFields is true"))
	}
	return append(errs, validateConversion(spec.Conversion, forgiven, path.Child("conversion"))...)
}

// schemasGiven: what has no schema would lose all its fields.
func schemasGiven(spec *apiextensions.CustomResourceDefinitionSpec, pruned bool, forgiven leniency, path *field.Path) field.ErrorList {
	if spec.Validation != nil && spec.Validation.OpenAPIV3Schema != nil {
		return nil
	}
	var errs field.ErrorList
	for i, v := range spec.Versions {
		if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			continue
		}
		at := path.Child("versions").Index(i).Child("schema", "openAPIV3Schema")
		switch {
		case !forgiven.noSchema:
			errs = append(errs, field.Required(at, ""))
		case pruned && v.Served:
			errs = append(errs, field.Required(at, "because otherwise all fields are pruned"))
		}
	}
	return errs
}

func validateVersions(spec *apiextensions.CustomResourceDefinitionSpec, forgiven leniency, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	stored, unique, seen := 0, true, map[string]bool{}
	for i := range spec.Versions {
		v, at := &spec.Versions[i], path.Child("versions").Index(i)
		if v.Storage {
			stored++
		}
		unique = unique && !seen[v.Name]
		seen[v.Name] = true
		errs = append(errs, joined(v.Name, at.Child("name"), validation.IsDNS1035Label(v.Name))...)
		errs = append(errs, validateVersion(spec, v, forgiven, at)...)
	}
	errs = append(errs, onceOrEach(spec, path)...)
	if !unique {
		errs = append(errs, field.Invalid(path.Child("versions"), spec.Versions, "must contain unique version names"))
	}
	if stored != 1 {
		errs = append(errs, field.Invalid(path.Child("versions"), spec.Versions, "must have exactly one version marked as storage version"))
	}
	if spec.Version != "" {
		errs = append(errs, joined(spec.Version, path.Child("version"), validation.IsDNS1035Label(spec.Version))...)
		if len(spec.Versions) > 0 && spec.Versions[0].Name != spec.Version {
			errs = append(errs, field.Invalid(path.Child("version"), spec.Version, "must match the first version in spec.versions"))
		}
	}
	return errs
}

func validateVersion(spec *apiextensions.CustomResourceDefinitionSpec, v *apiextensions.CustomResourceDefinitionVersion, forgiven leniency, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, message := range deprecationMistakes(v) {
		errs = append(errs, field.Invalid(path.Child("deprecationWarning"), v.DeprecationWarning, message))
	}
	subresources := v.Subresources
	if !apiextensions.HasPerVersionSubresources(spec.Versions) {
		subresources = spec.Subresources
	}
	errs = append(errs, validateSchema(v.Schema, hasStatus(subresources), forgiven, forgiven.sameSchema.Has(v.Name), path.Child("schema"))...)
	errs = append(errs, validateSubresources(v.Subresources, path.Child("subresources"))...)
	for i := range v.AdditionalPrinterColumns {
		errs = append(errs, validateColumn(&v.AdditionalPrinterColumns[i], path.Child("additionalPrinterColumns").Index(i))...)
	}
	if len(v.SelectableFields) > 0 {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			errs = append(errs, field.Invalid(path.Child("selectableFields"), "", "may only be set when `version.schema.openAPIV3Schema` is not included"))
		} else {
			errs = append(errs, validateSelectable(v.SelectableFields, v.Schema.OpenAPIV3Schema, forgiven.manyFields.Has(v.Name), path)...)
		}
	}
	return errs
}

func deprecationMistakes(v *apiextensions.CustomResourceDefinitionVersion) []string {
	if v.DeprecationWarning == nil {
		return nil
	}
	if !v.Deprecated {
		return []string{"can only be set for deprecated versions"}
	}
	text := *v.DeprecationWarning
	var mistakes []string
	if len(text) > 256 {
		mistakes = append(mistakes, "must be <= 256 characters long")
	}
	if text == "" {
		mistakes = append(mistakes, "must not be an empty string")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		mistakes = append(mistakes, fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i))
	}
	if !utf8.ValidString(text) {
		mistakes = append(mistakes, "must only contain printable UTF-8 characters")
	}
	return mistakes
}

// onceOrEach: what versions may have each for itself stands either there, or once
// for all of them.
func onceOrEach(spec *apiextensions.CustomResourceDefinitionSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, part := range []struct {
		plural, name, whole string
		all                 bool
		each                func(v *apiextensions.CustomResourceDefinitionVersion) any
	}{
		{"schemas", "validation", "validation", spec.Validation != nil, func(v *apiextensions.CustomResourceDefinitionVersion) any { return v.Schema }},
		{"subresources", "subresources", "subresources", spec.Subresources != nil, func(v *apiextensions.CustomResourceDefinitionVersion) any { return v.Subresources }},
		{"additionalPrinterColumns", "additionalPrinterColumns", "additionalPrinterColumns", len(spec.AdditionalPrinterColumns) > 0, func(v *apiextensions.CustomResourceDefinitionVersion) any { return v.AdditionalPrinterColumns }},
	} {
		given, alike := 0, len(spec.Versions) > 0
		for i := range spec.Versions {
			value := reflect.ValueOf(part.each(&spec.Versions[i]))
			absent := value.IsNil() || value.Kind() == reflect.Slice && value.Len() == 0
			if !absent {
				given++
			}
			alike = alike && !absent && apiequality.Semantic.DeepEqual(value.Interface(), part.each(&spec.Versions[0]))
		}
		if part.all && given > 0 {
			errs = append(errs, field.Forbidden(path.Child(part.name), fmt.Sprintf("top-level and per-version %s are mutually exclusive", part.plural)))
		}
		if alike {
			errs = append(errs, field.Invalid(path.Child("versions"), spec.Versions, fmt.Sprintf("per-version %s may not all be set to identical values (top-level %s should be used instead)", part.plural, part.whole)))
		}
	}
	return errs
}

func hasStatus(s *apiextensions.CustomResourceSubresources) bool { return s != nil && s.Status != nil }

func anyStatus(spec *apiextensions.CustomResourceDefinitionSpec) bool {
	is := hasStatus(spec.Subresources)
	for _, v := range spec.Versions {
		is = is || hasStatus(v.Subresources)
	}
	return is
}

// structural is the structural form of a schema, nil with the reason where it has
// none.
func structural(schema *apiextensions.JSONSchemaProps) (*structuralschema.Structural, error) {
	return structuralschema.NewStructural(schema)
}
