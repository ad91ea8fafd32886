package rules

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Internal shows a value in an error as upstream does, whose own types have no JSON
// names: each field under its Go name, the empty ones too. It is for values whose
// fields upstream's internal types have in the same order.
func Internal(value any) any { return untagged{reflect.ValueOf(value)} }

type untagged struct{ v reflect.Value }

var marshaler = reflect.TypeFor[json.Marshaler]()

func (u untagged) MarshalJSON() ([]byte, error) {
	v := u.v
	for v.Kind() == reflect.Pointer && !v.IsNil() && !v.Type().Implements(marshaler) {
		v = v.Elem()
	}
	own := v.IsValid() && (v.Type().Implements(marshaler) || reflect.PointerTo(v.Type()).Implements(marshaler))
	switch {
	case own || !v.IsValid():
	case v.Kind() == reflect.Struct:
		return u.fields(v)
	case v.Kind() == reflect.Slice && !v.IsNil() && v.Type().Elem().Kind() != reflect.Uint8:
		items := make([]untagged, v.Len())
		for i := range items {
			items[i] = untagged{v.Index(i)}
		}
		return json.Marshal(items)
	case v.Kind() == reflect.Map && !v.IsNil() && v.Type().Key().Kind() == reflect.String:
		entries := make(map[string]untagged, v.Len())
		for it := v.MapRange(); it.Next(); {
			entries[it.Key().String()] = untagged{it.Value()}
		}
		return json.Marshal(entries)
	}
	if !v.IsValid() {
		return []byte("null"), nil
	}
	return json.Marshal(v.Interface())
}

func (u untagged) fields(v reflect.Value) ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	if err := u.list(&out, v); err != nil {
		return nil, err
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// list writes the fields; those of an embedded struct stand among them.
func (u untagged) list(out *bytes.Buffer, v reflect.Value) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if err := u.list(out, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		text, err := json.Marshal(untagged{v.Field(i)})
		if err != nil {
			return err
		}
		if out.Bytes()[out.Len()-1] != '{' {
			out.WriteByte(',')
		}
		name, _ := json.Marshal(f.Name)
		out.Write(name)
		out.WriteByte(':')
		out.Write(text)
	}
	return nil
}
