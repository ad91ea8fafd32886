package strake

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	podsecurity "k8s.io/pod-security-admission/admission/api"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/aggregation"
	"github.com/strake-io/strake/apiserver/audit"
	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/authz/node"
	"github.com/strake-io/strake/apiserver/authz/rbac"
	"github.com/strake-io/strake/apiserver/customresources"
	"github.com/strake-io/strake/apiserver/nodeproxy"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/servicecidrs"
	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/internal/stages"
	"github.com/strake-io/strake/scheduler"
	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

// ControlPlaneConfig configures a [ControlPlane]. The zero value is a control plane
// on a store in memory that only this process can reach.
type ControlPlaneConfig struct {
	// Store keeps the state; nil means a store in memory that ends with the
	// control plane. A store that is a [store.Runner] is run by it.
	Store store.Store

	// Authenticator says who a request is from that comes through Handler; nil
	// takes all for anonymous. Clients in this process need none.
	Authenticator authenticator.Request
	// Authorizer says what a user may do who is neither a member of system:masters
	// nor a part of the cluster (a component, a node): those may what their work
	// takes, by their default roles and by the pods that are on a node. nil means the
	// roles and bindings that there are.
	Authorizer authorizer.Authorizer
	// ServiceAccountKey signs the tokens of service accounts: ECDSA on P-256, or
	// RSA. nil makes one at the start, and tokens end with the control plane. The
	// masters of one cluster share it.
	ServiceAccountKey crypto.Signer
	// ServiceAccountIssuer is the name of the cluster in those tokens, a URL; empty
	// means "https://kubernetes.default.svc.cluster.local".
	ServiceAccountIssuer string
	// ServiceAccountKeysURL is where others are told to read the keys that those
	// tokens are checked by; empty means /openid/v1/jwks at Advertise, or else below
	// the issuer.
	ServiceAccountKeysURL string
	// BootstrapTokens believes the tokens that stand in secrets of the type
	// bootstrap.kubernetes.io/token in kube-system, by which new nodes ask for their
	// first certificate (kubeadm join).
	BootstrapTokens bool
	// Admission plugins beside the built-in ones: the program's own, and those of
	// upstream's that are off unless one adds them, which are packages below
	// apiserver/admission.
	Admission []admission.Plugin
	// PodSecurity is the Pod Security Standard of namespaces whose labels name none, and
	// who is exempt from it; nil means privileged, and nobody.
	PodSecurity *podsecurity.PodSecurityConfiguration
	// Audit is what is recorded of requests; the zero value records nothing. A sink that
	// has a Run, such as [audit.Webhook], is run by the program.
	Audit audit.Config
	// Resources beside the built-in ones: the program's own types.
	Resources []*resource.Resource

	// ServiceCIDRs are the ranges of cluster IPs that the cluster begins with, at most
	// one of each family, the one that services get by default first; empty means
	// 10.96.0.0/12. They are those of the ServiceCIDR "kubernetes", and stay so; a range
	// of a second family may come to them. More are added as objects of that kind.
	ServiceCIDRs []netip.Prefix
	// ClusterCIDRs are the ranges that nodes get their pods' ranges from; empty
	// means 10.244.0.0/16.
	ClusterCIDRs []netip.Prefix
	// Advertise is where clients inside the cluster reach the API; the service
	// "kubernetes" leads there. With the zero value it leads nowhere.
	Advertise netip.AddrPort
	// RootCA is the PEM certificate that clients inside the cluster trust the
	// API by, published in each namespace; empty publishes none.
	RootCA []byte

	// ClientCA is the PEM certificate that signs clients' certificates, and
	// FrontProxy who the API server is towards the servers that APIServices lead to.
	// Those are told of both. nil: of no client certificates; a front proxy that
	// lasts as long as this control plane.
	ClientCA   []byte
	FrontProxy *FrontProxy

	// DialKubelet connects to the kubelets of nodes that do not run in this
	// process; nil knows no such nodes. See nodeproxy.DialTLS.
	DialKubelet nodeproxy.DialFunc

	// NodeGrace is how long a node may be silent before it counts as not ready;
	// 0 means upstream's 50 s. Nodes renew their lease every 10 s.
	NodeGrace time.Duration

	// NoScheduler and NoControllers leave these parts out, for a cluster in which
	// others do their work, such as upstream's own programs.
	NoScheduler, NoControllers bool
	// ScorePlugins are added to the scheduler's profile.
	ScorePlugins []framework.Weighted
	// Controllers beside the built-in ones.
	Controllers []controllers.Registration
	// Paths are further handlers by the first segment of the path that they serve,
	// behind authentication and authorisation, which lets administrators alone there
	// unless roles say otherwise: "etcd" for the etcd store's own.
	Paths map[string]http.Handler
	// Checks of /readyz beside the built-in ones. A store that says whether it takes
	// writes is asked without being here.
	Checks []apiserver.Check
	// MaxInFlight is how many requests are served at a time, divided up by flow
	// schemas and priority levels; 0 means upstream's 600, a negative number that
	// there is no bound. See [apiserver.Config].
	MaxInFlight int

	// Rand is where the scheduler's ties and the server's generated names come
	// from; nil means at random. Give two clusters two.
	Rand rand.Source
	// Logger; the zero value is silent.
	Logger logr.Logger
	// Registry takes the metrics and serves them; nil means one of its own.
	Registry *prometheus.Registry
}

