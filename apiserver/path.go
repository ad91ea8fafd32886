package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/audit"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/fairness"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/apiserver/request"
	"github.com/strake-io/strake/apiserver/resource"
)

// exchange is one request on its way through the server.
type exchange struct {
	*Server
	w     *recorder
	r     *http.Request
	info  request.Info
	user  user.Info
	query url.Values
	// audit is the record of the request; nil: none is kept.
	audit *audit.Record
	// audited: the record is closed.
	audited bool

	// away serves the request in this server's place; nil: this one does.
	away *Remote
	// Of a request for a resource.
	registry *registry.Registry
	resource *resource.Resource
	sub      *resource.Subresource
	warnings warnings
	// turn is the request's while it is served; nil: it takes none.
	turn *fairness.Turn
}

// ServeHTTP serves one request, over HTTP or from a client in this process.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	x := &exchange{Server: s, w: &recorder{ResponseWriter: w}, r: r, info: request.Parse(r), query: r.URL.Query()}
	x.route()
	done := s.metrics.begin(x)
	defer func() { done(time.Since(start)) }()
	defer x.endAudit()
	defer x.recoverPanic()

	header := x.w.Header()
	header.Set("Audit-Id", string(x.auditID()))
	header.Set("Cache-Control", "no-cache, private")
	header.Set("X-Content-Type-Options", "nosniff")
	if err := x.serve(start); err != nil {
		x.fail(err)
	}
}

// serve is the path of a request. An error is answered with a Status.
func (x *exchange) serve(start time.Time) error {
	// 1. Authenticate. From here on the request is on record.
	err := x.authenticate()
	x.beginAudit(start, err)
	if err != nil {
		return err
	}
	if err := x.impersonate(); err != nil {
		return err
	}
	// 2. Wait for a turn; then no longer than is allowed.
	done, err := x.admitTurn()
	if err != nil {
		return err
	}
	defer done()
	// 3. Authorise, and wait for the server while it starts.
	if err := x.authoriseRequest(); err != nil {
		return err
	}
	if err := x.awaitComplete(); err != nil {
		return err
	}
	if x.away != nil {
		if x.longRunning() {
			x.begun()
		}
		x.away.Serve(x.w, x.r, x.user)
		return nil
	}
	if !x.info.IsResource {
		return x.serveNonResource()
	}
	if x.registry == nil || x.info.Subresource != "" && x.sub == nil {
		return x.notServed()
	}
	if err := x.awaitReady(); err != nil {
		return err
	}
	x.warn(x.resource.Deprecated)
	// 4. The verb: decode → admit (mutate) → default → validate → admit
	// (validate) → store → encode. The steps of the writes from admission to the
	// store are in registry.Create and registry.Update.
	if err := x.verb(); !errors.Is(err, registry.ErrReplaced) || x.w.status != 0 {
		return err
	}
	return x.again()
}

// again serves a read whose resource was replaced meanwhile from what is served
// now.
func (x *exchange) again() error {
	x.set.Settle()
	x.registry, x.resource, x.sub = nil, nil, nil
	if x.route(); x.registry == nil || x.info.Subresource != "" && x.sub == nil {
		return x.notServed()
	}
	if err := x.awaitReady(); err != nil {
		return err
	}
	return x.verb()
}

// verb serves what the request asks for, where the resource has that.
func (x *exchange) verb() error {
	if x.r.Method == http.MethodHead && (x.sub == nil || x.sub.Connect == nil) {
		return x.notAllowed()
	}
	if x.sub != nil {
		return x.subresource()
	}
	if x.resource.Create != nil && (x.info.Name != "" || x.resource.Namespaced && x.info.Namespace == "") {
		// What is only made is made in its collection, and is nowhere afterwards.
		return x.notServed()
	}
	if err := x.supported(); err != nil {
		return err
	}
	switch x.info.Verb {
	case "get":
		return x.get()
	case "list":
		return x.list()
	case "watch":
		return x.watch()
	case "create":
		return x.create()
	case "update":
		return x.update()
	case "patch":
		return x.patch()
	case "delete":
		return x.delete()
	case "deletecollection":
		return x.deleteCollection()
	}
	return x.notAllowed()
}

