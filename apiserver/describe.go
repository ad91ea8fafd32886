package apiserver

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/openapiconv"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/apiserver/resource"
)

// description tells clients what is served: a table of resources, and what other
// servers serve. Its parts are made when a client first asks; documents in which
// nothing changed are the ones of the description before.
type description struct {
	table     *registry.Table
	delegated *delegation
	discovery func() (*discovery.Handler, error)
	// openapi serves what is below /openapi; nil where there is no OpenAPI.
	openapi func() *openAPIHandler

	v2 *document
	// v3 are the documents of version 3 by their paths ("api/v1", "apis/apps/v1").
	v3 map[string]*document
}

// describe is the description of what is served now.
func (s *Server) describe() *description {
	for {
		last, table, delegated := s.described.Load(), s.set.Table(), s.delegated.Load()
		if last != nil && last.table == table && last.delegated == delegated {
			return last
		}
		next := s.newDescription(table, delegated, last)
		if s.described.CompareAndSwap(last, next) {
			return next
		}
	}
}

func (s *Server) newDescription(table *registry.Table, delegated *delegation, last *description) *description {
	all := table.Resources()
	d := &description{table: table, delegated: delegated, discovery: sync.OnceValues(func() (*discovery.Handler, error) {
		remotes := make([]discovery.Remote, len(delegated.all))
		for i, r := range delegated.all {
			remotes[i] = r.Remote
		}
		return discovery.New(all, remotes)
	})}
	if s.config.OpenAPI == nil {
		return d
	}
	if last == nil {
		last = &description{}
	}
	other := s.otherPaths(delegated.local(all))
	d.describeV2(s.config.OpenAPI, all, other, last)
	d.describeV3(s.config.OpenAPI, all, other, last)
	d.openapi = sync.OnceValue(func() *openAPIHandler { return newOpenAPIHandler(d) })
	return d
}

// local are the resources that no other server serves in this one's place.
func (d *delegation) local(all []*resource.Resource) []*resource.Resource {
	if len(d.byGV) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(r *resource.Resource) bool { return d.byGV[r.GVK.GroupVersion()] != nil })
}

func (d *description) describeV2(source OpenAPI, all []*resource.Resource, other []string, last *description) {
	if last.v2 != nil && d.delegated == last.delegated && slices.Equal(last.v2.of, all) {
		d.v2 = last.v2
		return
	}
	d.v2 = newDocument(all, protoV2, func() (encodable, error) {
		whole, err := source.V2(d.delegated.local(all), other)
		if err != nil {
			return nil, err
		}
		for _, r := range d.delegated.all {
			if r.Swagger == nil {
				continue
			}
			if err := mergeSwagger(whole, r); err != nil {
				return nil, err
			}
		}
		return whole, nil
	})
}

func (d *description) describeV3(source OpenAPI, all []*resource.Resource, other []string, last *description) {
	d.v3 = map[string]*document{}
	keep := func(path string, of []*resource.Resource, build func() (encodable, error)) {
		if was := last.v3[path]; was != nil && slices.Equal(was.of, of) {
			d.v3[path] = was
			return
		}
		d.v3[path] = newDocument(of, protoV3, build)
	}
	byVersion := map[schema.GroupVersion][]*resource.Resource{}
	for _, r := range d.delegated.local(all) {
		gv := r.GVK.GroupVersion()
		byVersion[gv] = append(byVersion[gv], r)
	}
	for gv, of := range byVersion {
		keep(strings.TrimPrefix(discovery.Root(gv), "/"), of, func() (encodable, error) { return source.V3(gv, all) })
	}
	for _, r := range d.delegated.all {
		if len(r.OpenAPI) == 0 && r.Swagger != nil {
			path := strings.TrimPrefix(discovery.Root(r.GroupVersion), "/")
			d.v3[path] = newDocument(nil, protoV3, func() (encodable, error) { return openapiconv.ConvertV2ToV3(r.Swagger), nil })
		}
	}
	for _, path := range other {
		keep(strings.TrimPrefix(path, "/"), nil, func() (encodable, error) { return source.V3Path(path) })
	}
}

// otherPaths are those outside of group versions that the documents tell of.
func (s *Server) otherPaths(resources []*resource.Resource) []string {
	paths := []string{"/api", "/apis", "/version"}
	for first, path := range map[string]string{".well-known": "/.well-known/openid-configuration", "openid": "/openid/v1/jwks"} {
		if s.config.Paths[first] != nil {
			paths = append(paths, path)
		}
	}
	for _, r := range resources {
		if path := "/apis/" + r.GVK.Group; r.GVK.Group != "" && r.Schema == nil && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}
