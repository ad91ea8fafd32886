package apiserver

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/fairness"
	"github.com/strake-io/strake/store/cache"
)

var statusKind = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status   int
	size     int64
	hijacked bool
	// began hears of the status, once; may be nil.
	began func(status int)
}

func (w *recorder) begin(status int) {
	w.status = status
	if w.began != nil {
		w.began(status)
	}
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.size += int64(n)
	return n, err
}

// Flush implements http.Flusher.
func (w *recorder) Flush() {
	// A writer that cannot flush does not hold back either.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		w.begin(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fail answers with an error.
func (x *exchange) fail(err error) {
	if x.w.status != 0 {
		x.config.Logger.V(1).Info("A response broke off", "path", x.info.Path, "error", err.Error())
		if !x.w.hijacked {
			panic(http.ErrAbortHandler)
		}
		return
	}
	if errors.Is(err, errPathNotFound) {
		http.Error(x.w, "404 page not found", http.StatusNotFound)
		return
	}
	if refusal := (*fairness.Refusal)(nil); errors.As(err, &refusal) {
		x.w.Header().Set("Retry-After", strconv.FormatInt(refusal.RetryAfter, 10))
		http.Error(x.w, "Too many requests, please try again later.", http.StatusTooManyRequests)
		return
	}
	status := x.statusOf(err)
	out, ok := codec.Negotiate(x.r, codec.Offer{Protobuf: true})
	if !ok {
		out = codec.Output{Pretty: true}
	}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	x.send(int(status.Code), out, status)
}

// statusOf is the Status of an error. One that is not an API error is the server's
// own failure.
func (x *exchange) statusOf(err error) *metav1.Status {
	var api apierrors.APIStatus
	status := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}
	if errors.As(err, &api) {
		status = api.Status()
	} else {
		x.config.Logger.Error(err, "A request failed", "verb", x.info.Verb, "path", x.info.Path)
	}
	if status.Code == 0 {
		status.Code = http.StatusInternalServerError
	}
	if status.Status == "" {
		status.Status = metav1.StatusFailure
	}
	status.SetGroupVersionKind(statusKind)
	return &status
}

// send writes a stand-alone object that is not one of the resource's own.
func (x *exchange) send(code int, out codec.Output, obj runtime.Object) {
	if obj.GetObjectKind().GroupVersionKind().Empty() {
		if kinds, _, err := x.scheme.ObjectKinds(obj); err == nil && len(kinds) > 0 {
			obj = codec.WithKind(obj, kinds[0])
		}
	}
	x.auditAnswer(schema.GroupVersionKind{}, obj)
	if out.Media == codec.Protobuf && !codec.HasProtobuf(obj) {
		out.Media = codec.JSON
	}
	data, err := codec.Encode(out, obj)
	if err != nil {
		http.Error(x.w, err.Error(), http.StatusInternalServerError)
		return
	}
	x.sendBytes(code, out, data)
}

func (x *exchange) sendBytes(code int, out codec.Output, data []byte) {
	x.w.Header().Set("Content-Type", out.Media.String())
	body, finish := x.body(code)
	// Where the client is gone there is nobody to tell.
	_, _ = body.Write(data)
	_ = finish()
}

// sendObject writes one of the resource's objects, in the view that was asked for.
// item makes its encoding.
func (x *exchange) sendObject(code int, out codec.Output, gvk schema.GroupVersionKind, obj runtime.Object, item func() ([]byte, error)) error {
	switch out.View {
	case codec.TableView:
		x.auditAnswer(gvk, obj)
		return x.sendTable(out, metav1.ListMeta{ResourceVersion: versionOf(obj)}, 1, func(int) (runtime.Object, *cache.Entry) { return obj, nil })
	case codec.PartialListView:
		return wrongView("you requested PartialObjectMetadataList, but the requested object is not a list (" + internalName(x.resource.GVK) + ")")
	case codec.PartialView:
		partial, err := codec.Partial(obj, out.Beta)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		x.send(code, out, partial)
		return nil
	}
	data, err := item()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	x.auditAnswer(gvk, obj)
	if selfDescribing(obj) {
		gvk = schema.GroupVersionKind{}
	}
	whole, err := codec.Object(out, gvk, data)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	x.sendBytes(code, out, whole)
	return nil
}

// sendWritten answers a write with its result.
func (x *exchange) sendWritten(code int, out codec.Output, obj runtime.Object) error {
	return x.sendObject(code, out, x.resource.GVK, obj, func() ([]byte, error) { return codec.Item(out.Media, obj) })
}

func selfDescribing(obj runtime.Object) bool {
	_, ok := obj.(runtime.Unstructured)
	return ok
}

// offer is what objects of this resource can be shown as.
func (x *exchange) offer() codec.Offer {
	return codec.Offer{Protobuf: codec.HasProtobuf(x.resource.New()), Views: true}
}

// forbidden is the 403 of an authoriser's refusal, in upstream's words.
func forbidden(a authorizer.AttributesRecord, reason string) error {
	name := ""
	if a.User != nil {
		name = a.User.GetName()
	}
	var message string
	switch {
	case !a.ResourceRequest:
		message = fmt.Sprintf("User %q cannot %s path %q", name, a.Verb, a.Path)
	default:
		resource := a.Resource
		if a.Subresource != "" {
			resource += "/" + a.Subresource
		}
		where := "at the cluster scope"
		if a.Namespace != "" {
			where = fmt.Sprintf("in the namespace %q", a.Namespace)
		}
		message = fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", name, a.Verb, resource, a.APIGroup, where)
	}
	// Names come from the client: what it gets back must not look like HTML.
	message = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;").Replace(message)
	if reason != "" {
		message += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}, a.Name, errors.New(message))
}
