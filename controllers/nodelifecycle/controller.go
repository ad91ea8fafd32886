// Package nodelifecycle watches over the nodes. One that gives no sign of life
// is marked as unknown, its pods as not ready, and it gets the taints that keep
// new pods away and in time drive the old ones off (package tainteviction).
package nodelifecycle

import (
	"context"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/component-helpers/node/topology"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/nodepods"
)

// Config configures the controller.
type Config struct {
	// Grace is how long a node may be silent before it is marked as unknown;
	// 50 s if 0. It must be several times the renewal period of the leases (10 s).
	Grace time.Duration
	// Startup is how long a new node may take to post its first status; 60 s if 0.
	Startup time.Duration
}

// New registers the controller.
func New(config Config) controllers.Registration {
	if config.Grace <= 0 {
		config.Grace = 50 * time.Second
	}
	if config.Startup <= 0 {
		config.Startup = 60 * time.Second
	}
	return controllers.Registration{Name: "node_lifecycle_controller", Component: "node-controller", Workers: 8, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		return setup(env, config)
	}}
}

type controller struct {
	config Config
	nodes  corelisters.NodeLister
	index  nodepods.Index

	mu      sync.Mutex // guards all below
	health  map[string]health
	evicted map[string]time.Time // by zone: when the last node began to be emptied
	// The count of the zones, until a node changes it: when many nodes fail at
	// once, each asks for it again and again.
	counted bool
	zones   map[string]Zone
	cut     bool
}

// health is what is remembered of a node.
type health struct {
	seen  time.Time // last sign of life
	known bool      // has been looked at
	ready bool      // was ready then
}

func setup(env *controllers.Env, config Config) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	index, err := nodepods.New(core.Pods().Informer())
	if err != nil {
		return controllers.Controller{}, err
	}
	c := &controller{
		config: config, nodes: core.Nodes().Lister(), index: index,
		health: map[string]health{}, evicted: map[string]time.Time{},
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Nodes().Informer(), Object: &corev1.Node{}, Keys: c.nodeKeys},
			{Informer: env.Informers.Coordination().V1().Leases().Informer(), Keys: c.leaseKeys},
			{Informer: core.Pods().Informer(), Object: &corev1.Pod{}, Keys: c.podKeys},
		},
		Reconcile: c.reconcile,
	}, nil
}

// nodeKeys takes a new status for a sign of life.
func (c *controller) nodeKeys(change controllers.Change) []controllers.Key {
	old, _ := change.Old.(*corev1.Node)
	n, _ := change.New.(*corev1.Node)
	if old == nil || n == nil || readiness(old) != readiness(n) || topology.GetZoneKey(old) != topology.GetZoneKey(n) {
		c.mu.Lock()
		c.counted = false
		if n == nil {
			delete(c.health, change.Object().GetName())
		}
		c.mu.Unlock()
	}
	if n == nil {
		return nil
	}
	if old == nil || posted(old, n) {
		c.alive(n.Name, time.Now())
	}
	return controllers.OwnKey(change)
}

// posted reports whether the node itself has said something: its heartbeat
// moved. What this controller writes moves none.
func posted(old, n *corev1.Node) bool {
	a, b := condition(old, corev1.NodeReady), condition(n, corev1.NodeReady)
	return b != nil && (a == nil || !apiequality.Semantic.DeepEqual(a.LastHeartbeatTime, b.LastHeartbeatTime))
}

// leaseKeys takes a renewed lease for a sign of life. It wakes nobody: the node
// is looked at when its grace is over, and then the renewal is known.
func (c *controller) leaseKeys(change controllers.Change) []controllers.Key {
	l, ok := change.New.(*coordinationv1.Lease)
	if !ok || l.Namespace != corev1.NamespaceNodeLease {
		return nil
	}
	if old, ok := change.Old.(*coordinationv1.Lease); ok && apiequality.Semantic.DeepEqual(old.Spec.RenewTime, l.Spec.RenewTime) {
		return nil
	}
	// Of a node that is not there (any more) nothing must be remembered. One that
	// comes after its lease shows its own first sign of life.
	if _, err := c.nodes.Get(l.Name); err == nil {
		c.alive(l.Name, time.Now())
	}
	return nil
}

// podKeys wakes a node that is not ready when a pod on it is marked ready.
func (c *controller) podKeys(change controllers.Change) []controllers.Key {
	p, ok := change.New.(*corev1.Pod)
	if !ok || p.Spec.NodeName == "" {
		return nil
	}
	if n, err := c.nodes.Get(p.Spec.NodeName); err != nil || readiness(n) != corev1.ConditionUnknown {
		return nil
	}
	return []controllers.Key{{Name: p.Spec.NodeName}}
}

func (c *controller) alive(node string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.health[node]
	h.seen = now
	c.health[node] = h
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	n, err := c.nodes.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	now := time.Now()
	v := View{Node: n, Pods: c.index.On(n.Name), Grace: c.config.Grace, Startup: c.config.Startup}

	c.mu.Lock()
	defer c.mu.Unlock()
	if readiness(n) != corev1.ConditionTrue { // only then the others matter
		if !c.counted {
			all, err := c.nodes.List(labels.Everything())
			if err != nil {
				return controllers.Plan{}, err
			}
			c.zones, c.cut = Zones(all)
			c.counted = true
		}
		v.Cut = c.cut
	}
	h := c.health[n.Name]
	if h.seen.IsZero() {
		h.seen = now
	}
	v.Seen, v.WasReady, v.New = h.seen, h.ready, !h.known
	if NeedsEviction(n) && !v.Cut {
		zone := topology.GetZoneKey(n)
		every, ok := c.zones[zone].Pace()
		if last, any := c.evicted[zone]; ok && (!any || now.Sub(last) >= every) {
			v.MayEvict = true
			c.evicted[zone] = now
		}
	}
	h.known, h.ready = true, readiness(n) == corev1.ConditionTrue
	c.health[n.Name] = h
	return Reconcile(v, now), nil
}
