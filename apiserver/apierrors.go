package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/codec"
)

// errPathNotFound is answered in plain text: there is no API at that path.
var errPathNotFound = errors.New("404 page not found")

// notServed is the error of a path below a group that is there: what does not exist
// there is told in a Status. The groups of custom resources have no such answer.
func (x *exchange) notServed() error {
	if !x.set.Table().BuiltIn(x.info.Group) || x.info.Group == "" && !strings.HasPrefix(x.info.Path, "/api/") {
		return errPathNotFound
	}
	return unrouted(http.StatusNotFound, "404: Page Not Found")
}

// notAllowed is the error of a method that a path does not have. Those of custom
// resources name the verb.
func (x *exchange) notAllowed() error {
	if x.resource != nil && selfDescribing(x.resource.New()) {
		return apierrors.NewMethodNotSupported(x.resource.GroupResource(), x.info.Verb)
	}
	return unrouted(http.StatusMethodNotAllowed, "405: Method Not Allowed")
}

func notAcceptable(offer codec.Offer) error {
	return mediaError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: "+strings.Join(offer.Types(), ", "))
}

// unrouted is the error of what upstream's router refuses by itself.
func unrouted(code int, message string) error {
	return apierrors.NewGenericServerResponse(code, "", schema.GroupResource{}, "", message, 0, false)
}

// routed says that a request is for what upstream routes by its media types before
// anything else is looked at: all but custom resources.
func (x *exchange) routed() bool {
	return x.resource == nil || !selfDescribing(x.resource.New())
}

// representations are what such a route can answer with.
func (x *exchange) representations() []string {
	types := codec.Offer{}.Types()
	if x.resource != nil && (x.info.Verb == "list" || x.info.Verb == "watch") {
		types = append(types, codec.Offer{Stream: true}.Types()...)
	}
	return types
}

func noRepresentation(types []string) error {
	return unrouted(http.StatusNotAcceptable, "406: Not Acceptable\n\nAvailable representations: "+strings.Join(types, ", "))
}

// wrongView is the error of a view that the answer cannot be shown as.
func wrongView(message string) error {
	return mediaError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, message)
}

func unsupportedMedia(types ...string) error {
	if len(types) == 0 {
		types = codec.Offer{}.Types()
	}
	return mediaError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: "+strings.Join(types, ", "))
}

func mediaError(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}}
}

// internalName is what upstream's messages call the Go type of a kind: that of its
// own, unversioned package.
func internalName(gvk schema.GroupVersionKind) string {
	group, _, _ := strings.Cut(gvk.Group, ".")
	switch gvk.Group {
	case "", "events.k8s.io":
		group = "core"
	}
	return "*" + group + "." + gvk.Kind
}

// otherKind is the error of an object of one kind where another is wanted.
func otherKind(is, want schema.GroupVersionKind) error {
	return fmt.Errorf("converting (%s.%s) to (%s): unknown conversion", is.Version, is.Kind, strings.TrimPrefix(internalName(want), "*"))
}
