package strake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
	admissiondefaults "github.com/strake-io/strake/apiserver/admission/defaults"
	"github.com/strake-io/strake/apiserver/admission/podtopologylabels"
	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/authn/bootstraptokens"
	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/authz/bootstrap"
	"github.com/strake-io/strake/apiserver/authz/node"
	"github.com/strake-io/strake/apiserver/authz/rbac"
	"github.com/strake-io/strake/apiserver/customresources"
	"github.com/strake-io/strake/apiserver/nodeproxy"
	"github.com/strake-io/strake/apiserver/openapi"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources"
	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/apiserver/resources/scheduling"
	"github.com/strake-io/strake/apiserver/servicecidrs"
	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/defaults"
	"github.com/strake-io/strake/controllers/namespace"
	"github.com/strake-io/strake/scheduler"
)

// allocation is what services are given from: cluster IPs and node ports.
type allocation struct {
	addresses []*allocator.Addresses
	ports     *allocator.Ports
	repairer  *allocator.Repairer
}

func (c *ControlPlane) assembleAllocation() (err error) {
	a := &allocation{}
	pick := rand.IntN
	if c.config.Rand != nil {
		pick = rand.New(c.config.Rand).IntN
	}
	for _, cidr := range c.config.ServiceCIDRs {
		pool, err := allocator.NewAddresses(allocator.AddressConfig{Store: c.config.Store, CIDR: cidr, IntN: pick})
		if err != nil {
			return err
		}
		a.addresses = append(a.addresses, pool)
	}
	if a.ports, err = allocator.NewPorts(allocator.PortConfig{Store: c.config.Store, IntN: pick}); err != nil {
		return err
	}
	a.repairer = allocator.NewRepairer(c.config.Store, a.addresses, a.ports)
	c.allocation = a
	return nil
}

// sharedSource makes a random source safe for the parts that all draw from it.
type sharedSource struct {
	mu     sync.Mutex // guards source
	source rand.Source
}

func (s *sharedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Uint64()
}

func (c *ControlPlane) assembleServer() error {
	if err := c.assembleAllocation(); err != nil {
		return err
	}
	dial := c.pipes.Dial
	if c.config.DialKubelet != nil {
		dial = c.pipes.Or(c.config.DialKubelet)
	}
	nodes, err := nodeproxy.New(nodeproxy.Config{Dial: dial, Logger: c.config.Logger.WithName("nodeproxy")})
	if err != nil {
		return err
	}
	if c.config.Authenticator == nil {
		c.config.Authenticator = authn.New(authn.Config{})
	}
	keysURL := c.config.ServiceAccountKeysURL
	if keysURL == "" && c.config.Advertise.IsValid() {
		keysURL = "https://" + c.config.Advertise.String() + tokens.KeysPath
	}
	if c.tokens, err = tokens.New(tokens.Config{
		Key: c.config.ServiceAccountKey, Name: c.config.ServiceAccountIssuer, KeysURL: keysURL, Used: c.tokenUsed,
		Objects: func() tokens.Reader { return c.server.Objects() },
	}); err != nil {
		return err
	}
	c.config.Authenticator = authn.WithTokens(c.knownTokens(), c.config.Authenticator)
	c.roles = rbac.New()
	c.nodes = node.New(node.Config{
		Rules: bootstrap.Rules("system:node"), Proxy: bootstrap.Rules("system:node-proxier"),
		Now: node.ReadFrom(func() node.Reader { return c.server }),
	})
	nodesFirst, roles := authz.Named("node", c.nodes), authz.Named("rbac", c.roles)
	if c.config.Authorizer == nil {
		c.config.Authorizer = authz.Chain(authz.System(), nodesFirst, roles)
	} else {
		c.config.Authorizer = authz.Chain(authz.System(), nodesFirst, authz.Components(roles), c.config.Authorizer)
	}
	all, err := resources.BuiltIn(resources.Config{
		Nodes: nodes, Addresses: c.allocation.addresses, Ports: c.allocation.ports,
		Authenticator: c.config.Authenticator, Authorizer: c.config.Authorizer, Rules: authz.Resolvers(c.nodes, c.roles), Roles: c.roles,
		Tokens: c.tokens, Audiences: c.tokens.Audiences(),
		Components: c.components(),
	})
	if err != nil {
		return err
	}
	all = append(all, c.config.Resources...)
	c.webhooks = webhook.New(webhook.Config{Resolve: webhook.Services(func() resource.Objects { return c.server.Objects() })})
	plugins, err := c.admission()
	if err != nil {
		return err
	}
	c.server, err = apiserver.New(apiserver.Config{
		Complete: c.complete,
		Store:    c.config.Store, Resources: all, OpenAPI: openapi.New(openapi.Config{Version: apiserver.DefaultVersion}),
		Authenticator: c.config.Authenticator, Authorizer: c.config.Authorizer,
		Admission: plugins,
		Audit:     c.config.Audit,
		Paths:     c.paths(),
		Checks:    c.checks(), Rand: c.config.Rand, MaxInFlight: c.config.MaxInFlight,
		Logger: c.config.Logger.WithName("apiserver"), Registerer: c.config.Registry,
	})
	if err != nil {
		return err
	}
	if c.admin, err = c.client(administrator); err != nil {
		return err
	}
	if err := c.assembleAggregation(); err != nil {
		return err
	}
	if err := c.assembleServiceCIDRs(); err != nil {
		return err
	}
	return c.assembleCustomResources()
}

