// Package apiserver is the Kubernetes API over a [store.Store]: an http.Handler
// that serves the resources it is given, and in-process clients to it. It stands
// between every other component and the store; nothing else writes there.
//
// The path of a request is in path.go, from top to bottom: authenticate → wait for a
// turn → authorise → decode → admit (mutate) → default → validate → admit (validate)
// → store → encode. Its parts are the packages below: request (what is asked for),
// authn, fairness (whose turn it is), authz, codec (media types), patch,
// fieldmanager, admission, registry (the writes and reads of all resources),
// discovery and openapi.
//
// The host owns the listener, TLS and HTTP/2; [Server.RESTConfig] and
// [Server.Informers] need none.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/namespacelifecycle"
	"github.com/strake-io/strake/apiserver/audit"
	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
)

// Config of a server. Store and Resources are required; the zero value of every
// other field is its default.
type Config struct {
	// Store keeps the objects. The server neither runs nor closes it.
	Store store.Store
	// Resources to serve.
	Resources []*resource.Resource

	// Complete is closed when all that is published at run time (custom resources)
	// is there for the first time: until then, who asks for what is not served, or
	// what is, waits. Default: nothing is published at the start.
	Complete <-chan struct{}

	// Authenticator says who a request comes from. Default: everyone is
	// anonymous. See package authn.
	Authenticator authenticator.Request
	// Authorizer says what that user may do. Default: package authz's.
	Authorizer authorizer.Authorizer
	// Admission looks at every write, in this order. Default: the namespace
	// life cycle alone, where namespaces are served. An empty, non-nil slice
	// turns that off.
	Admission []admission.Plugin

	// Audit is what is recorded of requests. Default: nothing. See package audit.
	Audit audit.Config

	// Paths are further handlers by the first segment of the path they serve
	// (".well-known"), behind authentication and authorisation.
	Paths map[string]http.Handler
	// OpenAPI makes the documents below /openapi. Default: there are none, and
	// clients go without (kubectl validates on the server instead).
	OpenAPI OpenAPI
	// Version that /version and the openapi documents tell. Default
	// [DefaultVersion]. Clients parse it: keep its form.
	Version string
	// Checks are asked by /readyz, and those marked so by /livez, beside the
	// server's own.
	Checks []Check

	// MaxBody is the largest request body, in bytes. Default 3 MiB, upstream's.
	MaxBody int64
	// RequestTimeout bounds every request but watches and connections. Default
	// 60 s.
	RequestTimeout time.Duration
	// MinWatchTimeout is the shortest time after which a watch without
	// timeoutSeconds is ended; the longest is twice that, so that clients
	// spread out. Default 30 min.
	MinWatchTimeout time.Duration
	// BookmarkEvery is the time between bookmarks of a watch. Default 1 min.
	BookmarkEvery time.Duration
	// MaxInFlight is how many requests are served at a time; long lists count for
	// several, watches only while they begin, connections and clients in this process
	// not at all, and administrators (system:masters) are not held up by it. It is
	// divided up among the priority levels (API priority and fairness, package
	// fairness), by which more requests wait or are told to come back (429). Default
	// 600, upstream's 400 that read and 200 that write. Negative: requests are not
	// classified, and as many are served as come.
	MaxInFlight int
	// History and WatcherBacklog bound the watch cache: see store/cache. Default:
	// that package's.
	History, WatcherBacklog int
	// EncodingBytes bounds what the watch cache keeps of ready encodings. Default: that
	// package's.
	EncodingBytes int64

	// Rand is the source of names and UIDs, for repeatable tests. Default: a
	// cryptographic generator.
	Rand rand.Source
	// Logger of the server. Default: none.
	Logger logr.Logger
	// Registerer takes the metrics. Default: the server's own. /metrics shows
	// them where it is also a Gatherer, as a prometheus.Registry is.
	Registerer prometheus.Registerer
}

// DefaultVersion is upstream's version that the API is true to, and the name of
// who serves it.
const DefaultVersion = "v1.37.0+strake"

