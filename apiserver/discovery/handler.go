package discovery

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
)

// Handler serves /api, /apis and what is directly below them.
type Handler struct {
	documents  map[string]runtime.Object
	aggregated map[string]*ready
	groups     []group
}

// ready is an aggregated document in both forms, with its hash.
type ready struct {
	forms map[codec.Media][]byte
	etag  string
}

// New makes the documents of the given resources, and of what other servers serve:
// their group versions stand in the place of those of this server.
func New(resources []*resource.Resource, remote []Remote) (*Handler, error) {
	groups := collect(resources, remote)
	stored := kindsStored(resources)
	h := &Handler{documents: map[string]runtime.Object{}, aggregated: map[string]*ready{}, groups: groups}
	core := &metav1.APIVersions{Versions: []string{}}
	core.Kind = "APIVersions" // without apiVersion, as upstream
	list := &metav1.APIGroupList{Groups: []metav1.APIGroup{}}
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "APIGroupList"})
	for _, g := range groups {
		if g.name == "" {
			for _, v := range g.versions {
				core.Versions = append(core.Versions, v.name)
				if v.remote == nil {
					h.documents["/api/"+v.name] = v.document("", stored)
				}
			}
			continue
		}
		doc := g.document()
		list.Groups = append(list.Groups, doc)
		single := doc
		single.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "APIGroup"})
		h.documents["/apis/"+g.name] = &single
		for _, v := range g.versions {
			if v.remote == nil {
				h.documents["/apis/"+g.name+"/"+v.name] = v.document(g.name, stored)
			}
		}
	}
	h.documents["/api"], h.documents["/apis"] = core, list
	for path, isCore := range map[string]bool{"/api": true, "/apis": false} {
		doc, err := prepare(aggregated(groups, isCore))
		if err != nil {
			return nil, fmt.Errorf("discovery of %s: %w", path, err)
		}
		h.aggregated[path] = doc
	}
	return h, nil
}

func prepare(list *apidiscovery.APIGroupDiscoveryList) (*ready, error) {
	doc := &ready{forms: map[codec.Media][]byte{}}
	for _, media := range []codec.Media{codec.JSON, codec.Protobuf} {
		data, err := codec.Encode(codec.Output{Media: media}, list)
		if err != nil {
			return nil, err
		}
		doc.forms[media] = data
	}
	doc.etag = fmt.Sprintf(`"%X"`, sha512.Sum512(doc.forms[codec.JSON]))
	return doc, nil
}

// Paths are those that it serves.
func (h *Handler) Paths() []string {
	paths := make([]string, 0, len(h.documents))
	for p := range h.documents {
		paths = append(paths, p)
	}
	return paths
}

// Serve answers a request for one of its documents and reports whether there is
// one at that path. The document comes back for the caller to encode; nil means
// that the answer has been written.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) (runtime.Object, bool) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	doc, ok := h.documents[path]
	if !ok {
		return nil, false
	}
	if all := h.aggregated[path]; all != nil {
		w.Header().Add("Vary", "Accept")
		if media, wanted := wantsAggregated(r); wanted {
			all.write(w, r, media)
			return nil, true
		}
	}
	if versions, is := doc.(*metav1.APIVersions); is {
		// The way to the server is the one by which the client came.
		here := *versions
		here.ServerAddressByClientCIDRs = []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: r.Host}}
		return &here, true
	}
	return doc, true
}

// wantsAggregated: the first acceptable entry of the Accept header decides.
func wantsAggregated(r *http.Request) (codec.Media, bool) {
	for _, accept := range goautoneg.ParseAccept(r.Header.Get("Accept")) {
		media, ok := codec.Input(accept.Type + "/" + accept.SubType)
		if !ok || media == codec.YAML {
			if accept.Type == "*" || accept.SubType == "*" {
				return codec.JSON, false
			}
			continue
		}
		switch accept.Params["as"] {
		case "":
			return media, false
		case "APIGroupDiscoveryList":
			if accept.Params["g"] == apidiscovery.GroupName && accept.Params["v"] == "v2" {
				return media, true
			}
		}
	}
	return codec.JSON, false
}

func (d *ready) write(w http.ResponseWriter, r *http.Request, media codec.Media) {
	w.Header().Set("Content-Type", media.String()+";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	w.Header().Set("ETag", d.etag)
	w.Header().Set("Cache-Control", "public")
	if r.Header.Get("If-None-Match") == d.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	data := d.forms[media]
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(data) > 16<<10 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err == nil && z.Close() == nil {
			w.Header().Set("Content-Encoding", "gzip")
			data = b.Bytes()
		}
	}
	w.WriteHeader(http.StatusOK)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(data)
}
