package openapi

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// parameter of a path or of the query.
type parameter struct {
	name, in, typ, description string
	required                   bool
}

func inPath(name, description string) parameter {
	return parameter{name: name, in: "path", typ: "string", description: description, required: true}
}

var pretty = parameter{
	name: "pretty", in: "query", typ: "string",
	description: "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).",
}

// options are the parameters of a type of options, by its fields, but for those
// named.
func options(t reflect.Type, without ...string) []parameter {
	docs := docOf(t)
	var out []parameter
	for f := range fieldsOf(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		typ, ok := queryType(f.Type)
		if name == "" || name == "-" || !ok || slices.Contains(without, name) {
			continue
		}
		out = append(out, parameter{name: name, in: "query", typ: typ, description: docs[name]})
	}
	return out
}

// queryType is what a field is written as in a query; false: it is not, or upstream
// does not tell of it (times).
func queryType(t reflect.Type) (string, bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return "", false
	case reflect.Bool:
		return "boolean", true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer", true
	case reflect.Float32, reflect.Float64:
		return "number", true
	}
	return "string", true
}

// common are the parameters that all operations of a path take: they stand once, at
// the path. The operations keep the others.
func common(ops []operation) []parameter {
	counts := map[parameter]int{}
	for i := range ops {
		for _, p := range ops[i].parameters {
			counts[p]++
		}
	}
	var shared []parameter
	for p, n := range counts {
		if n == len(ops) {
			shared = append(shared, p)
		}
	}
	for i := range ops {
		ops[i].parameters = slices.DeleteFunc(slices.Clone(ops[i].parameters), func(p parameter) bool { return counts[p] == len(ops) })
		sortParameters(ops[i].parameters)
	}
	sortParameters(shared)
	return shared
}

func sortParameters(list []parameter) {
	slices.SortFunc(list, func(a, b parameter) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.in, b.in)) })
}
