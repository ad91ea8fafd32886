package openapi

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/resource"
)

// Models are the models of kinds that describe themselves by schemas, and those of
// their metadata, with references as in version 3. A schema that is nil says
// nothing. The result is for merging fields.
func Models(kinds map[schema.GroupVersionKind]*spec.Schema) (map[string]*spec.Schema, error) {
	known, err := readNotes()
	if err != nil {
		return nil, err
	}
	s := &schemas{dialect: v3Dialect, notes: known, models: map[string]spec.Schema{}, kinds: map[reflect.Type][]schema.GroupVersionKind{}}
	for gvk, described := range kinds {
		s.models[customName(gvk)] = s.customModel(gvk, described)
	}
	out := make(map[string]*spec.Schema, len(s.models))
	for name, model := range s.models {
		out[name] = &model
	}
	return out, nil
}

// refTo is a reference to the model of what travels.
func (s *schemas) refTo(what payload) spec.Schema {
	if what.kind == nil {
		return s.ref(what.typ)
	}
	gvk := what.kind.GVK
	if what.list {
		gvk = what.kind.ListGVK()
	}
	name := customName(gvk)
	if _, made := s.models[name]; !made {
		if what.list {
			s.models[name] = s.customList(what.kind)
		} else {
			s.models[name] = s.customModel(gvk, what.kind.Schema(s.v2))
		}
	}
	return s.refNamed(name)
}

func (s *schemas) refNamed(name string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(s.refPrefix + name)}}
}

// customName is the name of a kind's model: its group turned round, version, kind.
func customName(gvk schema.GroupVersionKind) string {
	labels := strings.Split(gvk.Group, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "." + gvk.Version + "." + gvk.Kind
}

// customModel completes the schema of a kind with what every kind has. Where
// nothing is known, nothing is added: kubectl would take it for all there is.
func (s *schemas) customModel(gvk schema.GroupVersionKind, described *spec.Schema) spec.Schema {
	if described == nil {
		described = &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}
	} else {
		s.addMeta(described, metav1.TypeMeta{}.SwaggerDoc())
		s.addEmbedded(described)
	}
	described.AddExtension("x-kubernetes-group-version-kind", kindList(gvk))
	return *described
}

func kindList(gvk schema.GroupVersionKind) []any {
	return []any{map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}}
}

func (s *schemas) addMeta(to *spec.Schema, docs map[string]string) {
	to.SetProperty("apiVersion", described("string", docs["apiVersion"]))
	to.SetProperty("kind", described("string", docs["kind"]))
	meta := s.ref(reflect.TypeFor[metav1.ObjectMeta]())
	if !s.v2 {
		meta = beside(meta)
	}
	meta.Description = metav1.PartialObjectMetadata{}.SwaggerDoc()["metadata"]
	to.SetProperty("metadata", meta)
}

func described(typ, description string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{typ}, Description: description}}
}

// addEmbedded adds the same to objects inside of an object.
func (s *schemas) addEmbedded(to *spec.Schema) {
	for name, property := range to.Properties {
		s.addEmbedded(&property)
		to.Properties[name] = property
	}
	if to.Items != nil && to.Items.Schema != nil {
		s.addEmbedded(to.Items.Schema)
	}
	if to.AdditionalProperties != nil && to.AdditionalProperties.Schema != nil {
		s.addEmbedded(to.AdditionalProperties.Schema)
	}
	if open, _ := to.Extensions.GetBool("x-kubernetes-preserve-unknown-fields"); open && s.v2 {
		return
	}
	if embedded, _ := to.Extensions.GetBool("x-kubernetes-embedded-resource"); !embedded {
		return
	}
	s.addMeta(to, metav1.TypeMeta{}.SwaggerDoc())
	for _, name := range []string{"kind", "apiVersion"} {
		if !slices.Contains(to.Required, name) {
			to.Required = append(to.Required, name)
		}
	}
}

func (s *schemas) customList(r *resource.Resource) spec.Schema {
	docs := metav1.TypeMeta{}.SwaggerDoc()
	list := described("object", r.ListGVK().Kind+" is a list of "+r.GVK.Kind)
	list.Required = []string{"items"}
	list.SetProperty("apiVersion", described("string", docs["apiVersion"]))
	list.SetProperty("kind", described("string", docs["kind"]))
	items, object := described("array", "List of "+r.Plural+". More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"), s.refTo(payload{kind: r})
	items.Items = &spec.SchemaOrArray{Schema: &object}
	list.SetProperty("items", items)
	meta := s.ref(reflect.TypeFor[metav1.ListMeta]())
	if !s.v2 {
		meta = beside(meta)
	}
	meta.Description = metav1.PartialObjectMetadataList{}.SwaggerDoc()["metadata"]
	list.SetProperty("metadata", meta)
	list.AddExtension("x-kubernetes-group-version-kind", kindList(r.ListGVK()))
	return list
}
