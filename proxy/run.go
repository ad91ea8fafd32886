package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	defaultMinInterval = 100 * time.Millisecond
	defaultFullSync    = time.Hour
	firstRetry         = time.Second
	lastRetry          = 30 * time.Second
	// unproxied marks services that this proxy leaves to another.
	unproxied = "service.kubernetes.io/service-proxy-name"
)

// Config of a [Proxy].
type Config struct {
	// Informers for services and endpoint slices. The caller starts them after
	// New and shuts them down after Run. Required.
	Informers informers.SharedInformerFactory
	// Proxier that makes the node follow. Required.
	Proxier Proxier
	// NodeName of the node that this proxy serves. Required.
	NodeName string
	// MinInterval is the least time between two updates, so that a burst of
	// changes costs one transaction; 0 means 100 ms, negative none.
	MinInterval time.Duration
	// FullSync is how often everything is computed and applied anew, in case
	// somebody else changed the node; 0 means an hour.
	FullSync time.Duration
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Proxy keeps a node's [Proxier] in step with the API.
type Proxy struct {
	config   Config
	services corelisters.ServiceLister
	slices   cache.Indexer
	sources  []cache.SharedIndexInformer
	ready    chan struct{}
}

// New checks the configuration and registers with the informers.
func New(config Config) (*Proxy, error) {
	switch {
	case config.Informers == nil:
		return nil, errors.New("proxy: Config.Informers is required")
	case config.Proxier == nil:
		return nil, errors.New("proxy: Config.Proxier is required")
	case config.NodeName == "":
		return nil, errors.New("proxy: Config.NodeName is required")
	}
	if config.MinInterval == 0 {
		config.MinInterval = defaultMinInterval
	}
	if config.FullSync <= 0 {
		config.FullSync = defaultFullSync
	}
	services := config.Informers.Core().V1().Services()
	epSlices := config.Informers.Discovery().V1().EndpointSlices().Informer()
	if _, there := epSlices.GetIndexer().GetIndexers()[byService]; !there {
		if err := epSlices.AddIndexers(cache.Indexers{byService: serviceOf}); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	return &Proxy{
		config:   config,
		services: services.Lister(),
		slices:   epSlices.GetIndexer(),
		sources:  []cache.SharedIndexInformer{services.Informer(), epSlices},
		ready:    make(chan struct{}),
	}, nil
}

// Ready is closed when everything known at the start has been applied.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Run keeps the node in step until ctx ends, and returns nil then. What it
// programmed stays: traffic goes on while a node restarts. It is called once.
func (p *Proxy) Run(ctx context.Context) error {
	pending := newDirty()
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { pending.mark(owner(obj)) },
		UpdateFunc: func(old, obj any) {
			pending.mark(owner(old)) // another one, where a slice moved to another service
			pending.mark(owner(obj))
		},
		DeleteFunc: func(obj any) { pending.mark(owner(obj)) },
	}
	var synced []cache.InformerSynced
	for _, source := range p.sources {
		registration, err := source.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
		defer source.RemoveEventHandler(registration) //nolint:errcheck // a handler that is gone already is no failure
		synced = append(synced, registration.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	p.follow(ctx, pending)
	return nil
}

// follow applies what is pending, whenever something is.
func (p *Proxy) follow(ctx context.Context, pending *dirty) {
	retry := firstRetry
	fullSync := time.NewTicker(p.config.FullSync)
	defer fullSync.Stop()
	pending.markAll()
	for {
		select {
		case <-ctx.Done():
			return
		case <-fullSync.C:
			pending.markAll()
			continue
		case <-pending.some:
		}
		update := p.update(pending)
		if !update.Full && len(update.Services) == 0 {
			continue // taken with the update before
		}
		err := p.config.Proxier.Apply(ctx, update)
		pause := p.config.MinInterval
		switch {
		case err == nil:
			retry = firstRetry
			select {
			case <-p.ready:
			default:
				close(p.ready)
			}
		case ctx.Err() != nil:
			return
		default:
			p.config.Logger.Error(err, "Could not program the services; will try everything again", "after", retry)
			pending.markAll()
			pause, retry = retry, min(2*retry, lastRetry)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// update computes what is pending from what the informers show.
func (p *Proxy) update(pending *dirty) Update {
	names, all := pending.take()
	u := Update{Full: all, Services: map[types.NamespacedName][]Port{}}
	if all {
		services, _ := p.services.List(labels.Everything()) // a lister of a cache does not fail
		for _, svc := range services {
			if ports := p.compute(svc); len(ports) > 0 {
				u.Services[types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}] = ports
			}
		}
		return u
	}
	for name := range names {
		u.Services[name] = nil
		if svc, err := p.services.Services(name.Namespace).Get(name.Name); err == nil {
			u.Services[name] = p.compute(svc)
		}
	}
	return u
}

func (p *Proxy) compute(svc *corev1.Service) []Port {
	if _, elsewhere := svc.Labels[unproxied]; elsewhere {
		return nil
	}
	found, _ := p.slices.ByIndex(byService, svc.Namespace+"/"+svc.Name) // fails only for an index that is not there
	epSlices := make([]*discoveryv1.EndpointSlice, len(found))
	for i, obj := range found {
		epSlices[i] = obj.(*discoveryv1.EndpointSlice)
	}
	return Compute(svc, epSlices, p.config.NodeName)
}

// byService indexes endpoint slices by the service that they belong to.
const byService = "proxy.strake.io/service"

func serviceOf(obj any) ([]string, error) {
	name := owner(obj)
	if name.Name == "" {
		return nil, nil
	}
	return []string{name.String()}, nil
}

// owner is the service that an object of an informer is about.
func owner(obj any) types.NamespacedName {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	switch obj := obj.(type) {
	case *corev1.Service:
		return types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	case *discoveryv1.EndpointSlice:
		return types.NamespacedName{Namespace: obj.Namespace, Name: obj.Labels[discoveryv1.LabelServiceName]}
	}
	return types.NamespacedName{}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
