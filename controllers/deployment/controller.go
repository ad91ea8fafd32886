// Package deployment moves a Deployment's pods to its template through replica
// sets: one per template, the newest growing while the others shrink within
// maxSurge and maxUnavailable, the old ones kept as history to go back to.
package deployment

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/owners"
)

// Kind is the kind that this controller serves.
var Kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "deployment", Component: "deployment-controller", Setup: setup}
}

type controller struct {
	deployments appslisters.DeploymentLister
	setLister   appslisters.ReplicaSetLister
	sets        cache.SharedIndexInformer
	pods        cache.SharedIndexInformer
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	apps := env.Informers.Apps().V1()
	c := &controller{
		deployments: apps.Deployments().Lister(),
		setLister:   apps.ReplicaSets().Lister(),
		sets:        apps.ReplicaSets().Informer(),
		pods:        env.Informers.Core().V1().Pods().Informer(),
	}
	for _, informer := range []cache.SharedIndexInformer{c.sets, c.pods} {
		if err := owners.AddIndex(informer); err != nil {
			return controllers.Controller{}, err
		}
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: apps.Deployments().Informer(), Object: &appsv1.Deployment{}},
			{Informer: c.sets, Object: &appsv1.ReplicaSet{}, Keys: owners.Keys(Kind, c.wouldAdopt)},
			{Informer: c.pods, Keys: c.podGone},
		},
		Reconcile: c.reconcile,
	}, nil
}

// wouldAdopt are the deployments whose selector an orphaned replica set matches.
func (c *controller) wouldAdopt(o metav1.Object) (keys []controllers.Key) {
	all, err := c.deployments.Deployments(o.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, d := range all {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(o.GetLabels())) {
			keys = append(keys, controllers.KeyOf(d))
		}
	}
	return keys
}

// podGone wakes a deployment that waits for its old pods to end. Every other
// change of a pod reaches it through the replica set's status.
func (c *controller) podGone(change controllers.Change) []controllers.Key {
	if change.New != nil {
		old, _ := change.Old.(*corev1.Pod)
		pod, _ := change.New.(*corev1.Pod)
		if old == nil || pod == nil || old.Status.Phase == pod.Status.Phase {
			return nil
		}
	}
	o := change.Object()
	ref := metav1.GetControllerOfNoCopy(o)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return nil
	}
	rs, err := c.setLister.ReplicaSets(o.GetNamespace()).Get(ref.Name)
	if err != nil || rs.UID != ref.UID {
		return nil
	}
	parent := metav1.GetControllerOfNoCopy(rs)
	if parent == nil || parent.Kind != Kind.Kind {
		return nil
	}
	d, err := c.deployments.Deployments(o.GetNamespace()).Get(parent.Name)
	if err != nil || d.UID != parent.UID || isRolling(d) {
		return nil
	}
	return []controllers.Key{controllers.KeyOf(d)}
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	d, err := c.deployments.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return controllers.Plan{}, nil // the API does not let such a deployment in
	}
	sets, err := owners.Candidates[*appsv1.ReplicaSet](c.sets, d)
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(View{
		Deployment: d, Selector: selector, Sets: sets,
		Named: func(name string) *appsv1.ReplicaSet {
			rs, err := c.setLister.ReplicaSets(key.Namespace).Get(name)
			if err != nil {
				return nil
			}
			return rs
		},
		OldPods: func(old []*appsv1.ReplicaSet) (pods []*corev1.Pod) {
			for _, rs := range old {
				pods = append(pods, owners.Controlled[*corev1.Pod](c.pods, rs.UID)...)
			}
			return pods
		},
	}, time.Now()), nil
}
