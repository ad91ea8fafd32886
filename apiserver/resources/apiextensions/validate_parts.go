package apiextensions

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// MaxSelectableFields of one version.
const MaxSelectableFields = 8

var (
	columnTypes    = []string{"boolean", "date", "integer", "number", "string"}
	columnFormats  = []string{"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}
	reviewVersions = []string{"v1", "v1beta1"}
)

func validateColumn(column *apiextensions.CustomResourceColumnDefinition, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if column.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	types := "must be one of " + strings.Join(columnTypes, ",")
	if column.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), types))
	} else if !slices.Contains(columnTypes, column.Type) {
		errs = append(errs, field.Invalid(path.Child("type"), column.Type, types))
	}
	if column.Format != "" && !slices.Contains(columnFormats, column.Format) {
		errs = append(errs, field.Invalid(path.Child("format"), column.Format, "must be one of "+strings.Join(columnFormats, ",")))
	}
	if column.JSONPath == "" {
		return append(errs, field.Required(path.Child("JSONPath"), ""))
	}
	return append(errs, validateJSONPath(column.JSONPath, path.Child("JSONPath"))...)
}

func validateJSONPath(value string, path *field.Path) field.ErrorList {
	switch {
	case value == "":
		return field.ErrorList{field.Invalid(path, value, "must not be empty")}
	case value[0] != '.':
		return field.ErrorList{field.Invalid(path, value, "must be a simple json path starting with .")}
	}
	return nil
}

func validateSubresources(s *apiextensions.CustomResourceSubresources, path *field.Path) field.ErrorList {
	if s == nil || s.Scale == nil {
		return nil
	}
	var errs field.ErrorList
	below := func(value string, at *field.Path, message string, roots ...string) {
		if wrong := validateJSONPath(value, at); len(wrong) > 0 {
			errs = append(errs, wrong...)
		} else if !slices.ContainsFunc(roots, func(root string) bool { return strings.HasPrefix(value, root) }) {
			errs = append(errs, field.Invalid(at, value, message))
		}
	}
	spec, status := path.Child("scale.specReplicasPath"), path.Child("scale.statusReplicasPath")
	if s.Scale.SpecReplicasPath == "" {
		errs = append(errs, field.Required(spec, ""))
	} else {
		below(s.Scale.SpecReplicasPath, spec, "should be a json path under .spec", ".spec.")
	}
	if s.Scale.StatusReplicasPath == "" {
		errs = append(errs, field.Required(status, ""))
	} else {
		below(s.Scale.StatusReplicasPath, status, "should be a json path under .status", ".status.")
	}
	if p := s.Scale.LabelSelectorPath; p != nil && *p != "" {
		below(*p, path.Child("scale.labelSelectorPath"), "should be a json path under either .spec or .status", ".spec.", ".status.")
	}
	return errs
}

func validateSelectable(selectable []apiextensions.SelectableField, of *apiextensions.JSONSchemaProps, manyAllowed bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	schema, err := structural(of)
	if err != nil {
		errs = append(errs, field.Invalid(path.Child("schema.openAPIV3Schema"), "", err.Error()))
	}
	path = path.Child("selectableFields")
	seen := sets.New[string]()
	for i, f := range selectable {
		at := path.Index(i).Child("jsonPath")
		if f.JSONPath == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		found, leaf, err := cel.ValidFieldPath(f.JSONPath, schema, cel.WithFieldPathAllowArrayNotation(false))
		if err != nil {
			errs = append(errs, field.Invalid(at, f.JSONPath, fmt.Sprintf("is an invalid path: %v", err)))
			continue
		}
		if found.Root().String() == "metadata" {
			errs = append(errs, field.Invalid(at, f.JSONPath, "must not point to fields in metadata"))
		}
		if leaf == nil || !slices.Contains([]string{"string", "boolean", "integer"}, leaf.Type) {
			errs = append(errs, field.Invalid(at, f.JSONPath, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
		}
		if seen.Has(found.String()) {
			errs = append(errs, field.Duplicate(at, f.JSONPath))
		}
		seen.Insert(found.String())
	}
	if seen.Len() > MaxSelectableFields && !manyAllowed {
		errs = append(errs, field.TooMany(path, seen.Len(), MaxSelectableFields))
	}
	return errs
}

func validateConversion(c *apiextensions.CustomResourceConversion, forgiven leniency, path *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	errs := rules.Enum(c.Strategy, path.Child("strategy"), apiextensions.NoneConverter, apiextensions.WebhookConverter)
	client, versions := path.Child("webhookClientConfig"), path.Child("conversionReviewVersions")
	if c.Strategy != apiextensions.WebhookConverter {
		if c.WebhookClientConfig != nil {
			errs = append(errs, field.Forbidden(client, "should not be set when strategy is not set to Webhook"))
		}
		if len(c.ConversionReviewVersions) > 0 {
			errs = append(errs, field.Forbidden(versions, "should not be set when strategy is not set to Webhook"))
		}
		return errs
	}
	if to := c.WebhookClientConfig; to == nil {
		errs = append(errs, field.Required(client, "required when strategy is set to Webhook"))
	} else {
		switch {
		case (to.URL == nil) == (to.Service == nil):
			errs = append(errs, field.Required(client, "exactly one of url or service is required"))
		case to.URL != nil:
			errs = append(errs, rules.WebhookURL(*to.URL, client.Child("url"))...)
		default:
			errs = append(errs, rules.WebhookService(to.Service.Name, to.Service.Namespace, to.Service.Path, to.Service.Port, client.Child("service"))...)
		}
		if !forgiven.badBundle {
			errs = append(errs, rules.CABundle(to.CABundle, client.Child("caBundle"))...)
		}
	}
	return append(errs, validateReviewVersions(c.ConversionReviewVersions, forgiven.reviewVersions, versions)...)
}

func validateReviewVersions(versions []string, anyAllowed bool, path *field.Path) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	seen, known := map[string]bool{}, false
	for i, v := range versions {
		if seen[v] {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		seen[v] = true
		errs = append(errs, rules.Matches(v, path.Index(i), validation.IsDNS1035Label(v))...)
		known = known || slices.Contains(reviewVersions, v)
	}
	if !known && !anyAllowed {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of "+strings.Join(reviewVersions, ", ")))
	}
	return errs
}
