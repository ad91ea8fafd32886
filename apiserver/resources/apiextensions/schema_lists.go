package apiextensions

import (
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// typeFor: an extension goes with one type only.
func typeFor(s *apiextensions.JSONSchemaProps, want, extension string, path *field.Path) field.ErrorList {
	message := "must be " + want + " if " + extension + " is specified"
	switch s.Type {
	case want:
		return nil
	case "":
		return field.ErrorList{field.Required(path.Child("type"), message)}
	}
	return field.ErrorList{field.Invalid(path.Child("type"), s.Type, message)}
}

func (c *checker) mapType(s *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	if s.XMapType == nil {
		return nil
	}
	errs := typeFor(s, "object", "x-kubernetes-map-type", path)
	if kinds := []string{"atomic", "granular"}; !slices.Contains(kinds, *s.XMapType) {
		errs = append(errs, field.NotSupported(path.Child("x-kubernetes-map-type"), *s.XMapType, kinds))
	}
	return errs
}

func (c *checker) listType(s *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("x-kubernetes-list-type")
	if s.XListType != nil {
		if s.Type != "array" {
			errs = append(errs, typeFor(s, "array", "x-kubernetes-list-type", path)...)
		} else if !c.forgiven.setItems && looseSet(s) {
			items, item := s.Items.Schema, path.Child("items")
			const message = "must be atomic as item of a list with x-kubernetes-list-type=set"
			if items.Type == "array" {
				errs = append(errs, field.Invalid(item.Child("x-kubernetes-list-type"), items.XListType, message))
			} else {
				errs = append(errs, field.Invalid(item.Child("x-kubernetes-map-type"), items.XListType, message))
			}
		}
		if kinds := []string{"atomic", "set", "map"}; !slices.Contains(kinds, *s.XListType) {
			errs = append(errs, field.NotSupported(at, *s.XListType, kinds))
		}
	}
	isMap := s.XListType != nil && *s.XListType == "map"
	if len(s.XListMapKeys) > 0 && !isMap {
		const message = "must be map if x-kubernetes-list-map-keys is non-empty"
		if s.XListType == nil {
			errs = append(errs, field.Required(at, message))
		} else {
			errs = append(errs, field.Invalid(at, *s.XListType, message))
		}
	}
	if isMap {
		errs = append(errs, mapList(s, path)...)
	}
	return errs
}

// looseSet says that the items of a set can be told apart only in part: they are
// lists or maps that merge.
func looseSet(s *apiextensions.JSONSchemaProps) bool {
	if s.XListType == nil || *s.XListType != "set" || s.Items == nil || s.Items.Schema == nil {
		return false
	}
	switch items := s.Items.Schema; items.Type {
	case "array":
		return items.XListType != nil && *items.XListType != "atomic"
	case "object":
		return items.XMapType == nil || *items.XMapType != "atomic"
	}
	return false
}

// mapList checks a list whose items are found by keys.
func mapList(s *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	keys := path.Child("x-kubernetes-list-map-keys")
	if len(s.XListMapKeys) == 0 {
		errs = append(errs, field.Required(keys, "must not be empty if x-kubernetes-list-type is map"))
	}
	switch {
	case s.Items == nil:
		return append(errs, field.Required(path.Child("items"), "must have a schema if x-kubernetes-list-type is map"))
	case s.Items.Schema == nil:
		return append(errs, field.Invalid(path.Child("items"), s.Items, "must only have a single schema if x-kubernetes-list-type is map"))
	case s.Items.Schema.Type != "object":
		return append(errs, field.Invalid(path.Child("items", "type"), s.Items.Schema.Type, "must be object if parent array's x-kubernetes-list-type is map"))
	}
	for i, key := range s.XListMapKeys {
		property, known := s.Items.Schema.Properties[key]
		if !known {
			errs = append(errs, field.Invalid(keys, s.XListMapKeys, "entries must all be names of item properties"))
		} else if property.Type == "array" || property.Type == "object" {
			errs = append(errs, field.Invalid(path.Child("items", "properties").Key(key).Child("type"), s.Items.Schema.Type, "must be a scalar type if parent array's x-kubernetes-list-type is map"))
		}
		if slices.Contains(s.XListMapKeys[:i], key) {
			errs = append(errs, field.Invalid(keys, s.XListMapKeys, "must not contain duplicate entries"))
		}
	}
	return errs
}

// listKeys: every item of a set or a map list is there, with all of its keys.
func listKeys(s *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	if s.Items == nil || s.Items.Schema == nil || s.XListType == nil || *s.XListType != "set" && *s.XListType != "map" {
		return nil
	}
	var errs field.ErrorList
	items, at := s.Items.Schema, path.Child("items")
	if items.Nullable {
		errs = append(errs, field.Forbidden(at.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is "+*s.XListType))
	}
	if *s.XListType != "map" {
		return errs
	}
	for _, key := range s.XListMapKeys {
		property, known := items.Properties[key]
		if !known {
			continue
		}
		property, where := property, at.Child("properties").Key(key)
		if !slices.Contains(items.Required, key) && property.Default == nil {
			errs = append(errs, field.Required(where.Child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"))
		}
		if property.Nullable {
			errs = append(errs, field.Forbidden(where.Child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"))
		}
	}
	return errs
}