// assembleServiceCIDRs lets services have addresses of the ranges that there are.
func (c *ControlPlane) assembleServiceCIDRs() error {
	client, err := c.client(serverUser)
	if err != nil {
		return err
	}
	c.serviceCIDRs, err = servicecidrs.New(servicecidrs.Config{
		Server: c.server, Client: client, Addresses: c.allocation.addresses, Logger: c.config.Logger.WithName("servicecidrs"),
	})
	return err
}

// paths are the handlers beside the API's own.
func (c *ControlPlane) paths() map[string]http.Handler {
	paths := map[string]http.Handler{".well-known": c.tokens, "openid": c.tokens}
	maps.Copy(paths, c.config.Paths)
	return paths
}

// checks are those of the host, and of the store whether it takes writes.
func (c *ControlPlane) checks() []apiserver.Check {
	checks := slices.Clone(c.config.Checks)
	if s, ok := c.config.Store.(interface{ Check(context.Context) error }); ok {
		checks = append(checks, apiserver.Check{Name: "store-writable", Check: s.Check})
	}
	return checks
}

// admission is what looks at every write.
func (c *ControlPlane) admission() ([]admission.Plugin, error) {
	return admissiondefaults.Chain(admissiondefaults.Config{
		Authorizer: c.config.Authorizer, Caller: c.webhooks, NoToken: len(c.config.RootCA) == 0, PodSecurity: c.config.PodSecurity, Host: c.config.Admission,
	})
}

// assembleCustomResources serves what custom resource definitions define.
func (c *ControlPlane) assembleCustomResources() error {
	config := c.RESTConfig(serverUser)
	config.UserAgent = agents[serverUser.GetName()]
	config.WarningHandlerWithContext = rest.NoWarnings{}
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("strake: client of custom resource definitions: %w", err)
	}
	c.custom, err = customresources.New(customresources.Config{
		Server: c.server, Client: client.CustomResourceDefinitions(), Webhooks: c.webhooks,
		Logger: c.config.Logger.WithName("customresources"),
	})
	return err
}

// knownTokens are those that the cluster itself gave out.
func (c *ControlPlane) knownTokens() authenticator.Token {
	if !c.config.BootstrapTokens {
		return c.tokens
	}
	ofNodes := bootstraptokens.New(func() bootstraptokens.Reader { return c.server.Objects() })
	return union.New(c.tokens, authenticator.WrapAudienceAgnosticToken(c.tokens.Audiences(), ofNodes))
}

// assembleInformers makes what the parts in this process watch the cluster by.
func (c *ControlPlane) assembleInformers() error {
	client, err := c.client(schedulerUser)
	if err != nil {
		return err
	}
	c.informers = c.server.Informers(client, 0)
	if err := c.watchFlowControl(); err != nil {
		return err
	}
	if c.rolesRead, err = c.roles.Follow(c.informers); err != nil {
		return err
	}
	onNodes, err := c.nodes.Follow(c.informers)
	c.rolesRead = append(c.rolesRead, onNodes...)
	return err
}

func (c *ControlPlane) assembleScheduler() error {
	if c.config.NoScheduler {
		return nil
	}
	client, err := c.client(schedulerUser)
	if err != nil {
		return err
	}
	c.scheduler, err = scheduler.New(scheduler.Config{
		Client: client, Informers: c.informers, ScorePlugins: c.config.ScorePlugins, Rand: c.config.Rand, Bind: c.bind,
		Logger: c.config.Logger.WithName("scheduler"), Registerer: c.config.Registry,
	})
	return err
}

