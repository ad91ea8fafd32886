package fieldmanager

import (
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// unowned are the fields that nobody ever owns.
var unowned = fieldpath.NewSet(
	fieldpath.MakePathOrDie("apiVersion"),
	fieldpath.MakePathOrDie("kind"),
	fieldpath.MakePathOrDie("metadata", "name"),
	fieldpath.MakePathOrDie("metadata", "namespace"),
	fieldpath.MakePathOrDie("metadata", "creationTimestamp"),
	fieldpath.MakePathOrDie("metadata", "selfLink"),
	fieldpath.MakePathOrDie("metadata", "uid"),
	fieldpath.MakePathOrDie("metadata", "generation"),
	fieldpath.MakePathOrDie("metadata", "managedFields"),
	fieldpath.MakePathOrDie("metadata", "resourceVersion"),
)

// differ compares two objects of a Go type field by field, as the schema divides
// them. It collects the leaves whose value changed, and gives up where anything
// else did: a field that came or went, another order of list items.
type differ struct {
	schema *schema.Schema
	// reset are fields that are not compared at all.
	reset *fieldpath.Set

	path    fieldpath.Path
	changed []fieldpath.Path
}

// objects compares two whole objects. It is false where it gave up.
func (d *differ) objects(root schema.TypeRef, a, b runtime.Object) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Kind() != reflect.Pointer || x.Type() != y.Type() || x.IsNil() || y.IsNil() || x.Elem().Kind() != reflect.Struct {
		return false
	}
	return d.values(root, x.Elem(), y.Elem())
}

