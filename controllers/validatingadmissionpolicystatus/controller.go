// Package validatingadmissionpolicystatus looks for mistakes in the expressions of
// validating admission policies, knowing the fields of the objects that they are
// about, and says in their status what it has found. See
// https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking.
package validatingadmissionpolicystatus

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/discovery"
	admissionlisters "k8s.io/client-go/listers/admissionregistration/v1"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/restmapper"

	"github.com/strake-io/strake/controllers"
)

// manager owns the fields of the status, and is what upstream calls its queue.
const manager = "validatingadmissionpolicy-status"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: manager, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		informer := env.Informers.Admissionregistration().V1().ValidatingAdmissionPolicies()
		c := &controller{env: env, policies: informer.Lister()}
		return controllers.Controller{
			Watches: []controllers.Watch{{Informer: informer.Informer(), Object: &admissionv1.ValidatingAdmissionPolicy{}, Keys: func(c controllers.Change) []controllers.Key {
				if p, ok := c.New.(*admissionv1.ValidatingAdmissionPolicy); ok && !seen(p) {
					return []controllers.Key{controllers.KeyOf(p)}
				}
				return nil
			}}},
			Reconcile: c.reconcile,
		}, nil
	}}
}

func seen(p *admissionv1.ValidatingAdmissionPolicy) bool {
	return p.Generation <= p.Status.ObservedGeneration
}

type controller struct {
	env      *controllers.Env
	policies admissionlisters.ValidatingAdmissionPolicyLister
}

func (c *controller) reconcile(ctx context.Context, key controllers.Key) (controllers.Plan, error) {
	policy, err := c.policies.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	if seen(policy) {
		return controllers.Plan{}, nil
	}
	warnings := Check(c.look(ctx, policy))
	if err := ctx.Err(); err != nil {
		return controllers.Plan{}, err
	}
	return controllers.Do(controllers.Write{
		Verb: controllers.Patch, Object: policy,
		Call: func(ctx context.Context) (controllers.Object, error) {
			got, err := c.env.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().ApplyStatus(
				ctx, status(policy, warnings), metav1.ApplyOptions{FieldManager: manager, Force: true})
			if err != nil {
				return nil, err
			}
			return got, nil
		},
	}), nil
}

func status(policy *admissionv1.ValidatingAdmissionPolicy, warnings []admissionv1.ExpressionWarning) *apply.ValidatingAdmissionPolicyApplyConfiguration {
	checked := apply.TypeChecking()
	for _, w := range warnings {
		checked.WithExpressionWarnings(apply.ExpressionWarning().WithFieldRef(w.FieldRef).WithWarning(w.Warning))
	}
	return apply.ValidatingAdmissionPolicy(policy.Name).WithStatus(
		apply.ValidatingAdmissionPolicyStatus().WithObservedGeneration(policy.Generation).WithTypeChecking(checked))
}

// look finds out about the kinds of a policy. A kind that cannot be found out about is
// left out: a policy has been seen even so, and works as it does without any check.
func (c *controller) look(ctx context.Context, policy *admissionv1.ValidatingAdmissionPolicy) View {
	v := View{Policy: policy}
	client := c.env.Client.Discovery()
	from := &schemas{client: openapi.ToClientWithContext(client.OpenAPIV3())}
	resources, err := restmapper.GetAPIGroupResourcesWithContext(ctx, discovery.ToDiscoveryInterfaceWithContext(client))
	if err != nil {
		c.env.Logger.Error(err, "cannot find out which kinds there are", "policy", policy.Name)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(resources)
	for _, kind := range Kinds(policy, func(of schema.GroupVersionResource) []schema.GroupVersionKind {
		kinds, err := mapper.KindsFor(of)
		if err != nil {
			return nil
		}
		return kinds
	}) {
		s, err := from.of(ctx, kind)
		if err != nil {
			c.env.Logger.V(2).Info("no schema to check a policy against", "policy", policy.Name, "kind", kind, "error", err)
			continue
		}
		v.Kinds = append(v.Kinds, Typed{Kind: kind, Schema: s})
	}
	if kind, ok := paramKind(policy); ok {
		s, err := from.of(ctx, kind)
		if err != nil {
			c.env.Logger.V(2).Info("no schema of a policy's parameters", "policy", policy.Name, "kind", kind, "error", err)
		}
		v.Params = &Typed{Kind: kind, Schema: s}
	}
	return v
}
