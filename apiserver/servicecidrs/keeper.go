// Package servicecidrs is the API server's side of ServiceCIDRs (KEP-1880). A [Keeper]
// follows them in the server's own cache, lets apiserver/allocator give cluster IPs from
// the ranges of all that are ready, and keeps the default one, which has the cluster's
// own ranges, in existence. Who may be deleted, and what is ready, is for
// controllers/servicecidr to say.
package servicecidrs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	applynetworking "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/internal/follow"
)

// Component is the source of the events about the default ServiceCIDR, and owns the
// condition that it begins with.
const Component = "kubernetes-service-cidr-controller"

const (
	// startInterval and interval are how long a failed write waits for the next try,
	// before the cluster has its default ServiceCIDR and after that: upstream's.
	startInterval = 100 * time.Millisecond
	interval      = 10 * time.Second
	// errorReason is the reason of events about writes that failed.
	errorReason = "KubernetesDefaultServiceCIDRError"
)

var resource = schema.GroupResource{Group: networkingv1.GroupName, Resource: "servicecidrs"}

// Server is what the keeper needs of the API server.
type Server interface {
	// ListerWatcher reads the server's own cache.
	ListerWatcher(of schema.GroupResource, namespace string) (cache.ListerWatcherWithContext, error)
}

// Config of a keeper. All but Logger is required.
type Config struct {
	Server Server
	// Client writes the default ServiceCIDR, and events about it, as the API server.
	Client kubernetes.Interface
	// Addresses are the pools that services take from, one of each family that the
	// cluster has, its first one first. Their own ranges are those of the default
	// ServiceCIDR.
	Addresses []*allocator.Addresses
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Keeper keeps the pools at the ranges that there are, and the default ServiceCIDR.
type Keeper struct {
	config     Config
	configured []string
	events     *eventrecorder.Recorder
	ready      chan struct{}

	// What follows is owned by Run.
	objects map[string]*networkingv1.ServiceCIDR
	told    map[string]bool
}

// New checks the configuration. It starts nothing.
func New(config Config) (*Keeper, error) {
	if config.Server == nil || config.Client == nil || len(config.Addresses) == 0 {
		return nil, errors.New("servicecidrs: Config.Server, Config.Client and Config.Addresses are required")
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	k := &Keeper{config: config, ready: make(chan struct{}), told: map[string]bool{}}
	for _, pool := range config.Addresses {
		k.configured = append(k.configured, pool.CIDR().String())
	}
	var err error
	k.events, err = eventrecorder.NewFromConfig(eventrecorder.Config{
		Client: config.Client, Component: Component, Logger: config.Logger, Queue: 16, Writers: 1,
	})
	return k, err
}

// Ready is closed when the default ServiceCIDR exists and the pools know the ranges.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// Run follows the ServiceCIDRs until ctx ends. It may be called once.
func (k *Keeper) Run(ctx context.Context) error {
	source, err := k.config.Server.ListerWatcher(resource, metav1.NamespaceAll)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var events sync.WaitGroup
	events.Go(func() { _ = k.events.Run(ctx) })
	defer events.Wait()
	defer cancel()
	for ctx.Err() == nil {
		if err := k.follow(ctx, source); err != nil && ctx.Err() == nil {
			k.config.Logger.Error(err, "Following the ServiceCIDRs broke off")
		}
		select {
		case <-ctx.Done():
		case <-time.After(startInterval):
		}
	}
	return nil
}

// follow lists the ServiceCIDRs and watches them from there on.
func (k *Keeper) follow(ctx context.Context, source cache.ListerWatcherWithContext) error {
	var changed bool
	see := func(kind watch.EventType, obj runtime.Object) { changed = k.see(kind, obj) }
	watcher, err := follow.Open(ctx, source, func(n int) { k.objects = make(map[string]*networkingv1.ServiceCIDR, n) }, see)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for changed = true; ; {
		if changed {
			k.publish()
		}
		again := k.keepDefault(ctx)
		select {
		case ev, open := <-watcher.ResultChan():
			if over, err := follow.Take(ev, open, see); over {
				return err
			}
		case <-again:
			changed = false
		case <-ctx.Done():
			return nil
		}
	}
}

// see notes what an event says, and says whether that changes anything.
func (k *Keeper) see(kind watch.EventType, obj runtime.Object) bool {
	o, ok := obj.(*networkingv1.ServiceCIDR)
	switch {
	case !ok || kind == watch.Bookmark:
		return false
	case kind == watch.Deleted:
		delete(k.objects, o.Name)
	default:
		k.objects[o.Name] = o
	}
	return true
}

func (k *Keeper) publish() {
	ranges := Ranges(k.objects)
	for _, pool := range k.config.Addresses {
		pool.Use(ranges)
	}
	if k.objects[Default] == nil {
		return
	}
	select {
	case <-k.ready:
	default:
		close(k.ready)
	}
}

// keepDefault does what the default ServiceCIDR needs. If that failed, it returns when
// to try again; what succeeded shows up in the watch.
func (k *Keeper) keepDefault(ctx context.Context) <-chan time.Time {
	found := k.objects[Default]
	todo, wrong := decide(found, k.configured)
	if wrong != nil && !k.told[wrong.kind] {
		k.told[wrong.kind] = true
		k.config.Logger.Info("The default ServiceCIDR is not as it should be", "reason", wrong.reason, "message", wrong.message)
		k.events.Event(found, corev1.EventTypeWarning, wrong.reason, wrong.message)
	}
	err := k.do(ctx, todo, found)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	k.config.Logger.Error(err, "Could not write the default ServiceCIDR")
	select {
	case <-k.ready:
		return time.After(interval)
	default:
		return time.After(startInterval)
	}
}

func (k *Keeper) do(ctx context.Context, todo step, found *networkingv1.ServiceCIDR) error {
	client := k.config.Client.NetworkingV1().ServiceCIDRs()
	switch todo {
	case create:
		made := &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: Default}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: k.configured},
		}
		_, err := client.Create(ctx, made, metav1.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		k.events.Event(made, corev1.EventTypeWarning, errorReason, "The default ServiceCIDR can not be created")
		return fmt.Errorf("creating it: %w", err)
	case extend:
		k.config.Logger.Info("The default ServiceCIDR gets a second family", "from", found.Spec.CIDRs, "to", k.configured)
		wider := found.DeepCopy()
		wider.Spec.CIDRs = k.configured
		_, err := client.Update(ctx, wider, metav1.UpdateOptions{})
		if err == nil {
			return nil
		}
		k.events.Eventf(found, corev1.EventTypeWarning, errorReason, "The default ServiceCIDR can not be upgraded from %s to dual stack %v : %v", k.configured[0], k.configured, err)
		return fmt.Errorf("giving it a second family: %w", err)
	case approve:
		condition := applymeta.Condition().WithType(networkingv1.ServiceCIDRConditionReady).
			WithStatus(metav1.ConditionTrue).WithMessage(readyMessage).WithLastTransitionTime(metav1.Now())
		approved := applynetworking.ServiceCIDR(Default).WithStatus(applynetworking.ServiceCIDRStatus().WithConditions(condition))
		_, err := client.ApplyStatus(ctx, approved, metav1.ApplyOptions{FieldManager: Component, Force: true})
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		k.events.Event(found, corev1.EventTypeWarning, errorReason, "The default ServiceCIDR Status can not be set to Ready=True")
		return fmt.Errorf("saying that it is ready: %w", err)
	}
	return nil
}