// values compares two values of one type.
func (d *differ) values(ref schema.TypeRef, a, b reflect.Value) bool {
	for a.Kind() == reflect.Pointer {
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		if a.Pointer() == b.Pointer() {
			return true
		}
		a, b = a.Elem(), b.Elem()
	}
	atom, ok := d.schema.Resolve(ref)
	if !ok {
		return false
	}
	if entry := value.TypeReflectEntryOf(a.Type()); entry.CanConvertToUnstructured() {
		return d.converted(entry, a, b)
	}
	switch a.Kind() {
	case reflect.Struct:
		return atom.Map != nil && d.structs(atom.Map, a, b)
	case reflect.Map:
		return atom.Map != nil && d.maps(atom.Map, a, b)
	case reflect.Slice:
		if a.Type().Elem().Kind() == reflect.Uint8 {
			return d.leaf(string(a.Bytes()) == string(b.Bytes()) && a.IsNil() == b.IsNil())
		}
		return atom.List != nil && d.lists(atom.List, a, b)
	case reflect.String:
		return d.leaf(a.String() == b.String())
	case reflect.Bool:
		return d.leaf(a.Bool() == b.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return d.leaf(a.Int() == b.Int())
	case reflect.Float32, reflect.Float64:
		return d.leaf(a.Float() == b.Float())
	}
	return false
}

// leaf notes whether the value at the current path changed.
func (d *differ) leaf(same bool) bool {
	if !same {
		d.changed = append(d.changed, d.path.Copy())
	}
	return true
}

// converted compares values that say themselves how they look in JSON: times,
// quantities.
func (d *differ) converted(entry *value.TypeReflectCacheEntry, a, b reflect.Value) bool {
	if a.CanAddr() && b.CanAddr() && reflect.DeepEqual(a.Addr().Interface(), b.Addr().Interface()) {
		return true
	}
	x, err := entry.ToUnstructured(a)
	if err != nil {
		return false
	}
	y, err := entry.ToUnstructured(b)
	if err != nil || reflect.TypeOf(x) != reflect.TypeOf(y) {
		return false
	}
	switch x.(type) {
	case nil, string, int64, float64, bool:
		return d.leaf(x == y)
	}
	return reflect.DeepEqual(x, y)
}

// whole compares what changes as one.
func (d *differ) whole(a, b reflect.Value) bool {
	if !a.CanAddr() || !b.CanAddr() {
		return false
	}
	x, y := a.Addr().Interface(), b.Addr().Interface()
	if reflect.DeepEqual(x, y) {
		return true
	}
	v, err := value.NewValueReflect(x)
	if err != nil {
		return false
	}
	w, err := value.NewValueReflect(y)
	if err != nil || v.IsNull() != w.IsNull() {
		return false
	}
	return d.leaf(value.Equals(v, w))
}

// at runs compare one step further down, where anything there can be owned.
func (d *differ) at(pe fieldpath.PathElement, compare func() bool) bool {
	d.path = append(d.path, pe)
	ok := len(d.path) <= 2 && unowned.Has(d.path) || d.reset != nil && d.reset.Has(d.path) || compare()
	d.path = d.path[:len(d.path)-1]
	return ok
}

func (d *differ) structs(t *schema.Map, a, b reflect.Value) bool {
	if t.ElementRelationship == schema.Atomic {
		return d.whole(a, b)
	}
	for _, field := range value.TypeReflectEntryOf(a.Type()).OrderedFields() {
		x, y := field.GetFrom(a), field.GetFrom(b)
		ok := d.at(fieldpath.PathElement{FieldName: &field.JsonName}, func() bool {
			if omitted := field.CanOmit(x); omitted || field.CanOmit(y) {
				return omitted && field.CanOmit(y)
			}
			ref := t.ElementType
			if known, ok := t.FindField(field.JsonName); ok {
				ref = known.Type
			}
			return d.values(ref, x, y)
		})
		if !ok {
			return false
		}
	}
	return true
}

func (d *differ) maps(t *schema.Map, a, b reflect.Value) bool {
	if a.IsNil() || b.IsNil() {
		return a.IsNil() && b.IsNil()
	}
	if t.ElementRelationship == schema.Atomic {
		return d.whole(a, b)
	}
	if a.Len() != b.Len() || a.Type().Key().Kind() != reflect.String {
		return false
	}
	for entries := a.MapRange(); entries.Next(); {
		other := b.MapIndex(entries.Key())
		if !other.IsValid() {
			return false
		}
		name := entries.Key().String()
		if !d.at(fieldpath.PathElement{FieldName: &name}, func() bool { return d.values(t.ElementType, entries.Value(), other) }) {
			return false
		}
	}
	return true
}

func (d *differ) lists(t *schema.List, a, b reflect.Value) bool {
	if a.IsNil() || b.IsNil() {
		return a.IsNil() && b.IsNil()
	}
	if t.ElementRelationship != schema.Associative {
		return d.whole(a, b)
	}
	if a.Len() != b.Len() {
		return false
	}
	if len(t.Keys) == 0 {
		// The items of a set are their own names: one that changed is another.
		for i := range a.Len() {
			before := len(d.changed)
			if !d.values(t.ElementType, a.Index(i), b.Index(i)) || len(d.changed) > before {
				return false
			}
		}
		return true
	}
	names := make([]fieldpath.PathElement, a.Len())
	changed := make([]bool, a.Len())
	for i := range names {
		x, y := a.Index(i), b.Index(i)
		key, ok := itemKey(t.Keys, x)
		other, same := itemKey(t.Keys, y)
		names[i] = fieldpath.PathElement{Key: &key}
		if !ok || !same || !names[i].Equals(fieldpath.PathElement{Key: &other}) {
			return false
		}
		before := len(d.changed)
		if !d.at(names[i], func() bool { return d.values(t.ElementType, x, y) }) {
			return false
		}
		changed[i] = len(d.changed) > before
	}
	// Of items with one key, nobody can say which of them changed.
	for i := range names {
		for j := range names {
			if changed[i] && i != j && names[i].Equals(names[j]) {
				return false
			}
		}
	}
	return true
}

// itemKey is the key of a list's item; not ok where a part of it is missing.
func itemKey(keys []string, item reflect.Value) (value.FieldList, bool) {
	if item.Kind() != reflect.Struct {
		return nil, false
	}
	fields := value.TypeReflectEntryOf(item.Type()).Fields()
	list := make(value.FieldList, 0, len(keys))
	for _, name := range keys {
		field := fields[name]
		if field == nil {
			return nil, false
		}
		v := field.GetFrom(item)
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if field.CanOmit(v) {
			return nil, false
		}
		switch v.Kind() {
		case reflect.String:
			list = append(list, value.Field{Name: name, Value: value.NewValueInterface(v.String())})
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			list = append(list, value.Field{Name: name, Value: value.NewValueInterface(v.Int())})
		default:
			return nil, false
		}
	}
	list.Sort()
	return list, true
}
