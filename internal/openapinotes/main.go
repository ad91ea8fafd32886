//go:build generated

package main

import (
	"encoding/json"
	"log"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/internal/openapinotes/generated"
)

// model and field are as package openapi reads them.
type model struct {
	Description string           `json:"d,omitempty"`
	Required    []string         `json:"r,omitempty"`
	Extensions  map[string]any   `json:"x,omitempty"`
	Fields      map[string]field `json:"f,omitempty"`
}

type field struct {
	Description string         `json:"d,omitempty"`
	Enum        [][2]string    `json:"e,omitempty"`
	Items       []any          `json:"i,omitempty"` // what items, or values of a map, may be
	Default     any            `json:"v,omitempty"`
	Extensions  map[string]any `json:"x,omitempty"`
}

// undocumented are the types that have no SwaggerDoc.
var undocumented = []string{
	"io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator.", "io.k8s.apimachinery.pkg.version.", "io.k8s.apimachinery.pkg.api.resource.",
	"io.k8s.apimachinery.pkg.runtime.", "io.k8s.apimachinery.pkg.util.intstr.", "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "io.k8s.apimachinery.pkg.apis.meta.v1.Duration", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
}

var stable = regexp.MustCompile(`\.v[0-9]+\.[A-Z]|io\.k8s\.apimachinery\.`)

// wanted are the models of stable versions, and those that they refer to.
func wanted(all map[string]common.OpenAPIDefinition) map[string]bool {
	out := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if out[name] {
			return
		}
		out[name] = true
		for _, other := range all[name].Dependencies {
			add(other)
		}
	}
	for name := range all {
		if stable.MatchString(name) {
			add(name)
		}
	}
	return out
}

func main() {
	models := map[string]model{}
	all := generated.GetOpenAPIDefinitions(func(name string) spec.Ref { return spec.MustCreateRef(name) })
	want := wanted(all)
	for name, d := range all {
		if !want[name] {
			continue
		}
		documented := !slices.ContainsFunc(undocumented, func(p string) bool { return strings.HasPrefix(name, p) })
		m := model{Required: d.Schema.Required, Extensions: extensions(d.Schema.Extensions), Fields: map[string]field{}}
		if !documented {
			m.Description = d.Schema.Description
		}
		for property, p := range d.Schema.Properties {
			f := field{Extensions: extensions(p.Extensions)}
			text, values := enum(&p)
			f.Enum = values
			if !documented {
				f.Description = text
			}
			f.Default = explicit(p.Default, slices.Contains(m.Required, property))
			if p.Items != nil && p.Items.Schema != nil {
				f.Items = p.Items.Schema.Enum
			}
			if p.AdditionalProperties != nil && p.AdditionalProperties.Schema != nil {
				f.Items = append(f.Items, p.AdditionalProperties.Schema.Enum...)
			}
			if !reflect.DeepEqual(f, field{}) {
				m.Fields[property] = f
			}
		}
		if len(m.Fields) == 0 {
			m.Fields = nil
		}
		models[name] = m // even where there is nothing to say: then nothing is required
	}
	out := struct {
		From   string           `json:"from"`
		Models map[string]model `json:"models"`
	}{module("k8s.io/api"), models}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../apiserver/openapi/notes.json", append(data, '\n'), 0o644); err != nil {
		log.Fatal(err)
	}
}

// extensions but for those that stand in struct tags.
func extensions(all spec.Extensions) map[string]any {
	out := map[string]any{}
	for key, value := range all {
		switch key {
		case "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", common.ExtensionV2Schema:
		default:
			out[key] = value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// explicit is a default that the type does not imply.
func explicit(value any, required bool) any {
	v := reflect.ValueOf(value)
	switch {
	case value == nil, v.Kind() == reflect.Map && v.Len() == 0, v.IsZero() && required:
		return nil
	}
	return value
}

var enumLine = regexp.MustCompile("^ - `\"(.*?)\"` ?(.*)$")

// enum splits a description into what is before the values and them.
func enum(p *spec.Schema) (description string, values [][2]string) {
	text, list, is := strings.Cut(p.Description, "Possible enum values:\n")
	if len(p.Enum) == 0 || !is {
		return p.Description, nil
	}
	for line := range strings.SplitSeq(list, "\n") {
		if parts := enumLine.FindStringSubmatch(line); parts != nil {
			values = append(values, [2]string{parts[1], parts[2]})
		}
	}
	if len(values) != len(p.Enum) {
		log.Fatalf("%d values, %d described: %s", len(p.Enum), len(values), p.Description)
	}
	return strings.TrimSuffix(text, "\n\n"), values
}

func module(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == path {
			return path + " " + m.Version
		}
	}
	return ""
}
