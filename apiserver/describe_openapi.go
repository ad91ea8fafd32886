package apiserver

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"github.com/munnerz/goautoneg"
	"google.golang.org/protobuf/proto"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resource"
)

// encodable is an openapi document.
type encodable interface{ MarshalJSON() ([]byte, error) }

// document is an openapi document in the forms in which clients get it. It is made
// when a client first asks for it and kept packed, a tenth of its size.
type document struct {
	// of are the resources that it describes.
	of          []*resource.Resource
	json, proto func() (*packed, error)
}

// packed is compressed data.
type packed struct {
	data     []byte
	etag     string
	modified time.Time
}

func newDocument(of []*resource.Resource, toProto func([]byte) (proto.Message, error), build func() (encodable, error)) *document {
	d := &document{of: of}
	d.json = sync.OnceValues(func() (*packed, error) {
		made, err := build()
		if err != nil {
			return nil, err
		}
		data, err := made.MarshalJSON()
		if err != nil {
			return nil, err
		}
		return pack(data, fmt.Sprintf("%X", sha512.Sum512(data)), time.Now())
	})
	d.proto = sync.OnceValues(func() (*packed, error) {
		source, err := d.json()
		if err != nil {
			return nil, err
		}
		data, err := source.unpack()
		if err != nil {
			return nil, err
		}
		message, err := toProto(data)
		if err != nil {
			return nil, err
		}
		if data, err = proto.Marshal(message); err != nil {
			return nil, err
		}
		// Vary tells the forms apart.
		return pack(data, source.etag, source.modified)
	})
	return d
}

func protoV2(data []byte) (proto.Message, error) { return openapiv2.ParseDocument(data) }

func protoV3(data []byte) (proto.Message, error) { return openapiv3.ParseDocument(data) }

func pack(data []byte, etag string, modified time.Time) (*packed, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &packed{bytes.Clone(b.Bytes()), etag, modified}, nil
}

func (p *packed) unpack() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(p.data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// serve answers with the data, or with 304 to who has it.
func (p *packed) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", strconv.Quote(p.etag))
	w.Header().Add("Vary", "Accept-Encoding")
	data := p.data
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && r.Header.Get("Range") == "" {
		w.Header().Set("Content-Encoding", "gzip")
	} else {
		var err error
		if data, err = p.unpack(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	http.ServeContent(w, r, "", p.modified, bytes.NewReader(data))
}

// accepted picks the form that a client wants of a document. The protobuf types
// have an old name with @, which is no media type by the rules.
func (d *document) accepted(r *http.Request, version string) (media string, form func() (*packed, error)) {
	accept := r.Header.Get("Accept")
	if accept == "" {
		accept = "*/*"
	}
	protobuf := "com.github.proto-openapi.spec." + version + ".v1.0+protobuf"
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Type != "application" && clause.Type != "*" {
			continue
		}
		switch clause.SubType {
		case "json", "*":
			return "application/json", d.json
		case protobuf, "com.github.proto-openapi.spec." + version + "@v1.0+protobuf":
			return "application/" + protobuf, d.proto
		}
	}
	return "", nil
}

func (d *document) serve(w http.ResponseWriter, r *http.Request, version string, before func(*packed) bool) {
	w.Header().Add("Vary", "Accept")
	media, form := d.accepted(r, version)
	if form == nil {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	p, err := form()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", media)
	if before(p) {
		p.serve(w, r)
	}
}

// openAPIHandler serves the documents of one description.
type openAPIHandler struct {
	*description
	index func() (*packed, error)
}

func newOpenAPIHandler(d *description) *openAPIHandler {
	return &openAPIHandler{d, sync.OnceValues(d.indexV3)}
}

// indexV3 lists the documents of version 3, each with its hash.
func (d *description) indexV3() (*packed, error) {
	type entry struct {
		URL string `json:"serverRelativeURL"`
	}
	paths := map[string]entry{}
	for path, doc := range d.v3 {
		made, err := doc.json()
		if err != nil {
			return nil, err
		}
		paths[path] = entry{hashedURL(path, made.etag)}
	}
	for _, r := range d.delegated.all {
		for path, where := range r.OpenAPI {
			paths[path] = entry{where}
		}
	}
	data, err := json.Marshal(map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	return pack(data, fmt.Sprintf("%X", sha512.Sum512(data)), time.Now())
}

func hashedURL(path, etag string) string {
	return (&url.URL{Path: "/openapi/v3/" + path, RawQuery: url.Values{"hash": {etag}}.Encode()}).String()
}

func (h *openAPIHandler) serve(x *exchange) {
	w, r := x.w, x.r
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case path == "/openapi/v2":
		h.v2.serve(w, r, "v2", func(*packed) bool { return true })
	case path == "/openapi/v3":
		index, err := h.index()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		index.serve(w, r)
	case strings.HasPrefix(path, "/openapi/v3/"):
		h.serveV3(x, strings.TrimPrefix(path, "/openapi/v3/"))
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}

func (h *openAPIHandler) serveV3(x *exchange, path string) {
	for _, remote := range h.delegated.all {
		if remote.OpenAPI[path] != "" {
			remote.Serve(x.w, x.r, x.user)
			return
		}
	}
	doc := h.v3[path]
	if doc == nil {
		http.Error(x.w, "404 page not found", http.StatusNotFound)
		return
	}
	doc.serve(x.w, x.r, "v3", func(p *packed) bool {
		hash := x.query.Get("hash")
		switch hash {
		case "":
			return true
		case p.etag:
			// What has this hash stays as it is: to be kept for a year.
			x.w.Header().Set("Cache-Control", "public, immutable")
			x.w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
			return true
		}
		http.Redirect(x.w, x.r, hashedURL(path, p.etag), http.StatusMovedPermanently)
		return false
	})
}

// mergeSwagger adds what another server says of its group version. Definitions of
// one name that differ get other names.
func mergeSwagger(whole *spec.Swagger, remote *Remote) error {
	part := aggregator.FilterSpecByPathsWithoutSideEffects(remote.Swagger, []string{discovery.Root(remote.GroupVersion) + "/"})
	return aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(whole, part)
}
