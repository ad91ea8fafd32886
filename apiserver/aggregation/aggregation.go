// Package aggregation lets other servers serve parts of the API: it acts on the
// APIServices of a server. An [Aggregator] watches them in the server's own cache,
// sees whether the services behind them answer, and tells the server which group
// versions to delegate: their requests are proxied, and their discovery and openapi
// documents stand among the server's own. It also keeps an APIService for each
// group version that the server serves itself.
//
// The other server learns who asks by the headers X-Remote-User, X-Remote-Uid,
// X-Remote-Group and X-Remote-Extra-*, which it believes because of the
// aggregator's client certificate: see [Authentication]. This is upstream's
// aggregation layer:
// https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
//
// What another server may cost is bounded: a document of it by [MaxDocument], the
// fetching of one by some seconds.
package aggregation

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/go-logr/logr"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	clientset "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/internal/follow"
)

// Server is what the aggregator needs of the API server.
type Server interface {
	// Delegate says which group versions other servers serve.
	Delegate(remotes []*apiserver.Remote)
	// GroupVersions are those that the server has itself.
	GroupVersions() (fixed, published []schema.GroupVersion, changed <-chan struct{})
	// Objects reads services.
	Objects() resource.Objects
	// ListerWatcher reads the server's own cache.
	ListerWatcher(of schema.GroupResource, namespace string) (cache.ListerWatcherWithContext, error)
}

// Config of an [Aggregator]. Server and Client are required.
type Config struct {
	Server Server
	// Client writes APIServices, as the API server itself.
	Client clientset.APIServiceInterface
	// Certificate is the client certificate that other servers know the aggregator
	// by; nil shows none, and they believe nothing that it says of users.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// Resolve finds services; nil means webhook.Services of Server's objects.
	Resolve webhook.ResolveFunc
	// Dial connects to what Resolve found; nil means the host's network.
	Dial webhook.DialFunc
	// Logger; the zero value is silent.
	Logger logr.Logger
}

var (
	apiServices    = schema.GroupResource{Group: apiregistrationv1.GroupName, Resource: "apiservices"}
	services       = schema.GroupResource{Resource: "services"}
	endpointSlices = schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}
)

// Aggregator acts on APIServices.
type Aggregator struct {
	config Config
	ready  chan struct{}

	// What follows is owned by Run.
	known    map[string]*apiregistrationv1.APIService
	backends map[string]*backend
	// managed keeps the APIServices of the server's own group versions.
	managed registration
	reports chan report
	// touched are services that changed; the zero value means any.
	touched chan serviceName
	// watching says that services are watched: from the first APIService that needs
	// one.
	watching bool
	parts    group
}

