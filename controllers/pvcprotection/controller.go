// Package pvcprotection keeps claims that pods use from going: it takes their
// finalizer away when none does. It also says in the status of bound claims whether
// any pod uses them.
package pvcprotection

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/finalizer"
)

// byClaim is the index of pods by the claims that they name, as namespace/name.
const byClaim = "persistent-volume-claim"

// New registers the controller. One worker, because reconciles of a namespace's claims
// share a list of its pods.
func New() controllers.Registration {
	return controllers.Registration{Name: "pvcprotection", Workers: 1, Setup: setup}
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	c := &controller{
		client: env.Client, claims: core.PersistentVolumeClaims().Lister(), pods: core.Pods().Informer().GetIndexer(),
		asked: map[controllers.Key]uint64{},
	}
	err := controllers.AddIndex(core.Pods().Informer(), byClaim, func(o any) (keys []string, err error) {
		if p, ok := o.(*corev1.Pod); ok {
			for _, k := range claimsOf(p) {
				keys = append(keys, k.String())
			}
		}
		return keys, nil
	})
	if err != nil {
		return controllers.Controller{}, err
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.PersistentVolumeClaims().Informer(), Object: &corev1.PersistentVolumeClaim{}, Keys: c.changedClaim},
			{Informer: core.Pods().Informer(), Keys: c.changedPod},
		},
		Reconcile: c.reconcile,
	}, nil
}

type controller struct {
	client kubernetes.Interface
	claims corelisters.PersistentVolumeClaimLister
	pods   cache.Indexer

	mu    sync.Mutex // guards the two below
	asked map[controllers.Key]uint64
	now   uint64 // how often anything was asked

	// Of one reconcile at a time: the pods of a namespace as the API had them.
	listed listing
}

// listing is the pods of a namespace by their claims. It answers for claims that were
// asked about before it was made, so that thousands of claims which go with their
// namespace cost a few lists.
type listing struct {
	namespace string
	at        uint64
	byClaim   map[controllers.Key][]*corev1.Pod
}

// ask notes when it was that a claim came up.
func (c *controller) ask(keys ...controllers.Key) []controllers.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.now++
		c.asked[k] = c.now
	}
	return keys
}

func (c *controller) changedClaim(change controllers.Change) []controllers.Key {
	claim, ok := change.New.(*corev1.PersistentVolumeClaim)
	if !ok || condition(claim) != nil && !finalizer.Concerns(claim, Finalizer) {
		return nil
	}
	return c.ask(controllers.KeyOf(claim))
}

func (c *controller) changedPod(change controllers.Change) (keys []controllers.Key) {
	old, _ := change.Old.(*corev1.Pod)
	pod, _ := change.New.(*corev1.Pod)
	if old != nil && pod != nil && old.UID == pod.UID && usage(old) == usage(pod) {
		return nil
	}
	if pod != nil {
		keys = claimsOf(pod)
	}
	if old != nil && (pod == nil || old.UID != pod.UID) {
		keys = append(keys, claimsOf(old)...)
	}
	return c.ask(keys...)
}

// usage is all of a pod, beside its volumes, that decides whether it uses a claim.
func usage(p *corev1.Pod) [3]bool { return [3]bool{p.Spec.NodeName != "", shutDown(p), ended(p)} }

func claimsOf(p *corev1.Pod) (keys []controllers.Key) {
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			keys = append(keys, controllers.Key{Namespace: p.Namespace, Name: v.PersistentVolumeClaim.ClaimName})
		case v.Ephemeral != nil:
			keys = append(keys, controllers.Key{Namespace: p.Namespace, Name: ephemeral.VolumeClaimName(p, v)})
		}
	}
	return keys
}

func (c *controller) reconcile(ctx context.Context, key controllers.Key) (controllers.Plan, error) {
	c.mu.Lock()
	asked, now := c.asked[key], c.now
	delete(c.asked, key)
	c.mu.Unlock()
	if asked == 0 {
		asked = now + 1 // once more after an error: no list is new enough
	}
	claim, err := c.claims.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	known, err := c.pods.ByIndex(byClaim, key.String())
	if err != nil {
		return controllers.Plan{}, err
	}
	v := View{Claim: claim}
	for _, o := range known {
		if p, ok := o.(*corev1.Pod); ok {
			v.Pods = append(v.Pods, p)
		}
	}
	plan, decided := Reconcile(v, time.Now())
	if decided {
		return plan, nil
	}
	if c.listed.namespace != key.Namespace || c.listed.at < asked {
		if err := c.list(ctx, key.Namespace, now); err != nil {
			return controllers.Plan{}, err
		}
	}
	v.Pods, v.Sure = c.listed.byClaim[key], true
	plan, _ = Reconcile(v, time.Now())
	return plan, nil
}

func (c *controller) list(ctx context.Context, namespace string, now uint64) error {
	c.listed = listing{}
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods of %s: %w", namespace, err)
	}
	c.listed = listing{namespace: namespace, at: now, byClaim: map[controllers.Key][]*corev1.Pod{}}
	for i := range pods.Items {
		p := &pods.Items[i]
		for _, k := range claimsOf(p) {
			c.listed.byClaim[k] = append(c.listed.byClaim[k], p)
		}
	}
	return nil
}
