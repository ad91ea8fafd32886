// Package replication keeps the number of pods that a ReplicationController
// asks for: the elder form of a ReplicaSet, with a plain map as its selector.
package replication

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/owners"
)

// Kind is the kind that this controller serves.
var Kind = corev1.SchemeGroupVersion.WithKind("ReplicationController")

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "replicationmanager", Component: "replication-controller", Setup: setup}
}

type controller struct {
	all  corelisters.ReplicationControllerLister
	pods cache.SharedIndexInformer
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	all, pods := env.Informers.Core().V1().ReplicationControllers(), env.Informers.Core().V1().Pods()
	c := &controller{all: all.Lister(), pods: pods.Informer()}
	if err := owners.AddIndex(c.pods); err != nil {
		return controllers.Controller{}, err
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: all.Informer(), Object: &corev1.ReplicationController{}},
			{Informer: c.pods, Object: &corev1.Pod{}, Keys: owners.Keys(Kind, c.wouldAdopt)},
		},
		Reconcile: c.reconcile,
	}, nil
}

// wouldAdopt are the controllers whose selector an orphan matches.
func (c *controller) wouldAdopt(o metav1.Object) (keys []controllers.Key) {
	all, err := c.all.ReplicationControllers(o.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, rc := range all {
		if len(rc.Spec.Selector) > 0 && labels.Set(rc.Spec.Selector).AsSelectorPreValidated().Matches(labels.Set(o.GetLabels())) {
			keys = append(keys, controllers.KeyOf(rc))
		}
	}
	return keys
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	rc, err := c.all.ReplicationControllers(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	pods, err := owners.Candidates[*corev1.Pod](c.pods, rc)
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(View{Controller: rc, Pods: pods}, time.Now()), nil
}
