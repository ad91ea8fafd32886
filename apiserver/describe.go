package apiserver

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/cached"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/apiserver/resource"
)

// description tells clients what one table of resources serves. Its parts are made
// when a client first asks, those of group versions in which nothing changed are
// the ones of the table before.
type description struct {
	table     *registry.Table
	discovery func() (*discovery.Handler, error)
	// openapi serves what is below /openapi; nil where there is no OpenAPI.
	openapi func() http.Handler

	documents map[schema.GroupVersion]*document
}

// document is the openapi v3 document of one group version.
type document struct {
	resources []*resource.Resource
	made      cached.Value[*spec3.OpenAPI]
}

// describe is the description of what is served now.
func (s *Server) describe() *description {
	for {
		last, table := s.described.Load(), s.set.Table()
		if last != nil && last.table == table {
			return last
		}
		next := s.newDescription(table, last)
		if s.described.CompareAndSwap(last, next) {
			return next
		}
	}
}

func (s *Server) newDescription(table *registry.Table, last *description) *description {
	all := table.Resources()
	d := &description{
		table:     table,
		discovery: sync.OnceValues(func() (*discovery.Handler, error) { return discovery.New(all) }),
	}
	source := s.config.OpenAPI
	if source == nil {
		return d
	}
	byVersion := map[schema.GroupVersion][]*resource.Resource{}
	for _, r := range all {
		gv := r.GVK.GroupVersion()
		byVersion[gv] = append(byVersion[gv], r)
	}
	d.documents = make(map[schema.GroupVersion]*document, len(byVersion))
	for gv, resources := range byVersion {
		if last != nil && last.documents[gv] != nil && slices.Equal(last.documents[gv].resources, resources) {
			d.documents[gv] = last.documents[gv]
			continue
		}
		d.documents[gv] = &document{resources, cached.Once(cached.Func(func() (*spec3.OpenAPI, string, error) {
			made, err := source.V3(gv, all)
			return made, gv.String(), err
		}))}
	}
	d.openapi = sync.OnceValue(func() http.Handler { return openAPIHandler(source, all, d.documents) })
	return d
}

// openAPIHandler serves the documents in JSON and protobuf, with hashes.
func openAPIHandler(source OpenAPI, all []*resource.Resource, documents map[schema.GroupVersion]*document) http.Handler {
	routes := &openAPIRoutes{exact: map[string]http.Handler{}}
	v2 := handler.NewOpenAPIServiceLazy(cached.Once(cached.Func(func() (*spec.Swagger, string, error) {
		made, err := source.V2(all)
		return made, "v2", err
	})))
	v2.RegisterOpenAPIVersionedService("/openapi/v2", routes)
	v3 := handler3.NewOpenAPIService()
	for gv, doc := range documents {
		v3.UpdateGroupVersionLazy(strings.TrimPrefix(discovery.Root(gv), "/"), doc.made)
	}
	routes.exact["/openapi/v3"] = http.HandlerFunc(v3.HandleDiscovery)
	routes.below = http.HandlerFunc(v3.HandleGroupVersion)
	return routes
}

type openAPIRoutes struct {
	exact map[string]http.Handler
	below http.Handler
}

var _ common.PathHandler = (*openAPIRoutes)(nil)

// Handle implements common.PathHandler.
func (o *openAPIRoutes) Handle(path string, h http.Handler) { o.exact[path] = h }

// ServeHTTP implements http.Handler.
func (o *openAPIRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := o.exact[strings.TrimSuffix(r.URL.Path, "/")]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/openapi/v3/") {
		o.below.ServeHTTP(w, r)
		return
	}
	http.Error(w, "404 page not found", http.StatusNotFound)
}
