// Package resourcequota keeps the status of ResourceQuotas: their limits as the spec
// has them, and what is used of each. Admission charges what is created; what ends,
// goes or was charged for nothing is found here.
package resourcequota

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corelisters "k8s.io/client-go/listers/core/v1"
	resourcelisters "k8s.io/client-go/listers/resource/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/internal/quota"
)

const (
	// resync is how often a quota is counted though nothing was heard: upstream's.
	resync = 5 * time.Minute
	// still is how long a quota must rest before it is told to have less used, and
	// patience how long that can be put off. What was charged a moment ago may not be
	// in the caches yet.
	still, patience = 200 * time.Millisecond, 2 * time.Second
)

// New registers the controller. It needs controllers.Config.Metadata.
func New() controllers.Registration {
	return controllers.Registration{Name: "resource-quota", Setup: setup}
}

type controller struct {
	env      *controllers.Env
	quotas   corelisters.ResourceQuotaLister
	pods     corelisters.PodLister
	services corelisters.ServiceLister
	claims   corelisters.PersistentVolumeClaimLister
	devices  resourcelisters.ResourceClaimLister
	counters *counters

	mu    sync.Mutex
	falls map[controllers.Key]fall
}

// fall is a quota of which less is used than its status says.
type fall struct {
	version      string // of the quota, when it was last looked at
	seen, settle time.Time
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	if env.Metadata == nil {
		return controllers.Controller{}, errors.New("needs a metadata client")
	}
	core, devices := env.Informers.Core().V1(), env.Informers.Resource().V1().ResourceClaims()
	c := &controller{
		env: env, quotas: core.ResourceQuotas().Lister(), pods: core.Pods().Lister(), services: core.Services().Lister(),
		claims: core.PersistentVolumeClaims().Lister(), devices: devices.Lister(), falls: map[controllers.Key]fall{},
	}
	c.counters = newCounters(env, c.wake)
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.ResourceQuotas().Informer(), Object: &corev1.ResourceQuota{}, Keys: changedQuota},
			{Informer: core.Pods().Informer(), Keys: c.freed(quota.Pods)},
			{Informer: core.Services().Informer(), Keys: c.freed(quota.Services)},
			{Informer: core.PersistentVolumeClaims().Informer(), Keys: c.freed(quota.Claims)},
			{Informer: devices.Informer(), Keys: c.freed(quota.Devices)},
		},
		Reconcile: c.reconcile, Run: c.counters.run,
	}, nil
}

// changedQuota: a charge of admission is no reason to count.
func changedQuota(change controllers.Change) []controllers.Key {
	old, had := change.Old.(*corev1.ResourceQuota)
	q, has := change.New.(*corev1.ResourceQuota)
	if had && has && old.UID == q.UID && quota.Equal(old.Spec.Hard, q.Spec.Hard) && quota.Equal(q.Spec.Hard, q.Status.Hard) {
		return nil
	}
	return controllers.OwnKey(change)
}

// freed wakes the quotas of a namespace when an object uses less, or is gone.
func (c *controller) freed(of schema.GroupResource) func(controllers.Change) []controllers.Key {
	return func(change controllers.Change) []controllers.Key {
		if change.Old == nil {
			return nil // admission has charged it
		}
		// Most namespaces have no quota: what an object uses is not counted for nothing.
		keys := c.quotasFor(of, change.Object().GetNamespace())
		if len(keys) == 0 || change.New == nil || change.New.GetUID() != change.Old.GetUID() || quota.Rescoped(change.New, change.Old) {
			return keys
		}
		now := time.Now()
		if len(quota.More(quota.Usage(of, change.Old, now), quota.Usage(of, change.New, now))) == 0 {
			return nil
		}
		return keys
	}
}

func (c *controller) wake(of schema.GroupResource, namespace string) {
	for _, key := range c.quotasFor(of, namespace) {
		c.env.Enqueue(key)
	}
}

// quotasFor are the quotas that limit something of a resource; "" is all namespaces.
func (c *controller) quotasFor(of schema.GroupResource, namespace string) (keys []controllers.Key) {
	all, err := c.quotas.ResourceQuotas(namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, q := range all {
		if len(quota.Names(of, q.Spec.Hard)) > 0 {
			keys = append(keys, controllers.KeyOf(q))
		}
	}
	return keys
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	q, err := c.quotas.ResourceQuotas(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.settled(key)
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	now := time.Now()
	used, err := c.used(q, now)
	if err != nil {
		return controllers.Plan{}, err
	}
	status := Status(q, used)
	if status == nil {
		c.settled(key)
		return controllers.Plan{After: resync}, nil
	}
	if wait := c.wait(key, q, status, now); wait > 0 {
		return controllers.Plan{After: wait}, nil
	}
	c.settled(key)
	next := q.DeepCopy()
	next.Status = *status
	plan := controllers.Do(controllers.Write{Verb: controllers.UpdateStatus, Object: next})
	plan.After = resync
	return plan, nil
}

func (c *controller) settled(key controllers.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.falls, key)
}

// wait is for how long a status that tells of less is put off.
func (c *controller) wait(key controllers.Key, q *corev1.ResourceQuota, next *corev1.ResourceQuotaStatus, now time.Time) time.Duration {
	if len(quota.More(q.Status.Used, next.Used)) == 0 || !quota.Equal(q.Status.Hard, next.Hard) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, known := c.falls[key]
	if !known {
		f.seen = now
	}
	if !known || f.version != q.ResourceVersion {
		f.version, f.settle = q.ResourceVersion, now.Add(still)
		if latest := f.seen.Add(patience); f.settle.After(latest) {
			f.settle = latest
		}
	}
	c.falls[key] = f
	return max(f.settle.Sub(now), 0)
}

// used counts what a quota limits. What cannot be counted (a kind that is not served)
// is left out.
func (c *controller) used(q *corev1.ResourceQuota, now time.Time) (corev1.ResourceList, error) {
	used := corev1.ResourceList{}
	for of, list := range map[schema.GroupResource]func(namespace string) ([]runtime.Object, error){
		quota.Pods:     objects(func(ns string) ([]*corev1.Pod, error) { return c.pods.Pods(ns).List(labels.Everything()) }),
		quota.Services: objects(func(ns string) ([]*corev1.Service, error) { return c.services.Services(ns).List(labels.Everything()) }),
		quota.Claims: objects(func(ns string) ([]*corev1.PersistentVolumeClaim, error) {
			return c.claims.PersistentVolumeClaims(ns).List(labels.Everything())
		}),
		quota.Devices: objects(func(ns string) ([]*resourcev1.ResourceClaim, error) {
			return c.devices.ResourceClaims(ns).List(labels.Everything())
		}),
	} {
		names := quota.Names(of, q.Spec.Hard)
		if len(names) == 0 {
			continue
		}
		all, err := list(q.Namespace)
		if err != nil {
			return nil, err
		}
		for name, quantity := range Count(q, of, names, all, now) {
			used[name] = quantity
		}
	}
	for name := range q.Spec.Hard {
		of, is := quota.Counted(name)
		if _, done := used[name]; !is || done || len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue
		}
		if n, known := c.counters.count(of, q.Namespace); known {
			used[name] = quantityOf(n)
		}
	}
	return used, nil
}

func objects[T runtime.Object](list func(namespace string) ([]T, error)) func(string) ([]runtime.Object, error) {
	return func(namespace string) ([]runtime.Object, error) {
		all, err := list(namespace)
		out := make([]runtime.Object, len(all))
		for i, obj := range all {
			out[i] = obj
		}
		return out, err
	}
}