// New checks the configuration. It starts nothing.
func New(config Config) (*Aggregator, error) {
	if config.Server == nil || config.Client == nil {
		return nil, errors.New("aggregation: Config.Server and Config.Client are required")
	}
	if config.Resolve == nil {
		config.Resolve = webhook.Services(config.Server.Objects)
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	return &Aggregator{
		config: config, ready: make(chan struct{}), backends: map[string]*backend{},
		managed: registration{synced: map[string]bool{}}, reports: make(chan report), touched: make(chan serviceName),
	}, nil
}

// Ready is closed when requests go where the stored APIServices say.
func (a *Aggregator) Ready() <-chan struct{} { return a.ready }

// Run follows the APIServices until ctx ends. It may be called once.
func (a *Aggregator) Run(ctx context.Context) error {
	source, err := a.config.Server.ListerWatcher(apiServices, metav1.NamespaceAll)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer a.parts.wait()
	defer cancel()
	for ctx.Err() == nil {
		if err := a.follow(ctx, source); err != nil && ctx.Err() == nil {
			a.config.Logger.Error(err, "Following the APIServices broke off")
			pause(ctx, 100*time.Millisecond)
		}
	}
	return nil
}

// follow lists the APIServices and watches them from there on.
func (a *Aggregator) follow(ctx context.Context, source cache.ListerWatcherWithContext) error {
	watcher, err := follow.Open(ctx, source, func(n int) {
		a.known = make(map[string]*apiregistrationv1.APIService, n)
	}, a.see)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	a.managed.start(a.known)
	for {
		fixed, published, changed := a.config.Server.GroupVersions()
		a.reconcileBackends(ctx)
		select {
		case <-a.ready:
		default:
			close(a.ready)
		}
		var again <-chan time.Time
		if retry := a.reconcileLocal(ctx, fixed, published); retry {
			again = time.After(time.Second)
		}
		select {
		case ev, open := <-watcher.ResultChan():
			if over, err := follow.Take(ev, open, a.see); over {
				return err
			}
			follow.Drain(watcher, a.see)
		case r := <-a.reports:
			a.take(ctx, r)
		case name := <-a.touched:
			for _, b := range a.backends {
				if b.service == name || name == (serviceName{}) {
					b.wakeUp()
				}
			}
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *Aggregator) see(event watch.EventType, obj runtime.Object) {
	s, ok := obj.(*apiregistrationv1.APIService)
	if !ok {
		return
	}
	switch event {
	case watch.Added, watch.Modified:
		a.known[s.Name] = s
	case watch.Deleted:
		delete(a.known, s.Name)
	}
}

// reconcileBackends starts and stops what follows other servers, and tells the
// server who they are.
func (a *Aggregator) reconcileBackends(ctx context.Context) {
	changed := false
	before := map[string]*apiserver.Remote{}
	for name, b := range a.backends {
		s := a.known[name]
		if s != nil && apiequality.Semantic.DeepEqual(s.Spec, b.spec) {
			continue
		}
		b.stop()
		before[name] = b.remote
		delete(a.backends, name)
		changed = true
	}
	for name, s := range a.known {
		if s.Spec.Service == nil || s.Spec.Group == apiregistrationv1.GroupName || a.backends[name] != nil {
			// APIServices themselves are served here whatever one of them says: who
			// gave them away could not take them back.
			continue
		}
		b := newBackend(&a.config, s, before[name])
		a.backends[name] = b
		changed = true
		a.watchServices(ctx)
		running, stop := context.WithCancel(ctx)
		b.stop = stop
		a.parts.run(func() { b.run(running, a.reports) })
	}
	if changed {
		a.delegate()
	}
}

// take takes what became known of another server.
func (a *Aggregator) take(ctx context.Context, r report) {
	if a.backends[r.from.name] != r.from {
		return
	}
	if r.remote != nil {
		r.from.remote = r.remote
		a.delegate()
	}
	if s := a.known[r.from.name]; s != nil {
		a.writeCondition(ctx, s, r.condition)
	}
}

func (a *Aggregator) delegate() {
	remotes := make([]*apiserver.Remote, 0, len(a.backends))
	for _, b := range a.backends {
		remotes = append(remotes, b.remote)
	}
	a.config.Server.Delegate(remotes)
}

// writeCondition writes what is found of an APIService into its status, where that
// says something else. It reports whether it has to be tried again.
func (a *Aggregator) writeCondition(ctx context.Context, s *apiregistrationv1.APIService, c apiregistrationv1.APIServiceCondition) (retry bool) {
	if was := helper.GetAPIServiceConditionByType(s, c.Type); was != nil && was.Status == c.Status && was.Reason == c.Reason && was.Message == c.Message {
		return false
	}
	next := s.DeepCopy()
	helper.SetAPIServiceCondition(next, c)
	written, err := a.config.Client.UpdateStatus(ctx, next, metav1.UpdateOptions{})
	switch {
	case err == nil:
		a.known[s.Name] = written
	case apierrors.IsNotFound(err):
	case apierrors.IsConflict(err):
		// The watch will bring what it has become; what was found still holds.
		if b := a.backends[s.Name]; b != nil {
			b.wakeUp()
		}
	case ctx.Err() == nil:
		a.config.Logger.Error(err, "Could not update an APIService's status", "name", s.Name)
		return true
	}
	return false
}
