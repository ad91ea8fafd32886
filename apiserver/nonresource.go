package apiserver

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/kube-openapi/pkg/cached"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/codec"
)

// serveNonResource answers everything that is not about objects.
func (x *exchange) serveNonResource() error {
	path := strings.Trim(x.info.Path, "/")
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "api", "apis":
		if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
			return apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, x.r.Method, x.info.GroupResource(), "", "", 0, true)
		}
		document, ok := x.discovery.Serve(x.w, x.r)
		if !ok {
			return errPathNotFound
		}
		if document == nil {
			return nil
		}
		out, err := x.accepts(codec.Offer{Protobuf: codec.HasProtobuf(document)})
		if err != nil {
			return err
		}
		x.send(http.StatusOK, out, document)
		return nil
	}
	h := x.nonResource[first]
	if h == nil {
		return errPathNotFound
	}
	h.ServeHTTP(x.w, x.r)
	return nil
}

func (s *Server) nonResourceHandlers() (map[string]http.Handler, error) {
	handlers := map[string]http.Handler{
		"healthz": s.healthHandler("healthz", true),
		"livez":   s.healthHandler("livez", true),
		"readyz":  s.healthHandler("readyz", false),
		"version": http.HandlerFunc(s.serveVersion),
		"metrics": promhttp.HandlerFor(s.metrics.gatherer, promhttp.HandlerOpts{}),
		"":        http.HandlerFunc(s.serveRoot),
	}
	if s.config.OpenAPI != nil {
		h, err := openAPIHandler(s.config.OpenAPI)
		if err != nil {
			return nil, err
		}
		handlers["openapi"] = h
	}
	return handlers, nil
}

// Version is what /version tells.
func (s *Server) version() version.Info {
	info := version.Info{
		GitVersion: s.config.Version, GitTreeState: "clean",
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	numbers := strings.Split(strings.TrimPrefix(s.config.Version, "v"), ".")
	if len(numbers) >= 2 {
		info.Major, info.Minor = numbers[0], numbers[1]
	}
	return info
}

func (s *Server) serveVersion(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.version())
}

// serveRoot lists the paths there are.
func (s *Server) serveRoot(w http.ResponseWriter, _ *http.Request) {
	paths := append(s.discovery.Paths(), "/healthz", "/livez", "/metrics", "/readyz", "/version")
	if s.config.OpenAPI != nil {
		paths = append(paths, "/openapi/v2", "/openapi/v3")
	}
	sortStrings(paths)
	writeJSON(w, struct {
		Paths []string `json:"paths"`
	}{paths})
}

func writeJSON(w http.ResponseWriter, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(data)
}

// openAPIHandler serves the documents in JSON and protobuf, with hashes, each made
// when it is first asked for.
func openAPIHandler(source OpenAPI) (http.Handler, error) {
	routes := &openAPIRoutes{exact: map[string]http.Handler{}}
	v2 := handler.NewOpenAPIServiceLazy(cached.Once(cached.Func(func() (*spec.Swagger, string, error) {
		document, err := source.V2()
		return document, "v2", err
	})))
	v2.RegisterOpenAPIVersionedService("/openapi/v2", routes)

	v3 := cached.Once(cached.Func(func() (*handler3.OpenAPIService, string, error) {
		service := handler3.NewOpenAPIService()
		documents, err := source.V3()
		for path, document := range documents {
			service.UpdateGroupVersionLazy(path, cached.Static[*spec3.OpenAPI](document, path))
		}
		return service, "v3", err
	}))
	routes.exact["/openapi/v3"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if service, _, err := v3.Get(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else {
			service.HandleDiscovery(w, r)
		}
	})
	routes.below = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if service, _, err := v3.Get(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else {
			service.HandleGroupVersion(w, r)
		}
	})
	return routes, nil
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
