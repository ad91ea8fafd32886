// Package openapi describes the served resources as OpenAPI documents, version 3
// by group version and version 2 as a whole, as clients need them: kubectl
// explain reads the schemas, kubectl apply the patch strategies and the
// parameters of operations, generators all of it.
//
// Everything is derived: the operations from the resources, the schemas from the
// Go types. A program that registers a type of its own gets its documents with it.
package openapi

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/resource"
)

// Config of [Documents].
type Config struct {
	// Version of the API, such as "v1.37.2"; the documents tell the first two numbers.
	// Empty means "unversioned".
	Version string
}

// Documents makes the documents. It implements what the API server asks for, and
// is safe for concurrent use.
type Documents struct {
	config Config
	notes  func() (*notes, error)
}

// New prepares the documents; each is made when it is asked for.
func New(config Config) *Documents {
	if config.Version == "" {
		config.Version = "unversioned"
	} else if numbers := strings.SplitN(strings.TrimPrefix(config.Version, "v"), ".", 3); len(numbers) == 3 {
		config.Version = numbers[0] + "." + numbers[1]
	}
	return &Documents{config: config, notes: sync.OnceValues(readNotes)}
}

// V3 makes the document of one group version, of resources those that are in it.
func (d *Documents) V3(gv schema.GroupVersion, resources []*resource.Resource) (*spec3.OpenAPI, error) {
	models, err := d.schemas(v3Dialect, resources)
	if err != nil {
		return nil, err
	}
	var own []*resource.Resource
	for _, r := range resources {
		if r.GVK.GroupVersion() == gv {
			own = append(own, r)
		}
	}
	custom := !slices.ContainsFunc(own, func(r *resource.Resource) bool { return r.Schema == nil })
	if !custom {
		models.only(gv)
	}
	doc := d.v3(operations(own), models)
	if custom {
		doc.Info = &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes CRD Swagger", Version: "v0.1.0"}}
		doc.Components.SecuritySchemes = nil
	}
	return doc, nil
}

func (d *Documents) v3(ops []operation, models *schemas) *spec3.OpenAPI {
	paths := &spec3.Paths{Paths: map[string]*spec3.Path{}}
	for where, ops := range byPath(ops) {
		path := &spec3.Path{PathProps: spec3.PathProps{Parameters: v3Parameters(common(ops))}}
		for _, op := range ops {
			*v3Method(path, op.method) = v3Operation(op, models)
		}
		paths.Paths[where] = path
	}
	components := &spec3.Components{Schemas: map[string]*spec.Schema{}, SecuritySchemes: spec3.SecuritySchemes{
		"BearerToken": {SecuritySchemeProps: spec3.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}},
	}}
	for name, model := range models.models {
		components.Schemas[name] = &model
	}
	return &spec3.OpenAPI{Version: "3.0.0", Info: d.info(), Paths: paths, Components: components}
}

// V3Path makes the document of a path outside of group versions: see paths.go for
// those that there may be.
func (d *Documents) V3Path(path string) (*spec3.OpenAPI, error) {
	models, err := d.schemas(v3Dialect, nil)
	if err != nil {
		return nil, err
	}
	var ops []operation
	if op, known := pathOperation(path); known {
		ops = append(ops, op)
	}
	return d.v3(ops, models), nil
}

// V2 makes the one document of the whole API: of the resources, and of the paths
// outside of group versions.
func (d *Documents) V2(resources []*resource.Resource, other []string) (*spec.Swagger, error) {
	models, err := d.schemas(v2Dialect, resources)
	if err != nil {
		return nil, err
	}
	paths := &spec.Paths{Paths: map[string]spec.PathItem{}}
	ops := operations(resources)
	for _, path := range other {
		if op, known := pathOperation(path); known {
			ops = append(ops, op)
		}
	}
	for where, ops := range byPath(ops) {
		path := spec.PathItem{PathItemProps: spec.PathItemProps{Parameters: v2Parameters(common(ops))}}
		for _, op := range ops {
			*v2Method(&path, op.method) = v2Operation(op, models)
		}
		paths.Paths[where] = path
	}
	doc := &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger: "2.0", Info: d.info(), Paths: paths, Definitions: models.models,
		SecurityDefinitions: spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}},
		Security: []map[string][]string{{"BearerToken": {}}},
	}}
	return doc, shareParameters(doc)
}

// only leaves to what every group version has the kinds of one, and of core.
func (s *schemas) only(gv schema.GroupVersion) {
	for _, of := range []any{metav1.DeleteOptions{}, metav1.WatchEvent{}} {
		t := reflect.TypeOf(of)
		s.kinds[t] = slices.DeleteFunc(s.kinds[t], func(kind schema.GroupVersionKind) bool {
			return kind.GroupVersion() != gv && kind.Group != ""
		})
	}
}

func byPath(ops []operation) map[string][]operation {
	out := map[string][]operation{}
	for _, op := range ops {
		out[op.path] = append(out[op.path], op)
	}
	return out
}

func (d *Documents) info() *spec.Info {
	return &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: d.config.Version}}
}

// schemas begins the models of one document. The kinds of a type are those of all
// resources, so that a document tells them for what it only refers to.
func (d *Documents) schemas(dialect dialect, resources []*resource.Resource) (*schemas, error) {
	known, err := d.notes()
	if err != nil {
		return nil, err
	}
	s := &schemas{dialect: dialect, notes: known, models: map[string]spec.Schema{}, kinds: map[reflect.Type][]schema.GroupVersionKind{}}
	add := func(obj any, gvk schema.GroupVersionKind) {
		t := reflect.TypeOf(obj).Elem()
		for _, known := range s.kinds[t] {
			if known == gvk {
				return
			}
		}
		s.kinds[t] = append(s.kinds[t], gvk)
	}
	for _, r := range resources {
		if r.Schema == nil {
			add(r.New(), r.GVK)
			if r.NewList != nil {
				add(r.NewList(), r.ListGVK())
			}
		}
		for _, sub := range r.Subresources {
			if sub.New != nil && !sub.GVK.Empty() {
				add(sub.New(), sub.GVK)
			}
		}
		// What every group version takes and answers.
		add(&metav1.DeleteOptions{}, r.GVK.GroupVersion().WithKind("DeleteOptions"))
		add(&metav1.WatchEvent{}, r.GVK.GroupVersion().WithKind("WatchEvent"))
	}
	core := schema.GroupVersion{Version: "v1"}
	add(&metav1.Status{}, core.WithKind("Status"))
	add(&metav1.APIVersions{}, core.WithKind("APIVersions"))
	add(&metav1.APIGroupList{}, core.WithKind("APIGroupList"))
	add(&metav1.APIGroup{}, core.WithKind("APIGroup"))
	add(&metav1.APIResourceList{}, core.WithKind("APIResourceList"))
	for _, kinds := range s.kinds {
		slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int {
			return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
		})
	}
	return s, nil
}
