// Package replicaset keeps the number of pods that a ReplicaSet asks for.
package replicaset

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
var Kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "replicaset", Component: "replicaset-controller", Setup: setup}
}

type controller struct {
	sets     appslisters.ReplicaSetLister
	setCache cache.SharedIndexInformer
	pods     cache.SharedIndexInformer
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	sets, pods := env.Informers.Apps().V1().ReplicaSets(), env.Informers.Core().V1().Pods()
	c := &controller{sets: sets.Lister(), setCache: sets.Informer(), pods: pods.Informer()}
	for _, informer := range []cache.SharedIndexInformer{c.setCache, c.pods} {
		if err := owners.AddIndex(informer); err != nil {
			return controllers.Controller{}, err
		}
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: c.setCache, Object: &appsv1.ReplicaSet{}},
			{Informer: c.pods, Object: &corev1.Pod{}, Keys: owners.Keys(Kind, c.wouldAdopt)},
		},
		Reconcile: c.reconcile,
	}, nil
}

// wouldAdopt are the sets whose selector an orphan matches.
func (c *controller) wouldAdopt(o metav1.Object) (keys []controllers.Key) {
	sets, err := c.sets.ReplicaSets(o.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, rs := range sets {
		selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(o.GetLabels())) {
			keys = append(keys, controllers.KeyOf(rs))
		}
	}
	return keys
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	rs, err := c.sets.ReplicaSets(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return controllers.Plan{}, nil // the API does not let such a set in; nothing can be done with it
	}
	pods, err := owners.Candidates[*corev1.Pod](c.pods, rs)
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(View{Set: rs, Selector: selector, Pods: pods, Related: c.related(rs)}, time.Now()), nil
}

// related are the pods of all sets under the same controller.
func (c *controller) related(rs *appsv1.ReplicaSet) (pods []*corev1.Pod) {
	parent := metav1.GetControllerOfNoCopy(rs)
	if parent == nil {
		return nil
	}
	for _, sibling := range owners.Controlled[*appsv1.ReplicaSet](c.setCache, parent.UID) {
		pods = append(pods, owners.Controlled[*corev1.Pod](c.pods, sibling.UID)...)
	}
	return pods
}
