package customresources

import (
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// version is one version of a kind, with what its schema is made into. That is made
// when it is first needed: a cluster has many definitions and uses few at a time.
type version struct {
	gvk        schema.GroupVersionKind
	namespaced bool
	spec       *apiextensionsv1.CustomResourceDefinitionVersion
	// preserve: fields that the schema does not know are kept everywhere.
	preserve bool

	// schema as the libraries take it, and its structural form, with defaults that
	// fit; nil where there is none. They are shared and read-only.
	schema     func() *apiextensions.JSONSchemaProps
	structural func() *structuralschema.Structural
	// validator of whole objects, statusValidator of their status, rules those of
	// CEL; nil where there is nothing to check.
	validator       func() validation.SchemaValidator
	statusValidator func() validation.SchemaValidator
	rules           func() *cel.Validator
}

func newVersion(crd *apiextensionsv1.CustomResourceDefinition, spec *apiextensionsv1.CustomResourceDefinitionVersion) *version {
	v := &version{
		gvk:        schema.GroupVersionKind{Group: crd.Spec.Group, Version: spec.Name, Kind: crd.Status.AcceptedNames.Kind},
		namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped, spec: spec, preserve: crd.Spec.PreserveUnknownFields,
	}
	v.schema = sync.OnceValue(func() *apiextensions.JSONSchemaProps {
		schema, err := internalSchema(spec)
		if err != nil {
			return nil // its raw values are JSON: they have been stored
		}
		return schema
	})
	v.structural = sync.OnceValue(func() *structuralschema.Structural {
		s := v.schema()
		if s == nil {
			return nil
		}
		form, err := structuralschema.NewStructural(s)
		if err != nil {
			return nil // older than the rule: see the condition NonStructuralSchema
		}
		if v.preserve {
			return form
		}
		pruned := form.DeepCopy()
		if err := defaulting.PruneDefaults(pruned); err != nil {
			return form
		}
		return pruned
	})
	v.validator = sync.OnceValue(func() validation.SchemaValidator { return newValidator(v.schema()) })
	v.statusValidator = sync.OnceValue(func() validation.SchemaValidator {
		if s := v.schema(); s != nil {
			if status, ok := s.Properties["status"]; ok {
				return newValidator(&status)
			}
		}
		return nil
	})
	v.rules = sync.OnceValue(func() *cel.Validator {
		if s := v.structural(); s != nil {
			return cel.NewValidator(s, true, celconfig.PerCallLimit)
		}
		return nil
	})
	return v
}

func newValidator(s *apiextensions.JSONSchemaProps) validation.SchemaValidator {
	if s == nil {
		return nil
	}
	v, _, err := validation.NewSchemaValidator(s)
	if err != nil {
		return nil // the definition's own validation makes one
	}
	return v
}

func (v *version) hasStatus() bool {
	return v.spec.Subresources != nil && v.spec.Subresources.Status != nil
}

func (v *version) scale() *apiextensionsv1.CustomResourceSubresourceScale {
	if v.spec.Subresources == nil {
		return nil
	}
	return v.spec.Subresources.Scale
}
