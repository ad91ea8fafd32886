package strake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/internal/stages"
	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/kubelet/server"
	"github.com/strake-io/strake/proxy"
	"github.com/strake-io/strake/runtime"
)

// NodeConfig configures a [Node].
type NodeConfig struct {
	// Kubelet is the node agent's configuration; Kubelet.Runtime is required. A
	// [Cluster] fills Kubelet.Client where it is nil. A runtime that has Run and
	// Ready, as runtime/containerd, is run by the node.
	Kubelet kubelet.Config
	// Proxier serves services on this node; nil: none are.
	Proxier proxy.Proxier
	// ProxyClient is what the proxy reads services by: that of a user
	// system:kube-proxy, as a node may not read endpoints. nil means Kubelet.Client,
	// which is enough where nodes share a credential (package apiserver/authz/node).
	ProxyClient kubernetes.Interface
	// Informers for the proxy; nil means informers of ProxyClient.
	Informers informers.SharedInformerFactory

	// Listener takes connections to the node's HTTP interface (logs, exec,
	// statistics), TLS included; nil means that only the API server in this
	// process reaches it. The node closes it.
	Listener net.Listener
	// Authenticator and Authorizer guard that interface; both are required with
	// a Listener.
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer

	// Logger; the zero value is silent. Kubelet.Logger is derived from it where
	// it is not set.
	Logger logr.Logger
}

// Node is one machine's part of a cluster: its container runtime, the kubelet with
// its HTTP interface, and the service proxy.
type Node struct {
	config    NodeConfig
	kubelet   *kubelet.Kubelet
	server    *server.Server
	proxy     *proxy.Proxy // nil: none
	informers informers.SharedInformerFactory
	registry  *prometheus.Registry
	// attach connects the HTTP interface with an API server in this process.
	attach func(ctx context.Context, name string, handler http.Handler) error
	ready  chan struct{}
}

// NewNode checks the configuration and puts the parts together; nothing starts
// before Run.
func NewNode(config NodeConfig) (*Node, error) {
	if config.Kubelet.Client == nil {
		return nil, errors.New("strake: NodeConfig.Kubelet.Client is required")
	}
	if config.Listener != nil && (config.Authenticator == nil || config.Authorizer == nil) {
		return nil, errors.New("strake: NodeConfig.Listener needs an Authenticator and an Authorizer: whoever reaches a kubelet runs commands in its pods")
	}
	n := &Node{config: config, registry: prometheus.NewRegistry(), ready: make(chan struct{})}
	if n.config.Kubelet.Logger.IsZero() {
		n.config.Kubelet.Logger = config.Logger.WithName("kubelet")
	}
	if n.config.Kubelet.Registerer == nil {
		n.config.Kubelet.Registerer = n.registry
	}
	var err error
	if n.kubelet, err = kubelet.New(n.config.Kubelet); err != nil {
		return nil, err
	}
	if err := n.assembleServer(); err != nil {
		return nil, err
	}
	return n, n.assembleProxy()
}

func (n *Node) assembleServer() error {
	name := n.kubelet.NodeName()
	config := server.Config{
		Host: n.kubelet, NodeName: name, Exec: n.config.Kubelet.Runtime, Gatherer: n.registry,
		Authenticator: n.config.Authenticator, Authorizer: n.config.Authorizer,
		Logger: n.config.Logger.WithName("kubelet-server"),
	}
	config.Streamer, _ = n.config.Kubelet.Runtime.(runtime.Streamer)
	if provider, ok := n.config.Kubelet.Runtime.(runtime.StatsProvider); ok {
		stats, err := server.NewStats(server.StatsConfig{
			NodeName: name, Sandboxes: n.config.Kubelet.Runtime, Containers: n.config.Kubelet.Runtime,
			Provider: provider, Started: time.Now(), Logger: config.Logger,
		})
		if err != nil {
			return err
		}
		config.Stats = stats
	}
	var err error
	n.server, err = server.New(config)
	return err
}

func (n *Node) assembleProxy() (err error) {
	if n.config.Proxier == nil {
		return nil
	}
	factory := n.config.Informers
	if factory == nil {
		client := n.config.ProxyClient
		if client == nil {
			client = n.config.Kubelet.Client
		}
		factory = informers.NewSharedInformerFactory(client, 0)
		n.informers = factory
	}
	n.proxy, err = proxy.New(proxy.Config{
		Informers: factory, Proxier: n.config.Proxier, NodeName: n.kubelet.NodeName(), Logger: n.config.Logger.WithName("proxy"),
	})
	return err
}

// Name of the node's object.
func (n *Node) Name() string { return n.kubelet.NodeName() }

// Kubelet is the node agent.
func (n *Node) Kubelet() *kubelet.Kubelet { return n.kubelet }

// Ready is closed when the node is registered and knows its pods and services.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Run is the node's life until ctx ends. Its pods and the rules for its services
// go on after it. It is called once.
func (n *Node) Run(ctx context.Context) error {
	var parts []stages.Stage
	if r, ok := n.config.Kubelet.Runtime.(interface {
		Run(context.Context) error
		Ready() <-chan struct{}
	}); ok {
		parts = append(parts, stages.Stage{Name: "container runtime", Run: r.Run, Ready: r.Ready()})
	}
	all := []<-chan struct{}{n.kubelet.Ready()}
	parts = append(parts, stages.Stage{Name: "kubelet's server", Run: n.serve}, stages.Stage{Name: "kubelet", Run: n.kubelet.Run})
	if n.informers != nil {
		parts = append(parts, stages.Stage{Name: "proxy's informers", Run: func(ctx context.Context) error {
			n.informers.StartWithContext(ctx)
			<-ctx.Done()
			n.informers.Shutdown()
			return nil
		}})
	}
	if n.proxy != nil {
		parts = append(parts, stages.Stage{Name: "proxy", Run: n.proxy.Run})
		all = append(all, n.proxy.Ready())
	}
	parts = append(parts, waitFor("node", all...))
	if err := stages.Run(ctx, func() { close(n.ready) }, parts...); err != nil {
		return fmt.Errorf("node %s: %w", n.Name(), err)
	}
	return nil
}

// serve serves the kubelet's HTTP interface, in process and on the listener.
func (n *Node) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel()
	errs := make(chan error, 3)
	begin := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				errs <- err
			}
		})
	}
	begin(n.server.Run)
	if n.attach != nil {
		begin(func(ctx context.Context) error { return n.attach(ctx, n.Name(), n.server.Trusted()) })
	}
	if n.config.Listener != nil {
		begin(func(ctx context.Context) error { return Serve(ctx, n.config.Listener, n.server) })
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-errs:
		return err
	}
}
