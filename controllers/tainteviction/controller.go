// Package tainteviction deletes pods from nodes whose NoExecute taints they do
// not tolerate, or no longer do when their tolerationSeconds are over.
package tainteviction

import (
	"context"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/nodepods"
)

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "taint-eviction-controller", Component: "taint-eviction-controller", Workers: 8, Setup: setup}
}

type controller struct {
	pods  corelisters.PodLister
	nodes corelisters.NodeLister
	index nodepods.Index

	mu    sync.Mutex // guards first
	first map[string]map[corev1.Taint]time.Time
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	index, err := nodepods.New(core.Pods().Informer())
	if err != nil {
		return controllers.Controller{}, err
	}
	c := &controller{pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), index: index, first: map[string]map[corev1.Taint]time.Time{}}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Pods().Informer(), Object: &corev1.Pod{}, Keys: c.podKeys},
			{Informer: core.Nodes().Informer(), Keys: c.nodeKeys},
		},
		Reconcile: c.reconcile,
	}, nil
}

// podKeys lets through pods that have just got a node or other tolerations.
func (c *controller) podKeys(change controllers.Change) []controllers.Key {
	old, _ := change.Old.(*corev1.Pod)
	p, _ := change.New.(*corev1.Pod)
	if p == nil || p.Spec.NodeName == "" {
		return nil
	}
	if old != nil && old.UID == p.UID && old.Spec.NodeName == p.Spec.NodeName && reflect.DeepEqual(old.Spec.Tolerations, p.Spec.Tolerations) {
		return nil
	}
	return []controllers.Key{controllers.KeyOf(p)}
}

// nodeKeys are the pods of a node whose taints have changed.
func (c *controller) nodeKeys(change controllers.Change) (keys []controllers.Key) {
	old, _ := change.Old.(*corev1.Node)
	n, _ := change.New.(*corev1.Node)
	if n == nil {
		c.mu.Lock()
		delete(c.first, change.Object().GetName())
		c.mu.Unlock()
		return nil
	}
	taints := noExecute(n)
	c.notice(n.Name, taints, time.Now())
	if old != nil && reflect.DeepEqual(noExecute(old), taints) || old == nil && len(taints) == 0 {
		return nil
	}
	for _, p := range c.index.On(n.Name) {
		keys = append(keys, controllers.KeyOf(p))
	}
	return keys
}

// notice remembers since when a node has each taint.
func (c *controller) notice(node string, taints []corev1.Taint, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(taints) == 0 {
		delete(c.first, node)
		return
	}
	seen := map[corev1.Taint]time.Time{}
	for _, t := range taints {
		t.TimeAdded = nil
		seen[t] = now
		if at, ok := c.first[node][t]; ok {
			seen[t] = at
		}
	}
	c.first[node] = seen
}

func noExecute(n *corev1.Node) (taints []corev1.Taint) {
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			taints = append(taints, t)
		}
	}
	return taints
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	p, err := c.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	n, err := c.nodes.Get(p.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	now := time.Now()
	return Reconcile(View{Pod: p, Taints: noExecute(n), Since: func(t corev1.Taint) time.Time {
		t.TimeAdded = nil
		c.mu.Lock()
		defer c.mu.Unlock()
		if at, ok := c.first[n.Name][t]; ok {
			return at
		}
		return now
	}}, now), nil
}
