package apiextensions

import (
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// warnings about what a definition says that has no effect. Those that the old one
// deserved already are not repeated.
func warnings(crd, old *apiextensionsv1.CustomResourceDefinition) []string {
	given := oddities(crd)
	if old == nil {
		return given
	}
	was := oddities(old)
	return slices.DeleteFunc(given, func(w string) bool { return slices.Contains(was, w) })
}

func oddities(crd *apiextensionsv1.CustomResourceDefinition) []string {
	in := internal(crd)
	var formats, sets []string
	for _, schema := range schemasOf(&in.Spec) {
		within(schema, func(s *apiextensions.JSONSchemaProps) bool {
			if s.Format != "" {
				described := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Type: []string{s.Type}}}
				for _, f := range apivalidation.GetUnrecognizedFormats(described, environment.DefaultCompatibilityVersion()) {
					formats = append(formats, fmt.Sprintf("unrecognized format %q", f))
				}
			}
			if s.XListType != nil && *s.XListType == "set" && s.Items != nil && s.Items.Schema != nil {
				if t := s.Items.Schema.Type; t == "object" || t == "array" {
					sets = append(sets, fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", t))
				}
			}
			return false
		})
	}
	slices.Sort(formats)
	slices.Sort(sets)
	return slices.Concat(slices.Compact(formats), slices.Compact(sets))
}
