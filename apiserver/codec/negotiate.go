package codec

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/munnerz/goautoneg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// View is the type in which an object is shown.
type View uint8

const (
	// Plain shows the object itself.
	Plain View = iota
	// TableView shows rows for people: metav1.Table.
	TableView
	// PartialView shows metadata alone: metav1.PartialObjectMetadata.
	PartialView
	// PartialListView is the same of a list: metav1.PartialObjectMetadataList.
	PartialListView
)

// Output is what a client accepts.
type Output struct {
	Media Media
	View  View
	// Beta asks for the view in version v1beta1, which differs in its name only.
	Beta   bool
	Pretty bool
}

// Partial says that metadata alone is shown.
func (o Output) Partial() bool { return o.View == PartialView || o.View == PartialListView }

// Kind is that of the view; empty for the object itself.
func (o Output) Kind() schema.GroupVersionKind {
	gv := metav1.SchemeGroupVersion
	if o.Beta {
		gv.Version = "v1beta1"
	}
	switch o.View {
	case TableView:
		return gv.WithKind("Table")
	case PartialView:
		return gv.WithKind("PartialObjectMetadata")
	case PartialListView:
		return gv.WithKind("PartialObjectMetadataList")
	}
	return schema.GroupVersionKind{}
}

// Offer is what a handler can give.
type Offer struct {
	// Protobuf: the type has that form.
	Protobuf bool
	// Views: tables and metadata can be shown.
	Views bool
	// Stream: a watch, which YAML has no framing for.
	Stream bool
}

// Types are the media types of the offer, as error messages name them.
func (o Offer) Types() []string {
	types := []string{JSON.String(), YAML.String(), Protobuf.String()}
	if o.Stream {
		return []string{JSON.String() + streamParameter, Protobuf.String() + streamParameter}
	}
	return types
}

const streamParameter = ";stream=watch"

// Negotiate picks the first media type of an Accept header that can be given, in
// the order of the client's quality values. It follows the Kubernetes API server
// also where HTTP would have it otherwise: quality 0 only means last, and a watch
// whose first choice is YAML gets none.
func Negotiate(r *http.Request, offer Offer) (Output, bool) {
	out := Output{Pretty: pretty(r)}
	header := r.Header.Get("Accept")
	if header == "" {
		return out, true
	}
	for _, accept := range goautoneg.ParseAccept(header) {
		for _, media := range []Media{JSON, YAML, Protobuf} {
			if !covers(accept, media) || !offer.gives(media, accept.Params) {
				continue
			}
			out.Media, out.View = media, views[accept.Params["as"]]
			out.Beta = out.View != Plain && accept.Params["v"] == "v1beta1"
			out.Pretty = out.Pretty || accept.Params["pretty"] == "1"
			return out, !offer.Stream || media != YAML
		}
	}
	return out, false
}

// AcceptsAny says whether an Accept header has room for any of the media types,
// whatever their parameters: by its full name, or "*/*".
func AcceptsAny(r *http.Request) bool {
	header := r.Header.Get("Accept")
	if header == "" {
		return true
	}
	for accept := range strings.SplitSeq(header, ",") {
		name, _, _ := strings.Cut(accept, ";")
		switch strings.TrimSpace(name) {
		case "*/*", JSON.String(), YAML.String(), Protobuf.String():
			return true
		}
	}
	return false
}

// covers says whether an entry of an Accept header means a media type.
func covers(accept goautoneg.Accept, media Media) bool {
	if accept.Type == "*" {
		return accept.SubType == "*"
	}
	return accept.Type == "application" && (accept.SubType == "*" || "application/"+accept.SubType == media.String())
}

var views = map[string]View{
	"Table": TableView, "PartialObjectMetadata": PartialView, "PartialObjectMetadataList": PartialListView,
}

// gives says whether a media type can be given with the parameters of an entry.
func (o Offer) gives(media Media, params map[string]string) bool {
	if stream := params["stream"]; stream != "" && (stream != "watch" || media == YAML) {
		return false
	}
	if version := params["sv"]; version != "" && version != "v1" {
		return false
	}
	as, converts := params["as"]
	if _, ok := params["g"]; ok {
		converts = true
	}
	if _, ok := params["v"]; ok {
		converts = true
	}
	if !converts {
		return media != Protobuf || o.Protobuf
	}
	if !o.Views || params["g"] != metav1.GroupName || params["v"] != "v1" && params["v"] != "v1beta1" {
		return false
	}
	view := views[as]
	return view != Plain && (view != TableView || media != Protobuf)
}

// pretty: as the query says; otherwise for what people read with.
func pretty(r *http.Request) bool {
	if strings.Contains(r.URL.RawQuery, "pretty") {
		if p := r.URL.Query().Get("pretty"); p != "" {
			b, err := strconv.ParseBool(p)
			return err == nil && b
		}
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}

// Input is the media type of a body. An absent Content-Type means JSON.
func Input(contentType string) (Media, bool) {
	if contentType == "" {
		return JSON, true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return JSON, false
	}
	switch media {
	case "application/json":
		return JSON, true
	case "application/yaml":
		return YAML, true
	case "application/vnd.kubernetes.protobuf":
		return Protobuf, true
	}
	return JSON, false
}