// bind is the scheduler's direct way to the registry, beside POST of pods/binding.
// The bindings of a batch are written side by side, so that they share the store's
// commits.
func (c *ControlPlane) bind(ctx context.Context, bindings []*corev1.Binding) []error {
	errs := make([]error, len(bindings))
	var wg sync.WaitGroup
	for i, b := range bindings {
		wg.Go(func() {
			req := resource.Request{User: schedulerUser, Verb: "create", Namespace: b.Namespace, Name: b.Name, Subresource: "binding"}
			if errs[i] = podtopologylabels.Label(ctx, c.server.Objects(), b); errs[i] == nil {
				errs[i] = core.Bind(ctx, req, b, c.server.Objects())
			}
		})
	}
	wg.Wait()
	return errs
}

func (c *ControlPlane) assembleControllers() error {
	if c.config.NoControllers {
		if len(c.config.Controllers) > 0 {
			return errors.New("strake: ControlPlaneConfig: Controllers beside NoControllers")
		}
		return nil
	}
	client, err := c.client(controllerUser)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(c.RESTConfig(controllerUser))
	if err != nil {
		return fmt.Errorf("strake: metadata client: %w", err)
	}
	builtIn := defaults.All(defaults.Config{RootCA: c.config.RootCA, Token: c.secretToken, ClusterCIDRs: c.config.ClusterCIDRs, NodeGrace: c.config.NodeGrace})
	c.runner, err = controllers.New(controllers.Config{
		Client: client, Metadata: objects, Informers: c.informers, Controllers: append(builtIn, c.config.Controllers...),
		Logger: c.config.Logger.WithName("controllers"), Registerer: c.config.Registry,
	})
	return err
}

// bootstrap makes what every cluster has from the start, closes done, and keeps
// the allocations and the service of the API itself in order until ctx ends.
func (c *ControlPlane) bootstrap(ctx context.Context, done chan<- struct{}) error {
	client, err := c.client(serverUser)
	if err != nil {
		return err
	}
	var flow errgroup.Group
	flow.Go(func() error { return ensureFlowControl(ctx, client) })
	for _, name := range namespace.System() {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return errors.Join(fmt.Errorf("creating the namespace %s: %w", name, err), flow.Wait())
		}
	}
	// What does not need each other is written side by side, so that it shares the
	// store's commits.
	rest, restCtx := errgroup.WithContext(ctx)
	rest.Go(func() error {
		select {
		case <-c.serviceCIDRs.Ready(): // the service has an address of theirs
			err := c.publishKubernetesService(restCtx, client)
			if apierrors.IsInvalid(err) {
				// The cluster still has other ranges: it is served all the same.
				c.config.Logger.Error(err, "The service kubernetes is left for later")
				return nil
			}
			return err
		case <-restCtx.Done():
			return restCtx.Err()
		}
	})
	rest.Go(func() error { return bootstrap.Reconcile(restCtx, client) })
	rest.Go(func() error { return createPriorityClasses(restCtx, client) })
	rest.Go(func() error { return ensureTokenTracking(restCtx, client, time.Now()) })
	rest.Go(func() error { return c.otherServers().Publish(restCtx, client) })
	if err := errors.Join(rest.Wait(), flow.Wait()); err != nil {
		return err
	}
	close(done)
	var kept sync.WaitGroup
	defer kept.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept.Go(func() { c.keepFlowControl(ctx, client) })
	kept.Go(func() { c.keepTokenTracking(ctx, client) })
	kept.Go(func() { c.keepKubernetesService(ctx, client) })
	kept.Go(func() { c.keepEndpoints(ctx, client) })
	return c.allocation.repairer.Run(ctx, repairInterval, func(repaired allocator.Repaired, err error) {
		if err != nil && ctx.Err() == nil {
			c.config.Logger.Error(err, "Could not look for leaked cluster IPs and node ports")
		}
	})
}

const repairInterval = 10 * time.Minute

func createPriorityClasses(ctx context.Context, client kubernetes.Interface) error {
	for _, class := range scheduling.SystemClasses() {
		if _, err := client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating the priority class %s: %w", class.Name, err)
		}
	}
	return nil
}
