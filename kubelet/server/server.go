// Package server is the HTTP interface of a node: what the API server asks of a
// kubelet for kubectl logs, exec, attach and port-forward, and what monitoring
// reads.
//
// It stands between the kubelet, which it knows as a [Host], and whoever calls:
// apiserver/nodeproxy, Prometheus, an upstream API server. Paths and parameters
// are the upstream kubelet's. [Server] is an http.Handler; the host program owns
// the listener and its TLS, or, in one process, registers the handler with
// nodeproxy's pipes.
package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/strake-io/strake/kubelet/logs"
	"github.com/strake-io/strake/runtime"
)

// Host is what the server needs to know from the kubelet. Methods are safe for
// concurrent use. Errors are for people; those that are API status errors give
// the response its code, all others are bad requests.
type Host interface {
	// Pods that are bound to the node, as GET /pods shows them. Read-only.
	Pods() []*corev1.Pod
	// Pod finds a pod; an empty uid is any.
	Pod(namespace, name string, uid types.UID) (*corev1.Pod, bool)
	// ContainerID is the running container of a name.
	ContainerID(ctx context.Context, pod *corev1.Pod, container string) (string, error)
	// SandboxID is the pod's ready sandbox.
	SandboxID(ctx context.Context, pod *corev1.Pod) (string, error)
	// ContainerLog is the log of the latest container of a name, or of the one
	// before it.
	ContainerLog(ctx context.Context, pod *corev1.Pod, container string, previous bool) (Log, error)
	// Healthy is nil while the kubelet does its work.
	Healthy(ctx context.Context) error
}

// Log of a container.
type Log struct {
	// Path of the file; empty where none is kept: such a log is empty.
	Path string
	// Running says whether the container still runs; nil: it does not.
	Running func(ctx context.Context) (bool, error)
}

// StatsSource gives the node's statistics. [Stats] is one.
type StatsSource interface {
	Summary(ctx context.Context) (*statsv1alpha1.Summary, error)
}

// Execer runs a command to its end; every runtime.Runtime is one.
type Execer interface {
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error)
}

// Config configures a [Server].
type Config struct {
	// Host is the kubelet. Required.
	Host Host
	// NodeName is the node's, for authorisation and metrics. Required.
	NodeName string
	// Streamer serves exec, attach and port-forward; nil answers 501 to them.
	Streamer runtime.Streamer
	// Exec serves /run; nil answers 501.
	Exec Execer
	// Logs reads logs; nil is a reader with defaults.
	Logs *logs.Reader
	// Stats serves /stats/summary and /metrics/resource; nil answers 501.
	Stats StatsSource
	// Gatherer serves /metrics; nil is an empty page.
	Gatherer prometheus.Gatherer
	// Configz is shown as kubeletconfig under /configz; nil is an empty object.
	Configz any
	// Authenticator and Authorizer guard every path but /healthz. Both nil: all
	// may come, which is for handlers that only this process can reach.
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	// StreamIdleTimeout ends exec, attach and port-forward connections on which
	// nothing happens. Default 4 h.
	StreamIdleTimeout time.Duration
	// StreamCreationTimeout is how long clients have to open their streams.
	// Default 30 s.
	StreamCreationTimeout time.Duration
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Server serves a node's HTTP interface.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu       sync.Mutex // guards all below
	stopping bool
	cancels  map[int]context.CancelFunc // of requests in flight
	next     int
	idle     sync.Cond // signalled when cancels becomes empty
}

// New validates the configuration.
func New(cfg Config) (*Server, error) {
	if cfg.Host == nil {
		return nil, errors.New("server: Config.Host is required")
	}
	if cfg.NodeName == "" {
		return nil, errors.New("server: Config.NodeName is required")
	}
	if (cfg.Authenticator == nil) != (cfg.Authorizer == nil) {
		return nil, errors.New("server: Config.Authenticator and Config.Authorizer belong together")
	}
	if cfg.Logs == nil {
		reader, err := logs.New(logs.Config{Logger: cfg.Logger})
		if err != nil {
			return nil, err
		}
		cfg.Logs = reader
	}
	if cfg.StreamIdleTimeout == 0 {
		cfg.StreamIdleTimeout = 4 * time.Hour
	}
	if cfg.StreamCreationTimeout == 0 {
		cfg.StreamCreationTimeout = 30 * time.Second
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), cancels: map[int]context.CancelFunc{}}
	s.idle.L = &s.mu
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /healthz/{check}", s.healthz)
	s.mux.HandleFunc("GET /pods", s.pods)
	s.mux.HandleFunc("GET /pods/{$}", s.pods)
	s.mux.HandleFunc("GET /configz", s.configz)
	s.mux.HandleFunc("GET /stats/summary", s.statsSummary)
	s.mux.HandleFunc("GET /metrics/resource", s.resourceMetrics)
	s.mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	for _, method := range []string{"GET", "POST"} {
		for prefix, handler := range map[string]http.HandlerFunc{"/exec": s.exec, "/attach": s.attach} {
			s.mux.HandleFunc(method+" "+prefix+"/{namespace}/{pod}/{container}", handler)
			s.mux.HandleFunc(method+" "+prefix+"/{namespace}/{pod}/{uid}/{container}", handler)
		}
		s.mux.HandleFunc(method+" /portForward/{namespace}/{pod}", s.portForward)
		s.mux.HandleFunc(method+" /portForward/{namespace}/{pod}/{uid}", s.portForward)
	}
	s.mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	s.mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	gatherer := s.cfg.Gatherer
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.serve(w, req, s.allowed)
}

// Trusted serves the same without asking who comes: for a handler that only this
// process can reach, beside a listener with an Authenticator.
func (s *Server) Trusted() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.serve(w, req, func(http.ResponseWriter, *http.Request) bool { return true })
	})
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request, allowed func(http.ResponseWriter, *http.Request) bool) {
	ctx, done, ok := s.enter(req.Context())
	if !ok {
		http.Error(w, "the kubelet is stopping", http.StatusServiceUnavailable)
		return
	}
	defer done()
	req = req.WithContext(ctx)
	if !allowed(w, req) {
		return
	}
	s.mux.ServeHTTP(w, req)
}

// enter counts a request; done must be called at its end.
func (s *Server) enter(ctx context.Context) (_ context.Context, done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	id := s.next
	s.next++
	s.cancels[id] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.cancels, id); len(s.cancels) == 0 {
			s.idle.Broadcast()
		}
	}, true
}

// Run returns after ctx has ended, all requests in flight (sessions of exec and
// port-forward too) have been cut and their handlers are done. Requests that come
// meanwhile are answered 503.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, cancel := range s.cancels {
		cancel()
	}
	for len(s.cancels) > 0 {
		s.idle.Wait()
	}
	s.stopping = false
	return nil
}
