package rules

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Internal wraps the bad value of an error in which upstream prints one of its
// internal types: their fields have their Go names and all are shown. The API's
// versioned types have the same names in nearly every case, so they can stand in.
// What apimachinery declares (selectors, quantities, times) prints as in the API.
func Internal(v any) any {
	at := reflect.ValueOf(v)
	if at.Kind() == reflect.Pointer && at.IsNil() {
		return nil
	}
	return internal{at}
}

// ImmutableInternal is [Immutable] of a value that is shown as [Internal] shows it.
func ImmutableInternal(value, old any, path *field.Path) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, Internal(value), apivalidation.FieldImmutableErrorMsg)}
}

type internal struct{ v reflect.Value }

// MarshalJSON is what the error's text is made by.
func (i internal) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := writeInternal(&b, i.v)
	return b.Bytes(), err
}

func writeInternal(b *bytes.Buffer, v reflect.Value) error {
	t := v.Type()
	if strings.HasPrefix(t.PkgPath(), "k8s.io/apimachinery/") {
		return writePlain(b, v)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return writePlain(b, v)
		}
		return writeInternal(b, v.Elem())
	case reflect.Struct:
		return writeStruct(b, v)
	case reflect.Slice:
		if v.IsNil() || t.Elem().Kind() == reflect.Uint8 {
			return writePlain(b, v)
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeInternal(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.Map:
		if v.IsNil() || t.Key().Kind() != reflect.String {
			return writePlain(b, v)
		}
		entries := make(map[string]internal, v.Len())
		for it := v.MapRange(); it.Next(); {
			entries[it.Key().String()] = internal{it.Value()}
		}
		return writePlain(b, reflect.ValueOf(entries))
	}
	return writePlain(b, v)
}

func writeStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	comma := func() {
		if !first {
			b.WriteByte(',')
		}
		first = false
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported() || f.Type == reflect.TypeFor[metav1.TypeMeta]():
			// Internal types know their kind by their Go type.
			continue
		case f.Anonymous:
			// Metadata stands among the other fields.
			var inner bytes.Buffer
			if err := writeInternal(&inner, v.Field(i)); err != nil {
				return err
			}
			if members := bytes.TrimSuffix(bytes.TrimPrefix(inner.Bytes(), []byte("{")), []byte("}")); len(members) > 0 {
				comma()
				b.Write(members)
			}
		default:
			comma()
			b.WriteString(`"` + f.Name + `":`)
			if err := writeInternal(b, v.Field(i)); err != nil {
				return err
			}
		}
	}
	b.WriteByte('}')
	return nil
}

func writePlain(b *bytes.Buffer, v reflect.Value) error {
	text, err := json.Marshal(v.Interface())
	b.Write(text)
	return err
}