// ControlPlane is the API server on its store, the scheduler and the controllers.
type ControlPlane struct {
	config     ControlPlaneConfig
	ownStore   bool
	server     *apiserver.Server
	custom     *customresources.Manager
	aggregator *aggregation.Aggregator
	tokens     *tokens.Issuer
	// flowControl is told of changes of flow schemas and priority levels.
	flowControl chan struct{}
	// roles authorises by the roles there are, nodes by what is on them, once
	// rolesRead are closed.
	roles        *rbac.Authorizer
	nodes        *node.Authorizer
	rolesRead    []<-chan struct{}
	serviceCIDRs *servicecidrs.Keeper
	complete     chan struct{} // closed once the custom resources are served
	webhooks     *webhook.Caller
	allocation   *allocation
	pipes        *nodeproxy.Pipes
	informers    informers.SharedInformerFactory
	scheduler    *scheduler.Scheduler
	runner       *controllers.Runner
	admin        kubernetes.Interface
	ready        chan struct{}
}

var (
	defaultServiceCIDR = netip.MustParsePrefix("10.96.0.0/12")
	defaultClusterCIDR = netip.MustParsePrefix("10.244.0.0/16")
)

// NewControlPlane checks the configuration and puts the parts together; nothing
// starts before Run.
func NewControlPlane(config ControlPlaneConfig) (*ControlPlane, error) {
	c := &ControlPlane{config: config, pipes: &nodeproxy.Pipes{}, ready: make(chan struct{}), complete: make(chan struct{})}
	if len(c.config.ServiceCIDRs) == 0 {
		c.config.ServiceCIDRs = []netip.Prefix{defaultServiceCIDR}
	}
	if len(c.config.ClusterCIDRs) == 0 {
		c.config.ClusterCIDRs = []netip.Prefix{defaultClusterCIDR}
	}
	if c.config.Rand != nil {
		c.config.Rand = &sharedSource{source: c.config.Rand}
	}
	if c.config.Registry == nil {
		c.config.Registry = prometheus.NewRegistry()
	}
	if c.config.Store == nil {
		s, err := memory.New(memory.Config{})
		if err != nil {
			return nil, err
		}
		c.config.Store, c.ownStore = s, true
	}
	for _, assemble := range []func() error{c.assembleServer, c.assembleInformers, c.assembleScheduler, c.assembleControllers} {
		if err := assemble(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Handler serves the API; the program puts a listener before it.
func (c *ControlPlane) Handler() http.Handler { return c.server }

// Server is the API server, for what only it can do.
func (c *ControlPlane) Server() *apiserver.Server { return c.server }

// RESTConfig is for clients in this process: it reaches the API without a socket,
// as the given user.
func (c *ControlPlane) RESTConfig(as user.Info) *rest.Config {
	return c.server.RESTConfig(as)
}

// Client is an administrator's, without a socket.
func (c *ControlPlane) Client() kubernetes.Interface { return c.admin }

// Authorizer says what a user may do, as every request is asked: for what the program
// adds, such as admission plugins.
func (c *ControlPlane) Authorizer() authorizer.Authorizer { return c.config.Authorizer }

// Ready is closed when the API serves and the scheduler and controllers run.
func (c *ControlPlane) Ready() <-chan struct{} { return c.ready }

// Run runs the control plane until ctx ends, stops its parts in order and returns
// nil. It is called once.
func (c *ControlPlane) Run(ctx context.Context) error {
	var parts []stages.Stage
	if runner, ok := c.config.Store.(store.Runner); ok {
		parts = append(parts, stages.Stage{Name: "store", Run: runner.Run, Ready: runner.Ready()})
	}
	bootstrapped := make(chan struct{})
	parts = append(parts,
		stages.Stage{Name: "API server", Run: c.server.Run, Ready: c.server.Ready()},
		stages.Stage{Name: "custom resources", Run: c.custom.Run, Ready: c.custom.Ready()},
		stages.Stage{Name: "aggregation", Run: c.aggregator.Run, Ready: c.aggregator.Ready()},
		stages.Stage{Name: "served completely", Run: func(ctx context.Context) error {
			close(c.complete)
			<-ctx.Done()
			return nil
		}, Ready: c.complete},
		stages.Stage{Name: "service CIDRs", Run: c.serviceCIDRs.Run},
		stages.Stage{Name: "bootstrap", Run: func(ctx context.Context) error { return c.bootstrap(ctx, bootstrapped) }, Ready: bootstrapped},
		stages.Stage{Name: "informers", Run: func(ctx context.Context) error {
			c.informers.StartWithContext(ctx)
			<-ctx.Done()
			c.informers.Shutdown()
			return nil
		}},
	)
	ready := c.rolesRead
	if c.runner != nil {
		parts = append(parts, stages.Stage{Name: "controllers", Run: c.runner.Run})
		ready = append(ready, c.runner.Ready())
	}
	if c.scheduler != nil {
		parts = append(parts, stages.Stage{Name: "scheduler", Run: c.scheduler.Run})
		ready = append(ready, c.scheduler.Ready())
	}
	parts = append(parts, waitFor("control plane", ready...))
	err := stages.Run(ctx, func() { close(c.ready) }, parts...)
	c.webhooks.Close()
	if c.ownStore {
		err = errors.Join(err, c.config.Store.Close())
	}
	return err
}

// waitFor is a stage that is ready once all the channels are closed.
func waitFor(name string, all ...<-chan struct{}) stages.Stage {
	ready := make(chan struct{})
	return stages.Stage{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		for _, one := range all {
			select {
			case <-one:
			case <-ctx.Done():
				return nil
			}
		}
		close(ready)
		<-ctx.Done()
		return nil
	}}
}

// The identities of the parts, upstream's.
var (
	administrator  = &user.DefaultInfo{Name: "kubernetes-admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
	schedulerUser  = authz.Part(&user.DefaultInfo{Name: user.KubeScheduler, Groups: []string{user.AllAuthenticated}})
	controllerUser = authz.Part(&user.DefaultInfo{Name: user.KubeControllerManager, Groups: []string{user.AllAuthenticated}})
	serverUser     = &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
)

// agents are the names by which field managers know the parts, upstream's too.
var agents = map[string]string{
	user.KubeScheduler:         "kube-scheduler",
	user.KubeControllerManager: "kube-controller-manager",
	user.APIServerUser:         "kube-apiserver",
}

// client makes a typed client for a part of the cluster.
func (c *ControlPlane) client(as user.Info) (kubernetes.Interface, error) {
	config := c.RESTConfig(as)
	config.UserAgent = agents[as.GetName()]
	if strings.HasPrefix(as.GetName(), "system:node:") {
		config.UserAgent = "kubelet"
	}
	config.WarningHandlerWithContext = rest.NoWarnings{} // they are for people, and would go to a global logger
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("strake: client of %s: %w", as.GetName(), err)
	}
	return client, nil
}
