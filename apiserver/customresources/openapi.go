package customresources

import (
	"strings"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	openapiv2 "k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/openapi"
)

// openAPI describes a version for clients. Version 2 of the specification can say
// less, and kubectl takes what it says for all there is: where fields are kept that
// the schema does not know, nothing is said.
func (v *version) openAPI(v2 bool) *spec.Schema {
	s := v.structural()
	if s == nil || len(structuralschema.ValidateStructural(nil, s)) > 0 || v2 && (s.XPreserveUnknownFields || v.preserve) {
		return nil
	}
	s = s.Unfold()
	if v2 {
		s = openapiv2.ToStructuralOpenAPIV2(s)
	}
	described := s.ToKubeOpenAPI()
	if selectable := v.spec.SelectableFields; len(selectable) > 0 {
		list := make([]any, len(selectable))
		for i, f := range selectable {
			list[i] = map[string]any{"fieldPath": strings.TrimPrefix(f.JSONPath, ".")}
		}
		described.AddExtension("x-kubernetes-selectable-fields", list)
	}
	return described
}

// mergeSchema says how the fields of all versions merge in server-side apply: by
// their schemas, or, where one has none, by the structure of objects.
func (k *kind) mergeSchema() (managedfields.TypeConverter, error) {
	kinds := map[schema.GroupVersionKind]*spec.Schema{}
	for _, v := range k.versions {
		s := v.structural()
		if s == nil {
			return managedfields.NewDeducedTypeConverter(), nil
		}
		kinds[v.gvk] = s.Unfold().StripValueValidations().StripNullable().ToKubeOpenAPI()
	}
	models, err := openapi.Models(kinds)
	if err != nil {
		return nil, err
	}
	return managedfields.NewTypeConverter(models, k.crd.Spec.PreserveUnknownFields)
}
