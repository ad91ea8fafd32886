// Package endpointslicemirroring copies the Endpoints that users keep by hand,
// for services without a selector, into EndpointSlices, which is where the
// service proxies look.
package endpointslicemirroring

import (
	"context"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"github.com/strake-io/strake/controllers"
)

// ManagedBy is the value of the managed-by label of this controller's slices.
const ManagedBy = "endpointslicemirroring-controller.k8s.io"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "endpoint_slice_mirroring", Component: "endpoint-slice-mirroring-controller", Setup: setup}
}

type controller struct {
	services  corelisters.ServiceLister
	endpoints corelisters.EndpointsLister
	slices    discoverylisters.EndpointSliceLister
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core, slices := env.Informers.Core().V1(), env.Informers.Discovery().V1().EndpointSlices()
	c := &controller{services: core.Services().Lister(), endpoints: core.Endpoints().Lister(), slices: slices.Lister()}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Services().Informer()},
			{Informer: core.Endpoints().Informer()},
			{Informer: slices.Informer(), Object: &discoveryv1.EndpointSlice{}, Keys: func(change controllers.Change) []controllers.Key {
				l := change.Object().GetLabels()
				if l[discoveryv1.LabelManagedBy] != ManagedBy {
					return nil
				}
				return []controllers.Key{{Namespace: change.Object().GetNamespace(), Name: l[discoveryv1.LabelServiceName]}}
			}},
		},
		Reconcile: c.reconcile,
	}, nil
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	var v View
	var err error
	if v.Endpoints, err = c.endpoints.Endpoints(key.Namespace).Get(key.Name); err != nil && !apierrors.IsNotFound(err) {
		return controllers.Plan{}, err
	}
	if v.Service, err = c.services.Services(key.Namespace).Get(key.Name); err != nil && !apierrors.IsNotFound(err) {
		return controllers.Plan{}, err
	}
	v.Slices, err = c.slices.EndpointSlices(key.Namespace).List(labels.Set{
		discoveryv1.LabelServiceName: key.Name, discoveryv1.LabelManagedBy: ManagedBy,
	}.AsSelectorPreValidated())
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(v), nil
}
