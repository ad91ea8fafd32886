package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/strake-io/strake/apiserver/audit"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/fairness"
	"github.com/strake-io/strake/apiserver/fieldmanager"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store/cache"
)

// Server is the API server. All methods are safe for concurrent use.
type Server struct {
	config Config
	codec  *codec.Codec
	scheme *runtime.Scheme
	cache  *cache.Cache
	set    *registry.Set
	names  *registry.Names
	// described is what tells clients of a table of resources.
	described atomic.Pointer[description]
	delegated atomic.Pointer[delegation]
	// nonResource are the handlers by their first path segment.
	nonResource map[string]http.Handler
	metrics     *metrics
	auditor     *audit.Auditor // nil: nothing is recorded
	// fair gives requests their turns; nil: they need none.
	fair  *fairness.Controller
	ready chan struct{}

	mu      sync.Mutex // guards started, stopped, published and calls
	started bool
	stopped bool
	// published is closed and made anew when Publish has changed what is served.
	published chan struct{}
	// calls are the in-process requests that are being served.
	calls   map[*call]struct{}
	serving sync.WaitGroup
}

// New checks config and makes a server. It reads nothing and starts nothing.
func New(config Config) (*Server, error) {
	config, err := config.validate()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: config,
		scheme: newScheme(config.Resources),
		names:  registry.NewNames(config.Rand),
		ready:  make(chan struct{}), published: make(chan struct{}),
		calls: map[*call]struct{}{},
	}
	s.Delegate(nil)
	s.codec = codec.New(s.scheme)
	if s.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	if s.auditor, err = audit.New(config.Audit, s.metrics.registerer, config.Logger.WithName("audit")); err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	s.cache, err = cache.New(cache.Config{
		Store: config.Store, Logger: config.Logger.WithName("cache"), Registerer: s.metrics.registerer,
		History: config.History, WatcherBacklog: config.WatcherBacklog, EncodingBytes: config.EncodingBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	s.set, err = registry.NewSet(registry.Config{
		Store: config.Store, Cache: s.cache, Codec: s.codec, Schema: fieldmanager.Converter(s.scheme), Describe: s.mergeSchema,
		Admission: config.Admission, Names: s.names,
	}, config.Resources)
	if err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	if s.fair, err = s.newFairness(); err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	s.nonResource = s.nonResourceHandlers()
	return s, nil
}

// mergeSchema makes a schema to merge by of a type's OpenAPI description.
func (s *Server) mergeSchema(res *resource.Resource) (managedfields.TypeConverter, error) {
	if s.config.OpenAPI == nil {
		return managedfields.NewDeducedTypeConverter(), nil
	}
	document, err := s.config.OpenAPI.V3(res.GVK.GroupVersion(), []*resource.Resource{res})
	if err != nil {
		return nil, err
	}
	return managedfields.NewTypeConverter(document.Components.Schemas, false)
}

// Run keeps the watch cache until ctx ends, then ends every in-process request and
// waits for them. It returns nil then. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("apiserver: Run was called before")
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-s.cache.Ready():
			close(s.ready)
		case <-ctx.Done():
		}
	})
	wait.Go(func() { s.keepFairness(ctx) })
	err := s.cache.Run(ctx)
	cancel()
	wait.Wait()

	s.mu.Lock()
	s.stopped = true
	for c := range s.calls {
		c.cancel()
	}
	s.mu.Unlock()
	s.serving.Wait()
	if err != nil {
		return fmt.Errorf("apiserver: %w", err)
	}
	return nil
}

// Ready is closed when the server has loaded what is stored. Requests that come
// earlier wait for it.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Objects reads and writes past HTTP, authorisation and admission: for what runs
// beside the server and is part of it.
func (s *Server) Objects() resource.Objects { return s.set }

// Publish makes resources those that owner serves, in place of what it served
// before, beside the resources of the configuration and of other owners; none takes
// all away. Requests see all of the change or nothing; those that run finish on
// what they found. Watches of a resource that is gone or another (a new pointer)
// end, those of one that stays do not. Discovery and the openapi documents follow
// at once. Objects in the store are not touched.
//
// A resource is unstructured, or of a Go type that is also served by the
// configuration: no type is registered at run time. An error changes nothing.
func (s *Server) Publish(owner string, resources []*resource.Resource) error {
	if owner == "" {
		return errors.New("apiserver: what is published at run time has an owner")
	}
	for _, r := range resources {
		err := validateResource(r)
		if err == nil && !selfDescribing(r.New()) && !s.scheme.Recognizes(r.GVK) {
			err = errors.New("its Go type is not known")
		}
		if err != nil {
			return fmt.Errorf("apiserver: resource %s: %w", r.GroupResource(), err)
		}
	}
	if err := s.set.Publish(owner, resources); err != nil {
		return fmt.Errorf("apiserver: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.published)
	s.published = make(chan struct{})
	return nil
}
