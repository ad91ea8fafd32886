package validatingadmissionpolicystatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// maxSchema is how many schemas one may consist of once it refers to no other, so that
// the document of an extension server cannot grow without bound. The largest that is
// built in has two thousand.
const maxSchema = 100_000

var (
	errNoSchema = errors.New("no schema")
	errTooLarge = errors.New("the schema is too large")
)

// schemas finds the schemas of kinds in the server's OpenAPI v3 documents, each of
// which it reads once. It is for one reconcile.
type schemas struct {
	client    openapi.ClientWithContext
	paths     map[string]openapi.GroupVersionWithContext
	documents map[schema.GroupVersion]document
}

// document is the schemas of a group version by name.
type document map[string]*spec.Schema

func (s *schemas) of(ctx context.Context, kind schema.GroupVersionKind) (*spec.Schema, error) {
	d, err := s.document(ctx, kind.GroupVersion())
	if err != nil {
		return nil, err
	}
	return d.of(kind)
}

func (s *schemas) document(ctx context.Context, gv schema.GroupVersion) (document, error) {
	if d, ok := s.documents[gv]; ok {
		return d, nil
	}
	if s.paths == nil {
		paths, err := s.client.PathsWithContext(ctx)
		if err != nil {
			return nil, err
		}
		s.paths = paths
	}
	path := "apis/" + gv.String()
	if gv.Group == "" {
		path = "api/" + gv.Version
	}
	at, ok := s.paths[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", gv, errNoSchema)
	}
	data, err := at.SchemaWithContext(ctx, "application/json")
	if err != nil {
		return nil, err
	}
	var content struct {
		Components struct {
			Schemas document `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("the OpenAPI document of %s: %w", gv, err)
	}
	if s.documents == nil {
		s.documents = map[schema.GroupVersion]document{}
	}
	s.documents[gv] = content.Components.Schemas
	return content.Components.Schemas, nil
}

// of is the schema of a kind, with those that it refers to in their places.
func (d document) of(kind schema.GroupVersionKind) (*spec.Schema, error) {
	for name, s := range d {
		var kinds []schema.GroupVersionKind
		if err := s.Extensions.GetObject("x-kubernetes-group-version-kind", &kinds); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if slices.Contains(kinds, kind) {
			left := maxSchema
			return d.expand(s, []string{references + name}, &left)
		}
	}
	return nil, fmt.Errorf("%v: %w", kind, errNoSchema)
}

const references = "#/components/schemas/"

// expand copies a schema; where it refers to one that it is part of, stands an object
// without fields.
func (d document) expand(s *spec.Schema, within []string, left *int) (*spec.Schema, error) {
	if *left--; *left < 0 {
		return nil, errTooLarge
	}
	if ref := refersTo(s); ref != "" {
		if slices.Contains(within, ref) {
			return &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}, nil
		}
		to := d[strings.TrimPrefix(ref, references)]
		if to == nil {
			return nil, fmt.Errorf("%s: %w", ref, errNoSchema)
		}
		s, within = to, append(slices.Clip(within), ref)
	}
	out := *s
	if s.Properties != nil {
		out.Properties = make(map[string]spec.Schema, len(s.Properties))
	}
	for name, p := range s.Properties {
		full, err := d.expand(&p, within, left)
		if err != nil {
			return nil, err
		}
		out.Properties[name] = *full
	}
	if of := s.AdditionalProperties; of != nil && of.Schema != nil {
		full, err := d.expand(of.Schema, within, left)
		if err != nil {
			return nil, err
		}
		out.AdditionalProperties = &spec.SchemaOrBool{Allows: of.Allows, Schema: full}
	}
	if of := s.Items; of != nil && of.Schema != nil {
		full, err := d.expand(of.Schema, within, left)
		if err != nil {
			return nil, err
		}
		out.Items = &spec.SchemaOrArray{Schema: full, Schemas: of.Schemas}
	}
	return &out, nil
}

// refersTo is what a schema refers to, by itself or, where it has a description or a
// default of its own, in the only part of its allOf.
func refersTo(s *spec.Schema) string {
	if s.Ref.GetURL() != nil {
		return s.Ref.String()
	}
	for i := range s.AllOf {
		if ref := refersTo(&s.AllOf[i]); ref != "" {
			return ref
		}
	}
	return ""
}
