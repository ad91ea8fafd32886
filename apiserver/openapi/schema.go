package openapi

import (
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// dialect is in what the two versions of the specification differ for schemas.
type dialect struct {
	refPrefix string
	v2        bool
}

var (
	v2Dialect = dialect{refPrefix: "#/definitions/", v2: true}
	v3Dialect = dialect{refPrefix: "#/components/schemas/"}
)

// schemas collects the models that one document needs, by name. It turns Go types
// into schemas by reflection: names and types from the fields, descriptions from
// the types' SwaggerDoc methods, patch strategies from struct tags. What upstream
// says of its types in comments comes from the notes.
type schemas struct {
	dialect
	notes  *notes
	kinds  map[reflect.Type][]schema.GroupVersionKind
	models map[string]spec.Schema
}

// The methods by which a type describes its own form on the wire.
type (
	named     interface{ OpenAPIModelName() string }
	selfTyped interface{ OpenAPISchemaType() []string }
	formatted interface{ OpenAPISchemaFormat() string }
	oneOf     interface{ OpenAPIV3OneOfTypes() []string }
	doc       interface{ SwaggerDoc() map[string]string }
)

// of gives a method set of T's pointer as an interface, where it has one.
func of[I any](t reflect.Type) (I, bool) {
	i, ok := reflect.New(t).Interface().(I)
	return i, ok
}

// modelName is the name of a struct type's model: upstream's where the type knows
// it, else its package path turned round and its name ("com.example.api.v1.Ship").
func modelName(t reflect.Type) string {
	if n, ok := of[named](t); ok {
		return n.OpenAPIModelName()
	}
	host, rest, _ := strings.Cut(t.PkgPath(), "/")
	labels := strings.Split(host, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	name := strings.Join(labels, ".")
	if rest != "" {
		name += "." + strings.ReplaceAll(rest, "/", ".")
	}
	return name + "." + t.Name()
}

// ref is a reference to a type's model, which it makes where that is missing.
func (s *schemas) ref(t reflect.Type) spec.Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := modelName(t)
	if _, made := s.models[name]; !made {
		s.models[name] = spec.Schema{} // ends recursion: JSONSchemaProps holds itself
		s.models[name] = s.model(t)
	}
	return spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(s.refPrefix + name)}}
}

// model is the schema of a named type.
func (s *schemas) model(t reflect.Type) spec.Schema {
	m := spec.Schema{SchemaProps: spec.SchemaProps{Description: docOf(t)[""]}}
	if own, ok := of[selfTyped](t); ok {
		m.Type = own.OpenAPISchemaType()
		if f, ok := of[formatted](t); ok {
			m.Format = f.OpenAPISchemaFormat()
		}
		if one, ok := of[oneOf](t); ok && !s.v2 {
			m.Type = nil
			for _, alternative := range one.OpenAPIV3OneOfTypes() {
				m.OneOf = append(m.OneOf, spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{alternative}}})
			}
		}
		if n := s.notes.Models[modelName(t)]; n != nil {
			n.annotate(&m, s.v2)
		}
		return m
	}
	m.Type = []string{"object"}
	if t.Kind() == reflect.Struct {
		m.Properties = map[string]spec.Schema{}
		s.fields(t, &m)
		if len(m.Properties) == 0 {
			m.Properties = nil
		}
	}
	if n := s.notes.Models[modelName(t)]; n != nil {
		n.annotate(&m, s.v2)
	}
	if kinds := s.kinds[t]; len(kinds) > 0 {
		list := make([]any, len(kinds))
		for i, gvk := range kinds {
			list[i] = map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
		}
		m.AddExtension("x-kubernetes-group-version-kind", list)
	}
	return m
}

// fields adds the properties of a struct, those of embedded structs included.
func (s *schemas) fields(t reflect.Type, m *spec.Schema) {
	docs := docOf(t)
	for field := range fieldsOf(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if field.Anonymous && (name == "" || strings.Contains(options, "inline")) {
			embedded := field.Type
			for embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			s.fields(embedded, m)
			continue
		}
		if name == "" {
			name = field.Name
		}
		p := s.value(field.Type, docs[name])
		if strategy := field.Tag.Get("patchStrategy"); strategy != "" {
			p.AddExtension("x-kubernetes-patch-strategy", strategy)
		}
		if key := field.Tag.Get("patchMergeKey"); key != "" {
			p.AddExtension("x-kubernetes-patch-merge-key", key)
		}
		omits := strings.Contains(options, "omitempty")
		if !s.v2 {
			if p.Default = zeroDefault(field.Type, omits); p.Default != nil {
				p = beside(p)
			}
		}
		m.Properties[name] = p
		if !omits && !strings.Contains(options, "omitzero") && field.Type.Kind() != reflect.Pointer {
			m.Required = append(m.Required, name)
		}
	}
}

// zeroDefault is the value that a field without one has, where that is not nothing:
// clients that fill in defaults see what the server sees. Version 2 never told.
func zeroDefault(t reflect.Type, omits bool) any {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if t.NumField() == 1 && t.Field(0).Anonymous {
			return zeroDefault(t.Field(0).Type, omits)
		}
		return map[string]any{}
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array, reflect.Interface:
		return nil
	}
	if omits {
		return nil
	}
	return reflect.Zero(t).Interface()
}

// value is the schema of one field's type. A description beside a reference needs
// allOf in version 3; version 2 knows no better than to stand beside it.
func (s *schemas) value(t reflect.Type, description string) spec.Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	v := spec.Schema{}
	simple := func(typ, format string) { v.Type, v.Format = []string{typ}, format }
	switch t.Kind() {
	case reflect.Struct:
		v = s.ref(t)
		if !s.v2 && description != "" {
			v = beside(v)
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			simple("string", "byte")
			break
		}
		items := s.value(t.Elem(), "")
		simple("array", "")
		v.Items = &spec.SchemaOrArray{Schema: &items}
	case reflect.Map:
		values := s.value(t.Elem(), "")
		simple("object", "")
		v.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &values}
	case reflect.String:
		simple("string", "")
	case reflect.Bool:
		simple("boolean", "")
	case reflect.Int32, reflect.Int16, reflect.Int8, reflect.Uint16, reflect.Uint8:
		simple("integer", "int32")
	case reflect.Int64, reflect.Int, reflect.Uint32, reflect.Uint64, reflect.Uint:
		simple("integer", "int64")
	case reflect.Float32, reflect.Float64:
		simple("number", "double")
	default: // an interface: anything
		if named := t.Name() != "" && t.PkgPath() != ""; named {
			simple("object", "")
		}
	}
	v.Description = description
	return v
}

// beside makes room for more beside a reference, which counts for nothing there in
// version 3.
func beside(p spec.Schema) spec.Schema {
	if p.Ref.String() == "" {
		return p
	}
	reference := spec.Schema{SchemaProps: spec.SchemaProps{Ref: p.Ref}}
	p.Ref, p.AllOf = spec.Ref{}, []spec.Schema{reference}
	return p
}

func docOf(t reflect.Type) map[string]string {
	if d, ok := of[doc](t); ok {
		return d.SwaggerDoc()
	}
	return nil
}

func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}