// route finds the resource that the path names, where there is one.
func (x *exchange) route() {
	if x.away = x.remote(); x.away != nil || !x.info.IsResource {
		return
	}
	reg := x.set.Of(schema.GroupVersionResource{Group: x.info.Group, Version: x.info.Version, Resource: x.info.Resource})
	if reg == nil || reg.Resource.Unserved {
		return
	}
	if !reg.Resource.Namespaced && x.info.Namespace != "" && x.info.Resource != "namespaces" {
		return
	}
	if x.info.Tail != "" && x.info.Subresource == "" {
		return
	}
	x.registry, x.resource = reg, reg.Resource
	if x.info.Subresource != "" {
		x.sub = reg.Resource.Subresource(x.info.Subresource)
		if x.sub != nil && x.info.Tail != "" && x.sub.Connect == nil {
			x.sub = nil
		}
	}
}

// longRunning requests have no timeout. Watches take a turn to begin, others none.
func (x *exchange) longRunning() bool {
	if x.away != nil && relayed[x.info.Subresource] {
		return true
	}
	return x.info.IsResource && (x.info.Verb == "watch" || x.sub != nil && x.sub.Connect != nil)
}

func (x *exchange) authenticate() error {
	if who, ok := inProcessUser(x.r.Context()); ok {
		x.user = who
		return nil
	}
	response, ok, err := x.config.Authenticator.AuthenticateRequest(x.r)
	if err != nil || !ok || response == nil || response.User == nil {
		if err != nil {
			x.config.Logger.V(1).Info("Refused a request's credentials", "path", x.info.Path, "error", err.Error())
		}
		return apierrors.NewUnauthorized("Unauthorized")
	}
	// Nothing behind here needs the credentials, least of all what is proxied to.
	x.r.Header.Del("Authorization")
	x.user = response.User
	return nil
}

// attributes of the request, for the authoriser.
func (x *exchange) attributes() authorizer.AttributesRecord {
	a := authorizer.AttributesRecord{
		User: x.user, Verb: x.info.Verb, Namespace: x.info.Namespace, APIGroup: x.info.Group, APIVersion: x.info.Version,
		Resource: x.info.Resource, Subresource: x.info.Subresource, Name: x.info.Name,
		ResourceRequest: x.info.IsResource, Path: x.info.Path,
	}
	switch x.info.Verb {
	case "list", "watch", "deletecollection":
		selected(&a, x.query)
	}
	return a
}

// selected tells the authoriser what a request is narrowed to.
func selected(a *authorizer.AttributesRecord, query url.Values) {
	if text := query.Get("fieldSelector"); text != "" {
		if selector, err := fields.ParseSelector(text); err != nil {
			a.FieldSelectorParsingErr = err
		} else if all := selector.Requirements(); len(all) > 0 {
			a.FieldSelectorRequirements = all
		}
	}
	if text := query.Get("labelSelector"); text != "" {
		if selector, err := labels.Parse(text); err != nil {
			a.LabelSelectorParsingErr = err
		} else if all, _ := selector.Requirements(); len(all) > 0 {
			a.LabelSelectorRequirements = all
		}
	}
}

func (x *exchange) authorise(a authorizer.AttributesRecord) error {
	_, err := x.decide(a)
	return err
}

// decide is authorise with the authoriser's reason.
func (x *exchange) decide(a authorizer.AttributesRecord) (reason string, err error) {
	decision, reason, err := x.config.Authorizer.Authorize(x.r.Context(), a)
	if decision == authorizer.DecisionAllow {
		return reason, nil
	}
	if err != nil {
		return reason, apierrors.NewInternalError(err)
	}
	return reason, forbidden(a, reason)
}

