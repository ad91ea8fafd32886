package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"google.golang.org/protobuf/types/known/structpb"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	celmutation "k8s.io/apiserver/pkg/cel/mutation"
	"k8s.io/apiserver/pkg/cel/mutation/dynamic"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// applied merges an apply configuration, the result of an expression, into an object
// and returns it as JSON. No field gets an owner by it.
func applied(converter managedfields.TypeConverter, obj runtime.Object, kind schema.GroupVersionKind, result ref.Val) ([]byte, error) {
	configuration, ok := result.(*dynamic.ObjectVal)
	if !ok {
		return nil, fmt.Errorf("unsupported return type from ApplyConfiguration expression: %v", result.Type())
	}
	if err := configuration.CheckTypeNamesMatchFieldPathNames(); err != nil {
		return nil, fmt.Errorf("type mismatch: %w", err)
	}
	content, ok := configuration.Value().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("invalid return type: %T", result)
	}
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("error applying patch: %w", err) }
	wanted := &unstructured.Unstructured{Object: content}
	wanted.SetGroupVersionKind(kind)
	change, err := converter.ObjectToTyped(wanted)
	if err != nil {
		return fail(fmt.Errorf("failed to convert patch object to typed object: %w", err))
	}
	if all := atomics(nil, change.Schema(), change.TypeRef(), change.AsValue()); len(all) > 0 {
		// What the expression does not repeat of them would be gone.
		return fail(fmt.Errorf("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: %v", strings.Join(all, ", ")))
	}
	live, err := converter.ObjectToTyped(obj, typed.AllowDuplicates)
	if err != nil {
		return fail(fmt.Errorf("failed to convert original object to typed object: %w", err))
	}
	merged, err := live.Merge(change)
	if err != nil {
		return fail(fmt.Errorf("failed to merge patch: %w", err))
	}
	out := merged.AsValue().Unstructured()
	if m, ok := out.(map[string]any); ok {
		m["apiVersion"], m["kind"] = kind.GroupVersion().String(), kind.Kind
	}
	return json.Marshal(out)
}

// atomics are the paths of what a value sets of lists, maps and structs that are only
// ever set as a whole.
func atomics(path fieldpath.Path, s *smdschema.Schema, of smdschema.TypeRef, v value.Value) []string {
	atom, ok := s.Resolve(of)
	if !ok {
		return nil
	}
	var out []string
	if v.IsMap() && atom.Map != nil {
		if atom.Map.ElementRelationship == smdschema.Atomic {
			out = append(out, path.String())
		}
		v.AsMap().Iterate(func(key string, item value.Value) bool {
			if f, ok := atom.Map.FindField(key); ok {
				out = append(out, atomics(append(path[:len(path):len(path)], fieldpath.PathElement{FieldName: &key}), s, f.Type, item)...)
			}
			return true
		})
	}
	if v.IsList() && atom.List != nil {
		if atom.List.ElementRelationship == smdschema.Atomic {
			out = append(out, path.String())
		}
		list := v.AsList()
		for i := range list.Length() {
			out = append(out, atomics(append(path[:len(path):len(path)], fieldpath.PathElement{Index: &i}), s, atom.List.ElementType, list.At(i))...)
		}
	}
	return out
}

// maxOperations bounds the patch of one mutation, as that of a request.
const maxOperations = 10_000

// patched does JSON patch operations, the result of an expression, to an object and
// returns it as JSON; nil where one of its tests failed, and nothing is done.
func patched(obj runtime.Object, result ref.Val) ([]byte, error) {
	list, ok := result.(traits.Lister)
	if !ok {
		return nil, errors.New("type mismatch: JSONPatchType.expression should evaluate to array")
	}
	var patch jsonpatch.Patch
	for it := list.Iterator(); it.HasNext() == types.True; {
		if len(patch) == maxOperations {
			return nil, fmt.Errorf("JSON Patch: more than %d operations", maxOperations)
		}
		op, err := operation(it.Next())
		if err != nil {
			return nil, err
		}
		patch = append(patch, op)
	}
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("failed to create JSON patch: %w", err)
	}
	out, err := patch.Apply(data)
	if errors.Is(err, jsonpatch.ErrTestFailed) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("JSON Patch: %w", err)
	}
	return out, nil
}

func operation(v ref.Val) (jsonpatch.Operation, error) {
	native, err := v.ConvertToNative(reflect.TypeFor[*celmutation.JSONPatchVal]())
	if err != nil {
		return nil, fmt.Errorf("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch: %w", err)
	}
	of, ok := native.(*celmutation.JSONPatchVal)
	if !ok {
		return nil, fmt.Errorf("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of %T", native)
	}
	op := jsonpatch.Operation{}
	set := func(name string, value any) error {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("JSONPath valueExpression evaluated to a type that could not marshal to JSON: %w", err)
		}
		raw := json.RawMessage(data)
		op[name] = &raw
		return nil
	}
	if err := errors.Join(set("op", of.Op), set("path", of.Path)); err != nil {
		return nil, err
	}
	if of.From != "" {
		if err := set("from", of.From); err != nil {
			return nil, err
		}
	}
	if of.Val == nil {
		return op, nil
	}
	if object, ok := of.Val.(*dynamic.ObjectVal); ok {
		if err := object.CheckTypeNamesMatchFieldPathNames(); err != nil {
			return nil, fmt.Errorf("type mismatch: %w", err)
		}
	}
	plain, err := of.Val.ConvertToNative(reflect.TypeFor[*structpb.Value]())
	if err != nil {
		return nil, fmt.Errorf("JSONPath valueExpression evaluated to a type that could not marshal to JSON: %w", err)
	}
	return op, set("value", plain)
}