// OpenAPI makes the documents that describe the API. Each is made when a client
// first asks for it, and kept until what is served changes.
type OpenAPI interface {
	// V2 is the whole API in one document. paths are those outside of group
	// versions, as V3Path takes them.
	V2(resources []*resource.Resource, paths []string) (*spec.Swagger, error)
	// V3 describes one group version; its resources are among those given.
	V3(gv schema.GroupVersion, resources []*resource.Resource) (*spec3.OpenAPI, error)
	// V3Path describes a path outside of group versions: "/apis", "/apis/apps",
	// "/version".
	V3Path(path string) (*spec3.OpenAPI, error)
}

// Check is one of the health checks.
type Check struct {
	// Name in the path: /readyz/NAME.
	Name string
	// Live makes it count for /livez and /healthz too: a failure that only a new
	// start mends.
	Live bool
	// Check returns nil where all is well. It is given a few seconds.
	Check func(ctx context.Context) error
}

func (c Config) validate() (Config, error) {
	if c.Store == nil {
		return c, errors.New("apiserver: Config.Store is required")
	}
	if len(c.Resources) == 0 {
		return c, errors.New("apiserver: Config.Resources is empty")
	}
	if c.MaxBody < 0 || c.RequestTimeout < 0 || c.MinWatchTimeout < 0 || c.BookmarkEvery < 0 {
		return c, errors.New("apiserver: Config has a negative bound")
	}
	if c.Authenticator == nil {
		c.Authenticator = authn.New(authn.Config{})
	}
	if c.Authorizer == nil {
		c.Authorizer = authz.New()
	}
	if c.Admission == nil {
		for _, r := range c.Resources {
			if r.GVK.Group == "" && r.Plural == "namespaces" {
				c.Admission = []admission.Plugin{namespacelifecycle.Plugin{}}
			}
		}
	}
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	orDefault(&c.MaxBody, 3<<20)
	orDefault(&c.RequestTimeout, time.Minute)
	orDefault(&c.MinWatchTimeout, 30*time.Minute)
	orDefault(&c.BookmarkEvery, time.Minute)
	if c.Logger.GetSink() == nil {
		c.Logger = logr.Discard()
	}
	for _, r := range c.Resources {
		if err := validateResource(r); err != nil {
			return c, fmt.Errorf("apiserver: resource %s: %w", r.GroupResource(), err)
		}
	}
	return c, nil
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func validateResource(r *resource.Resource) error {
	switch {
	case r.GVK.Kind == "" || r.GVK.Version == "" || r.Plural == "":
		return errors.New("it has no kind, version or plural")
	case r.New == nil || r.NewList == nil && r.Create == nil:
		return errors.New("it needs New and NewList")
	}
	for i := range r.Subresources {
		s := &r.Subresources[i]
		set := 0
		for _, is := range []bool{s.View != nil, s.Projection != nil, s.Create != nil, s.Connect != nil} {
			if is {
				set++
			}
		}
		if set != 1 {
			return fmt.Errorf("sub-resource %q must have one of View, Projection, Create and Connect", s.Name)
		}
		if s.GVK.Empty() != (s.New == nil) {
			return fmt.Errorf("sub-resource %q must have both of GVK and New, or none", s.Name)
		}
	}
	return nil
}

// newScheme registers every type that travels.
func newScheme(resources []*resource.Resource) *runtime.Scheme {
	scheme := runtime.NewScheme()
	core := schema.GroupVersion{Version: "v1"}
	seen := map[schema.GroupVersion]bool{core: true}
	metav1.AddToGroupVersion(scheme, core)
	scheme.AddKnownTypes(metav1.SchemeGroupVersion,
		&metav1.Table{}, &metav1.TableOptions{}, &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{}, &metav1.DeleteOptions{})
	add := func(gvk schema.GroupVersionKind, obj runtime.Object) {
		if gv := gvk.GroupVersion(); !seen[gv] {
			seen[gv] = true
			metav1.AddToGroupVersion(scheme, gv)
		}
		if !scheme.Recognizes(gvk) {
			scheme.AddKnownTypeWithName(gvk, obj)
		}
	}
	for _, r := range resources {
		add(r.GVK, r.New())
		if r.NewList != nil {
			add(listKind(r), r.NewList())
		}
		for i := range r.Subresources {
			if s := &r.Subresources[i]; s.New != nil {
				add(s.GVK, s.New())
			}
		}
	}
	return scheme
}

func listKind(r *resource.Resource) schema.GroupVersionKind {
	return r.ListGVK()
}
