// Package endpoints keeps, for every service with a selector, the Endpoints
// object of its name: the elder and simpler form of EndpointSlices, which
// clients still read.
package endpoints

//lint:file-ignore SA1019 Endpoints are still served, and still written.

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/selection"
)

// The label that tells this controller's objects from the user's own.
const (
	managedByLabel = "endpoints.kubernetes.io/managed-by"
	managedBy      = "endpoint-controller"
)

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "endpoint", Component: "endpoint-controller", Setup: setup}
}

type controller struct {
	services  corelisters.ServiceLister
	pods      corelisters.PodLister
	endpoints corelisters.EndpointsLister
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	c := &controller{services: core.Services().Lister(), pods: core.Pods().Lister(), endpoints: core.Endpoints().Lister()}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Services().Informer()},
			{Informer: core.Pods().Informer(), Keys: selection.PodKeys(c.services)},
			{Informer: core.Endpoints().Informer(), Object: &corev1.Endpoints{}},
		},
		Reconcile: c.reconcile,
	}, nil
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	v := View{Key: key}
	var err error
	if v.Current, err = c.endpoints.Endpoints(key.Namespace).Get(key.Name); err != nil && !apierrors.IsNotFound(err) {
		return controllers.Plan{}, err
	}
	if v.Service, err = c.services.Services(key.Namespace).Get(key.Name); err != nil && !apierrors.IsNotFound(err) {
		return controllers.Plan{}, err
	}
	if err == nil && selection.HasEndpoints(v.Service) {
		if v.Pods, err = c.pods.Pods(key.Namespace).List(labels.Set(v.Service.Spec.Selector).AsSelectorPreValidated()); err != nil {
			return controllers.Plan{}, err
		}
	}
	return Reconcile(v), nil
}
