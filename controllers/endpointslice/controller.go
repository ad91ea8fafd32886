// Package endpointslice keeps, for every service with a selector, the
// EndpointSlices that list the pods behind it. The service proxies read them.
package endpointslice

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/nodepods"
	"github.com/strake-io/strake/controllers/internal/selection"
)

// ManagedBy is the value of the managed-by label of this controller's slices.
const ManagedBy = "endpointslice-controller.k8s.io"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "endpoint_slice", Component: "endpoint-slice-controller", Setup: setup}
}

type controller struct {
	services corelisters.ServiceLister
	pods     corelisters.PodLister
	nodes    corelisters.NodeLister
	slices   discoverylisters.EndpointSliceLister
	byNode   nodepods.Index
	podKeys  func(controllers.Change) []controllers.Key
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core, slices := env.Informers.Core().V1(), env.Informers.Discovery().V1().EndpointSlices()
	byNode, err := nodepods.New(core.Pods().Informer())
	if err != nil {
		return controllers.Controller{}, err
	}
	c := &controller{
		services: core.Services().Lister(), pods: core.Pods().Lister(), nodes: core.Nodes().Lister(),
		slices: slices.Lister(), byNode: byNode, podKeys: selection.PodKeys(core.Services().Lister()),
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Services().Informer()},
			{Informer: core.Pods().Informer(), Keys: c.podKeys},
			{Informer: core.Nodes().Informer(), Keys: c.nodeKeys},
			{Informer: slices.Informer(), Object: &discoveryv1.EndpointSlice{}, Keys: sliceKeys},
		},
		Reconcile: c.reconcile,
	}, nil
}

func sliceKeys(c controllers.Change) []controllers.Key {
	o := c.Object()
	if o.GetLabels()[discoveryv1.LabelManagedBy] != ManagedBy || o.GetLabels()[discoveryv1.LabelServiceName] == "" {
		return nil
	}
	return []controllers.Key{{Namespace: o.GetNamespace(), Name: o.GetLabels()[discoveryv1.LabelServiceName]}}
}

// nodeKeys maps a node that came, went or changed its zone to the services with
// pods on it.
func (c *controller) nodeKeys(change controllers.Change) (keys []controllers.Key) {
	if change.Old != nil && change.New != nil &&
		change.Old.GetLabels()[corev1.LabelTopologyZone] == change.New.GetLabels()[corev1.LabelTopologyZone] {
		return nil
	}
	for _, p := range c.byNode.On(change.Object().GetName()) {
		keys = append(keys, c.podKeys(controllers.Change{New: p})...)
	}
	return keys
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	svc, err := c.services.Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	if !selection.HasEndpoints(svc) {
		return controllers.Plan{}, nil
	}
	pods, err := c.pods.Pods(key.Namespace).List(labels.Set(svc.Spec.Selector).AsSelectorPreValidated())
	if err != nil {
		return controllers.Plan{}, err
	}
	slices, err := c.slices.EndpointSlices(key.Namespace).List(labels.Set{
		discoveryv1.LabelServiceName: key.Name, discoveryv1.LabelManagedBy: ManagedBy,
	}.AsSelectorPreValidated())
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(View{Service: svc, Pods: pods, Slices: slices, Node: func(name string) *corev1.Node {
		node, err := c.nodes.Get(name)
		if err != nil {
			return nil
		}
		return node
	}}), nil
}
