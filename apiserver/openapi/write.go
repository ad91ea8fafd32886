package openapi

import (
	"cmp"
	"net/http"
	"slices"

	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// extensions that clients find an operation by.
func (op *operation) extensions() spec.VendorExtensible {
	var e spec.VendorExtensible
	if op.action == "" {
		return e
	}
	e.AddExtension("x-kubernetes-action", op.action)
	e.AddExtension("x-kubernetes-group-version-kind", map[string]any{
		"group": op.kind.Group, "version": op.kind.Version, "kind": op.kind.Kind,
	})
	return e
}

func v3Operation(op operation, models *schemas) *spec3.Operation {
	out := &spec3.Operation{VendorExtensible: op.extensions(), OperationProps: spec3.OperationProps{
		Tags: []string{op.tag}, Description: op.description, OperationId: op.id, Parameters: v3Parameters(op.parameters),
		Responses: &spec3.Responses{ResponsesProps: spec3.ResponsesProps{StatusCodeResponses: map[int]*spec3.Response{}}},
	}}
	content := func(types []string, schema spec.Schema) map[string]*spec3.MediaType {
		media := map[string]*spec3.MediaType{}
		for _, t := range types {
			media[t] = &spec3.MediaType{MediaTypeProps: spec3.MediaTypeProps{Schema: &schema}}
		}
		return media
	}
	if !op.body.none() {
		types := op.consumes
		if types == nil {
			types = []string{"*/*"}
		}
		out.RequestBody = &spec3.RequestBody{RequestBodyProps: spec3.RequestBodyProps{
			Content: content(types, models.refTo(op.body)), Required: !op.mayLackBody,
		}}
	}
	for code, meaning := range op.codes {
		response := &spec3.Response{ResponseProps: spec3.ResponseProps{Description: meaning}}
		if code < http.StatusBadRequest {
			response.Content = content(op.produces, op.answerSchema(models))
		}
		out.Responses.StatusCodeResponses[code] = response
	}
	return out
}

func (op *operation) answerSchema(models *schemas) spec.Schema {
	if op.answer.none() {
		return spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"string"}}}
	}
	return models.refTo(op.answer)
}

func v3Parameters(list []parameter) []*spec3.Parameter {
	var out []*spec3.Parameter
	for _, p := range list {
		out = append(out, &spec3.Parameter{ParameterProps: spec3.ParameterProps{
			Name: p.name, In: p.in, Description: p.description, Required: p.required,
			Schema: &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{p.typ}, UniqueItems: true}},
		}})
	}
	return out
}

func v3Method(path *spec3.Path, method string) **spec3.Operation {
	switch method {
	case http.MethodPost:
		return &path.Post
	case http.MethodPut:
		return &path.Put
	case http.MethodPatch:
		return &path.Patch
	case http.MethodDelete:
		return &path.Delete
	case http.MethodHead:
		return &path.Head
	case http.MethodOptions:
		return &path.Options
	default:
		return &path.Get
	}
}

func v2Operation(op operation, models *schemas) *spec.Operation {
	consumes := op.consumes
	if consumes == nil {
		consumes = []string{"*/*"}
	}
	out := &spec.Operation{VendorExtensible: op.extensions(), OperationProps: spec.OperationProps{
		Tags: []string{op.tag}, Description: op.description, ID: op.id, Schemes: []string{"https"},
		Consumes: consumes, Produces: slices.Clone(op.produces), Parameters: v2Parameters(op.parameters),
		Responses: &spec.Responses{ResponsesProps: spec.ResponsesProps{StatusCodeResponses: map[int]spec.Response{}}},
	}}
	if !op.body.none() {
		body := models.refTo(op.body)
		out.Parameters = append(out.Parameters, spec.Parameter{ParamProps: spec.ParamProps{
			Name: "body", In: "body", Required: !op.mayLackBody, Schema: &body,
		}})
		slices.SortFunc(out.Parameters, func(a, b spec.Parameter) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.In, b.In)) })
	}
	for code, meaning := range op.codes {
		response := spec.Response{ResponseProps: spec.ResponseProps{Description: meaning}}
		if code < http.StatusBadRequest {
			answer := op.answerSchema(models)
			response.Schema = &answer
		}
		out.Responses.StatusCodeResponses[code] = response
	}
	return out
}

func v2Parameters(list []parameter) []spec.Parameter {
	var out []spec.Parameter
	for _, p := range list {
		out = append(out, spec.Parameter{
			ParamProps:        spec.ParamProps{Name: p.name, In: p.in, Description: p.description, Required: p.required},
			SimpleSchema:      spec.SimpleSchema{Type: p.typ},
			CommonValidations: spec.CommonValidations{UniqueItems: true},
		})
	}
	return out
}

func v2Method(path *spec.PathItem, method string) **spec.Operation {
	switch method {
	case http.MethodPost:
		return &path.Post
	case http.MethodPut:
		return &path.Put
	case http.MethodPatch:
		return &path.Patch
	case http.MethodDelete:
		return &path.Delete
	case http.MethodHead:
		return &path.Head
	case http.MethodOptions:
		return &path.Options
	default:
		return &path.Get
	}
}
