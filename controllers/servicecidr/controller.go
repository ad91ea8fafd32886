// Package servicecidr says which ServiceCIDRs are ready to give addresses, and holds one
// that is deleted for as long as services have addresses that no other one covers
// (KEP-1880).
package servicecidr

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	apply "k8s.io/client-go/applyconfigurations/networking/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"

	"github.com/strake-io/strake/controllers"
)

// name is that of the controller, of the source of its events, and of the manager of the
// conditions that it sets.
const name = "service-cidr-controller"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: name, Component: name, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		networking := env.Informers.Networking().V1()
		c := &controller{env: env, cidrs: networking.ServiceCIDRs().Lister(), addresses: networking.IPAddresses().Lister()}
		return controllers.Controller{
			Watches: []controllers.Watch{
				{Informer: networking.ServiceCIDRs().Informer(), Object: &networkingv1.ServiceCIDR{}, Keys: c.ofCIDR},
				{Informer: networking.IPAddresses().Informer(), Keys: c.ofAddress},
			},
			Reconcile: c.reconcile,
		}, nil
	}}
}

type controller struct {
	env       *controllers.Env
	cidrs     networkinglisters.ServiceCIDRLister
	addresses networkinglisters.IPAddressLister
}

// ofCIDR is an object, and those on their way out that may wait for another to cover
// their addresses.
func (c *controller) ofCIDR(change controllers.Change) []controllers.Key {
	keys := []controllers.Key{controllers.KeyOf(change.Object())}
	all, err := c.cidrs.List(labels.Everything())
	if err != nil {
		return keys
	}
	changed := change.Object().(*networkingv1.ServiceCIDR)
	for _, other := range all {
		if other.DeletionTimestamp != nil && other.Name != changed.Name && overlap(other, changed) {
			keys = append(keys, controllers.KeyOf(other))
		}
	}
	return keys
}

// ofAddress are those on their way out that an address may hold.
func (c *controller) ofAddress(change controllers.Change) (keys []controllers.Key) {
	if change.Old != nil && change.New != nil {
		return nil
	}
	ip, ok := given(change.Object().(*networkingv1.IPAddress))
	if !ok {
		return nil
	}
	all, err := c.cidrs.List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, cidr := range all {
		if cidr.DeletionTimestamp != nil && cover(prefixes(cidr), ip) {
			keys = append(keys, controllers.KeyOf(cidr))
		}
	}
	return keys
}

// given is the address that an object stands for, if the API server gave it to a service.
func given(o *networkingv1.IPAddress) (netip.Addr, bool) {
	if o.Labels[networkingv1.LabelManagedBy] != managedBy {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(o.Name)
	return ip, err == nil
}

func (c *controller) reconcile(_ context.Context, key controllers.Key) (controllers.Plan, error) {
	cidr, err := c.cidrs.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	v := View{CIDR: cidr}
	if cidr.DeletionTimestamp != nil {
		if v.All, err = c.cidrs.List(labels.Everything()); err != nil {
			return controllers.Plan{}, err
		}
		held, err := c.addresses.List(labels.SelectorFromSet(labels.Set{networkingv1.LabelManagedBy: managedBy}))
		if err != nil {
			return controllers.Plan{}, err
		}
		for _, o := range held {
			if ip, ok := given(o); ok {
				v.Addresses = append(v.Addresses, ip)
			}
		}
	}
	return c.plan(cidr, Decide(v, time.Now())), nil
}

func (c *controller) plan(cidr *networkingv1.ServiceCIDR, d Decision) controllers.Plan {
	var writes []controllers.Write
	switch d.Finalizer {
	case Add:
		writes = append(writes, patch(cidr, "finalizers"))
	case Remove:
		writes = append(writes, patch(cidr, "$deleteFromPrimitiveList/finalizers"))
	}
	if d.Condition != nil {
		writes = append(writes, c.say(cidr, d.Condition))
	}
	plan := controllers.Do(writes...)
	plan.After = d.After
	return plan
}

func patch(cidr *networkingv1.ServiceCIDR, field string) controllers.Write {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{field: []string{Finalizer}}})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return controllers.Write{
		Verb: controllers.Patch, Object: cidr, PatchType: types.StrategicMergePatchType, PatchData: data, Ignore: apierrors.IsNotFound,
	}
}

func (c *controller) say(cidr *networkingv1.ServiceCIDR, condition *metav1.Condition) controllers.Write {
	w := controllers.Write{Verb: controllers.Patch, Object: cidr, Ignore: apierrors.IsNotFound, Call: func(ctx context.Context) (controllers.Object, error) {
		said := applymeta.Condition().WithType(condition.Type).WithStatus(condition.Status).
			WithReason(condition.Reason).WithMessage(condition.Message).WithLastTransitionTime(condition.LastTransitionTime)
		got, err := c.env.Client.NetworkingV1().ServiceCIDRs().ApplyStatus(ctx,
			apply.ServiceCIDR(cidr.Name).WithStatus(apply.ServiceCIDRStatus().WithConditions(said)),
			metav1.ApplyOptions{FieldManager: name, Force: true})
		if err != nil {
			return nil, err
		}
		return got, nil
	}}
	if condition.Status == metav1.ConditionTrue {
		w.Failed = &controllers.Event{
			About: cidr, Type: corev1.EventTypeWarning, Reason: "KubernetesServiceCIDRError",
			Message: "The ServiceCIDR Status can not be set to Ready=True",
		}
	}
	return w
}
