package codec

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/munnerz/goautoneg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// View is the type in which an object is shown.
type View uint8

const (
	// Plain shows the object itself.
	Plain View = iota
	// TableView shows rows for people: metav1.Table.
	TableView
	// PartialView shows metadata alone: metav1.PartialObjectMetadata(List).
	PartialView
)

// Output is what a client accepts.
type Output struct {
	Media  Media
	View   View
	Pretty bool
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

// Negotiate picks the first media type of an Accept header that can be given.
func Negotiate(r *http.Request, offer Offer) (Output, bool) {
	out := Output{Pretty: pretty(r)}
	header := r.Header.Get("Accept")
	if header == "" {
		return out, true
	}
	for _, accept := range goautoneg.ParseAccept(header) {
		if accept.Q == 0 {
			continue
		}
		media, ok := acceptable(accept, offer)
		if !ok {
			continue
		}
		view, ok := wantedView(accept.Params, offer)
		if !ok || media == Protobuf && view == TableView {
			continue
		}
		out.Media, out.View = media, view
		return out, true
	}
	return out, false
}

func acceptable(accept goautoneg.Accept, offer Offer) (Media, bool) {
	switch accept.Type + "/" + accept.SubType {
	case "application/json", "application/*", "*/*":
		return JSON, true
	case "application/yaml":
		return YAML, !offer.Stream
	case "application/vnd.kubernetes.protobuf":
		return Protobuf, offer.Protobuf
	}
	return JSON, false
}

func wantedView(params map[string]string, offer Offer) (View, bool) {
	as := params["as"]
	if as == "" {
		return Plain, true
	}
	if !offer.Views || params["g"] != metav1.GroupName || params["v"] != "v1" {
		return Plain, false
	}
	switch as {
	case "Table":
		return TableView, true
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return PartialView, true
	}
	return Plain, false
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
