package apiextensions

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	schemaTypes = []string{"array", "boolean", "integer", "number", "object", "string"}
	// rootFields are what the root of a schema may have where status is a
	// sub-resource: that is checked by itself, with the schema of its property.
	rootFields = []string{
		"Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength", "MinLength",
		"Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs", "Example",
		"XPreserveUnknownFields", "XValidations",
	}
)

// validateSchema checks the schema of one version, or of all. unchanged says that
// it is the one that is stored.
func validateSchema(v *apiextensions.CustomResourceValidation, statusEnabled bool, forgiven leniency, unchanged bool, path *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	schema, at := v.OpenAPIV3Schema, path.Child("openAPIV3Schema")
	var errs field.ErrorList
	if schema != nil {
		if statusEnabled {
			errs = append(errs, validateRoot(schema, path)...)
		}
		if schema.Nullable {
			errs = append(errs, field.Forbidden(path.Child("openAPIV3Schema.nullable"), "nullable cannot be true at the root"))
		}
		c := &checker{forgiven: forgiven, unchanged: unchanged}
		var rules *scope
		var unstructured *field.Error
		if !forgiven.nonStructural {
			wrong, err := validateStructure(schema, forgiven, at)
			switch {
			case err != nil:
				unstructured = field.Invalid(at, "", err.Error())
			case len(wrong) == 0:
				rules = rootScope(schema)
			}
			errs = append(errs, wrong...)
		}
		found := c.check(schema, at, place{root: true, defaults: true}, rules)
		errs = append(errs, found.all()...)
		// What makes a schema not structural mostly shows in other errors, which say
		// it better.
		if len(errs) == 0 && unstructured != nil {
			errs = append(errs, unstructured)
		}
		if rules != nil {
			errs = append(errs, rules.total.check(at)...)
		}
	}
	if len(errs) == 0 {
		if _, _, err := apivalidation.NewSchemaValidator(schema); err != nil {
			errs = append(errs, field.Invalid(path, "", fmt.Sprintf("error building validator: %v", err)))
		}
	}
	return errs
}

func validateRoot(schema *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	for f, value := range reflect.ValueOf(schema).Elem().Fields() {
		switch {
		case value.IsZero():
		case f.Name == "Type":
			if schema.Type != "object" {
				return field.ErrorList{field.Invalid(path.Child("openAPIV3Schema.type"), schema.Type, `only "object" is allowed as the type at the root of the schema if the status subresource is enabled`)}
			}
		case !slices.Contains(rootFields, f.Name):
			return field.ErrorList{field.Invalid(path.Child("openAPIV3Schema"), *schema,
				fmt.Sprintf("only %v fields are allowed at the root of the schema if the status subresource is enabled", rootFields))}
		}
	}
	return nil
}

// validateStructure checks that a schema is structural, and its defaults. The error
// says why it has no structural form at all.
func validateStructure(schema *apiextensions.JSONSchemaProps, forgiven leniency, path *field.Path) (field.ErrorList, error) {
	s, err := structural(schema)
	if err != nil {
		return nil, err
	}
	if errs := structuralschema.ValidateStructural(path, s); len(errs) > 0 {
		return errs, nil
	}
	errs, err := defaulting.ValidateDefaults(context.Background(), path, s, true, !forgiven.unprunedDefaults)
	if err != nil {
		errs = append(errs, field.Invalid(path, "", err.Error()))
	}
	return errs, nil
}

// checker walks one schema.
type checker struct {
	forgiven leniency
	// unchanged: the cost of single rules does not count, they are stored already.
	unchanged bool
}

// place is what a schema may be, by where it stands.
type place struct {
	root bool
	// defaults are allowed, or else why not.
	defaults    bool
	whyNot      string
	insideMeta  bool
	uncorrelate *field.Path // the nearest to the root of what old and new objects cannot be matched within
}

func (p place) below() place {
	p.root = false
	return p
}

func (p place) withoutDefaults(why string) place {
	p.defaults, p.whyNot = false, why
	return p
}

func (p place) uncorrelated(path *field.Path) place {
	if p.uncorrelate == nil {
		p.uncorrelate = path
	}
	return p
}

// findings of a schema and all below it. Rules are checked only where the schema
// they stand in is sound.
type findings struct{ schema, rules field.ErrorList }

func (f *findings) add(other findings) {
	f.schema = append(f.schema, other.schema...)
	f.rules = append(f.rules, other.rules...)
}

func (f *findings) all() field.ErrorList { return append(f.schema, f.rules...) }

