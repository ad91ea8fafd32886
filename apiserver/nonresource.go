package apiserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/version"

	"github.com/strake-io/strake/apiserver/codec"
)

// serveNonResource answers everything that is not about objects.
func (x *exchange) serveNonResource() error {
	path := strings.Trim(x.info.Path, "/")
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "api", "apis":
		if x.r.Method != http.MethodGet {
			return x.notAllowed()
		}
		documents, err := x.describe().discovery()
		if err != nil {
			return err
		}
		document, ok := documents.Serve(x.w, x.r)
		if !ok {
			return x.notServed()
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
	if first == "openapi" && x.config.OpenAPI != nil {
		x.describe().openapi().serve(x)
		return nil
	}
	h := x.nonResource[first]
	if h == nil {
		return errPathNotFound
	}
	h.ServeHTTP(x.w, x.r)
	return nil
}

func (s *Server) nonResourceHandlers() map[string]http.Handler {
	handlers := map[string]http.Handler{
		"healthz": s.healthHandler("healthz", true),
		"livez":   s.healthHandler("livez", true),
		"readyz":  s.healthHandler("readyz", false),
		"version": http.HandlerFunc(s.serveVersion),
		"metrics": s.metricsHandler(),
		"":        http.HandlerFunc(s.serveRoot),
	}
	if s.fair != nil {
		handlers["debug"] = http.HandlerFunc(s.fair.ServeDump)
	}
	maps.Copy(handlers, s.config.Paths)
	return handlers
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
		info.EmulationMajor, info.EmulationMinor = info.Major, info.Minor
		if minor, err := strconv.Atoi(info.Minor); err == nil {
			info.MinCompatibilityMajor, info.MinCompatibilityMinor = info.Major, strconv.Itoa(minor-1)
		}
	}
	return info
}

func (s *Server) serveVersion(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.version())
}

// serveRoot lists the paths there are.
func (s *Server) serveRoot(w http.ResponseWriter, _ *http.Request) {
	documents, err := s.describe().discovery()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	paths := append(documents.Paths(), "/apis/", "/healthz", "/livez", "/metrics", "/metrics/slis", "/readyz", "/version")
	for _, c := range s.checks() {
		paths = append(paths, "/readyz/"+c.Name)
		if c.Live {
			paths = append(paths, "/healthz/"+c.Name, "/livez/"+c.Name)
		}
	}
	if s.config.OpenAPI != nil {
		paths = append(paths, "/openapi/v2", "/openapi/v3", "/openapi/v3/")
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
