// Package openapi describes the served resources as OpenAPI documents, version 3
// by group version and version 2 as a whole, as clients need them: kubectl
// explain reads the schemas, kubectl apply the patch strategies and the
// parameters of operations, generators all of it.
//
// Everything is derived: the operations from the resources, the schemas from the
// Go types. A program that registers a type of its own gets its documents with it.
package openapi

import (
	"errors"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/resource"
)

// Config of [Documents].
type Config struct {
	// Resources that are served. Required.
	Resources []*resource.Resource
	// Version of the API in the documents; empty means "unversioned".
	Version string
}

// Documents makes the documents. It implements what the API server asks for, and
// is safe for concurrent use.
type Documents struct {
	config Config
	merge  *mergeRules
}

// New prepares the documents; each is made when it is asked for.
func New(config Config) (*Documents, error) {
	if len(config.Resources) == 0 {
		return nil, errors.New("openapi: Config.Resources is empty")
	}
	if config.Version == "" {
		config.Version = "unversioned"
	}
	merge, err := newMergeRules()
	if err != nil {
		return nil, err
	}
	return &Documents{config: config, merge: merge}, nil
}

// V3 makes a document for each group version, by its path without the first
// slash: "api/v1", "apis/apps/v1".
func (d *Documents) V3() (map[string]*spec3.OpenAPI, error) {
	byVersion := map[schema.GroupVersion][]*resource.Resource{}
	for _, r := range d.config.Resources {
		gv := r.GVK.GroupVersion()
		byVersion[gv] = append(byVersion[gv], r)
	}
	documents := map[string]*spec3.OpenAPI{}
	for gv, resources := range byVersion {
		models := d.schemas(v3Dialect)
		paths := &spec3.Paths{Paths: map[string]*spec3.Path{}}
		for _, op := range operations(resources) {
			path := paths.Paths[op.path]
			if path == nil {
				path = &spec3.Path{PathProps: spec3.PathProps{Parameters: v3Parameters(op.pathParameters())}}
				paths.Paths[op.path] = path
			}
			*v3Method(path, op.method) = v3Operation(op, models)
		}
		components := &spec3.Components{Schemas: map[string]*spec.Schema{}}
		for name, model := range models.models {
			components.Schemas[name] = &model
		}
		documents[strings.TrimPrefix(root(gv), "/")] = &spec3.OpenAPI{
			Version: "3.0.0", Info: d.info(), Paths: paths, Components: components,
		}
	}
	return documents, nil
}

// V2 makes the one document of the whole API.
func (d *Documents) V2() (*spec.Swagger, error) {
	models := d.schemas(v2Dialect)
	paths := &spec.Paths{Paths: map[string]spec.PathItem{}}
	for _, op := range operations(d.config.Resources) {
		path := paths.Paths[op.path]
		path.Parameters = v2Parameters(op.pathParameters())
		*v2Method(&path, op.method) = v2Operation(op, models)
		paths.Paths[op.path] = path
	}
	return &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger: "2.0", Info: d.info(), Paths: paths, Definitions: models.models,
	}}, nil
}

func (d *Documents) info() *spec.Info {
	return &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: d.config.Version}}
}

// schemas begins the models of one document. The kinds of a type are those of all
// resources, so that a document tells them for what it only refers to.
func (d *Documents) schemas(dialect dialect) *schemas {
	s := &schemas{dialect: dialect, merge: d.merge, models: map[string]spec.Schema{}, kinds: map[reflect.Type][]schema.GroupVersionKind{}}
	add := func(obj any, gvk schema.GroupVersionKind) {
		t := reflect.TypeOf(obj).Elem()
		for _, known := range s.kinds[t] {
			if known == gvk {
				return
			}
		}
		s.kinds[t] = append(s.kinds[t], gvk)
	}
	for _, r := range d.config.Resources {
		gvk := r.GVK
		add(r.New(), gvk)
		if r.NewList != nil {
			gvk.Kind += "List"
			add(r.NewList(), gvk)
		}
		for _, sub := range r.Subresources {
			if sub.New != nil && !sub.GVK.Empty() {
				add(sub.New(), sub.GVK)
			}
		}
		// What every group version takes and answers.
		add(&metav1.DeleteOptions{}, r.GVK.GroupVersion().WithKind("DeleteOptions"))
		add(&metav1.WatchEvent{}, r.GVK.GroupVersion().WithKind("WatchEvent"))
		add(&metav1.Status{}, schema.GroupVersionKind{Version: "v1", Kind: "Status"})
	}
	return s
}

// root is the path of a group version.
func root(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.Group + "/" + gv.Version
}