func (c *checker) check(s *apiextensions.JSONSchemaProps, path *field.Path, in place, rules *scope) (out findings) {
	if s == nil {
		return out
	}
	out.schema = append(out.schema, c.unsupported(s, path, in)...)
	if s.UniqueItems {
		out.schema = append(out.schema, field.Forbidden(path.Child("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"))
	}
	c.checkChildren(s, path, in, rules, &out)
	if p := s.XPreserveUnknownFields; p != nil && !*p {
		out.schema = append(out.schema, field.Invalid(path.Child("x-kubernetes-preserve-unknown-fields"), *p, "must be true or undefined"))
	}
	out.schema = append(out.schema, c.mapType(s, path)...)
	out.schema = append(out.schema, c.listType(s, path)...)
	if !c.forgiven.listKeys {
		out.schema = append(out.schema, listKeys(s, path)...)
	}
	if len(s.XValidations) > 0 {
		out.schema = append(out.schema, ruleShapes(s, path)...)
		if len(out.schema) == 0 && rules != nil {
			out.rules = append(out.rules, c.compile(s, path, in, rules)...)
		}
	}
	return out
}

// checkChildren checks every schema inside of s.
func (c *checker) checkChildren(s *apiextensions.JSONSchemaProps, path *field.Path, in place, rules *scope, out *findings) {
	below := in.below()
	if more := s.AdditionalProperties; more != nil {
		if len(s.Properties) > 0 && (!more.Allows || more.Schema != nil) {
			out.schema = append(out.schema, field.Forbidden(path.Child("additionalProperties"), "additionalProperties and properties are mutual exclusive"))
		}
		there := below
		if in.insideMeta {
			there = there.withoutDefaults("inside additionalProperties applying to object metadata")
		}
		out.add(c.check(more.Schema, path.Child("additionalProperties"), there, rules.values(more.Schema)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		property, there := s.Properties[name], below
		if !cel.MapIsCorrelatable(s.XMapType) {
			there = there.uncorrelated(path)
		}
		if (in.root || s.XEmbeddedResource) && (name == "metadata" || name == "kind" || name == "apiVersion") {
			there.insideMeta = true
			if in.root {
				there = there.withoutDefaults("in top-level " + name)
			}
		}
		out.add(c.check(&property, path.Child("properties").Key(name), there, rules.property(&property, name)))
	}
	out.add(c.check(s.Not, path.Child("not"), below, nil))
	for name, list := range map[string][]apiextensions.JSONSchemaProps{"allOf": s.AllOf, "oneOf": s.OneOf, "anyOf": s.AnyOf} {
		for i := range list {
			out.add(c.check(&list[i], path.Child(name).Index(i), below, nil))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Definitions)) {
		definition := s.Definitions[name]
		out.add(c.check(&definition, path.Child("definitions").Key(name), below, nil))
	}
	if s.Items != nil {
		there := below
		if s.XListType == nil || *s.XListType != "map" {
			there = there.uncorrelated(path)
		}
		out.add(c.check(s.Items.Schema, path.Child("items"), there, rules.items(s.Items.Schema)))
		for i := range s.Items.JSONSchemas {
			out.add(c.check(&s.Items.JSONSchemas[i], path.Child("items").Index(i), there, rules.items(&s.Items.JSONSchemas[i])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dependencies)) {
		out.add(c.check(s.Dependencies[name].Schema, path.Child("dependencies").Key(name), below, nil))
	}
}

// unsupported are the parts of OpenAPI that custom resources have not.
func (c *checker) unsupported(s *apiextensions.JSONSchemaProps, path *field.Path, in place) field.ErrorList {
	var errs field.ErrorList
	if !c.forgiven.propertyTypes && s.Type != "" && !slices.Contains(schemaTypes, s.Type) {
		errs = append(errs, field.NotSupported(path.Child("type"), s.Type, schemaTypes))
	}
	if s.Default != nil && !in.defaults {
		detail := "must not be set"
		if in.whyNot != "" {
			detail += " " + in.whyNot
		}
		errs = append(errs, field.Forbidden(path.Child("default"), detail))
	}
	for _, part := range []struct {
		set  bool
		name string
	}{
		{s.ID != "", "id"}, {s.AdditionalItems != nil, "additionalItems"}, {len(s.PatternProperties) > 0, "patternProperties"},
		{len(s.Definitions) > 0, "definitions"}, {s.Dependencies != nil, "dependencies"}, {s.Ref != nil, "$ref"},
	} {
		if part.set {
			errs = append(errs, field.Forbidden(path.Child(part.name), part.name+" is not supported"))
		}
	}
	if s.Type == "null" {
		errs = append(errs, field.Forbidden(path.Child("type"), "type cannot be set to null, use nullable as an alternative"))
	}
	if s.Items != nil && len(s.Items.JSONSchemas) > 0 {
		errs = append(errs, field.Forbidden(path.Child("items"), "items must be a schema object and not an array"))
	}
	if in.insideMeta && s.XEmbeddedResource {
		errs = append(errs, field.Forbidden(path.Child("x-kubernetes-embedded-resource"), "must not be used inside of resource meta"))
	}
	return errs
}