func (x *exchange) awaitReady() error {
	select {
	case <-x.registry.Ready():
		return nil
	default:
	}
	select {
	case <-x.registry.Ready():
		return nil
	case <-x.r.Context().Done():
		return apierrors.NewServiceUnavailable("the server is starting")
	}
}

// awaitComplete has requests that depend on all that is served wait for it while
// the server starts.
func (x *exchange) awaitComplete() error {
	complete := x.config.Complete
	describes := strings.HasPrefix(x.info.Path, "/api") || strings.HasPrefix(x.info.Path, "/openapi")
	if complete == nil || x.registry != nil || !x.info.IsResource && !describes {
		return nil
	}
	select {
	case <-complete:
	case <-x.r.Context().Done():
		return apierrors.NewServiceUnavailable("the server is starting")
	}
	x.route()
	return nil
}

// supported checks the verb against those of the resource.
func (x *exchange) supported() error {
	verbs := x.resource.Verbs
	ok := verbs == nil
	for _, v := range verbs {
		ok = ok || v == x.info.Verb
	}
	named := x.info.Name != ""
	switch x.info.Verb {
	case "create":
		ok = ok && !named && (!x.resource.Namespaced || x.info.Namespace != "")
	case "update", "patch", "delete", "get":
		ok = ok && named && (!x.resource.Namespaced || x.info.Namespace != "")
	case "deletecollection":
		ok = ok && (!x.resource.Namespaced || x.info.Namespace != "")
	}
	if !ok {
		return x.notAllowed()
	}
	return nil
}

// namespace that the request is in: a namespace itself is in none.
func (x *exchange) namespace() string {
	if !x.resource.Namespaced {
		return ""
	}
	return x.info.Namespace
}

func (x *exchange) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	x.auditPanic(p)
	x.config.Logger.Error(fmt.Errorf("%v", p), "A request's handler panicked", "verb", x.info.Verb, "path", x.info.Path, "stack", string(debug.Stack()))
	if x.w.status == 0 {
		x.fail(apierrors.NewInternalError(errors.New("This request caused apiserver to panic. Look in the logs for details.")))
		return
	}
	// Half an answer must not look like a whole one.
	panic(http.ErrAbortHandler)
}

// write is what the registry is told of this request's writes.
func (x *exchange) write(verb string, opts writeOptions) registry.Write {
	req := resource.Request{
		User: x.user, Verb: verb, Namespace: x.namespace(), Name: x.info.Name,
		Subresource: x.info.Subresource, DryRun: opts.dryRun,
	}
	if x.sub != nil && x.sub.Connect != nil {
		req.Query, req.Path = x.query, x.connectPath()
	}
	return registry.Write{
		Request:  req,
		Manager:  opts.manager,
		Options:  opts.given,
		Warn:     x.warn,
		Annotate: x.audit.Annotate,
	}
}

// connectPath is what follows the sub-resource in the path. A slash at its end counts:
// directories of a web server have one, and its pages have not.
func (x *exchange) connectPath() string {
	path := ""
	if x.info.Tail != "" {
		path = "/" + x.info.Tail
	}
	if strings.HasSuffix(x.info.Path, "/") {
		path += "/"
	}
	return path
}

// mayCreate authorises what turns out to be a create, for the verbs that were
// authorised as something else.
func (x *exchange) mayCreate() error {
	a := x.attributes()
	a.Verb = "create"
	return x.authorise(a)
}

// accepts picks what to answer with.
func (x *exchange) accepts(offer codec.Offer) (codec.Output, error) {
	if !codec.AcceptsAny(x.r) && x.routed() {
		return codec.Output{}, noRepresentation(x.representations())
	}
	out, ok := codec.Negotiate(x.r, offer)
	if !ok {
		return out, notAcceptable(offer)
	}
	return out, nil
}
