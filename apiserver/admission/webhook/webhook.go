// Package webhook is admission by others: the webhooks that clients register with
// MutatingWebhookConfiguration and ValidatingWebhookConfiguration objects, asked
// over HTTPS (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/).
//
// Mutating webhooks are called one after another, in the order of the names of their
// configurations, and again where a later plugin changed the object and they ask for
// that; validating ones all at once. What matches is decided by package match, how a
// call is made by apiserver/webhook.
package webhook

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/admission/match"
	client "github.com/strake-io/strake/apiserver/webhook"
)

// Config is what both plugins need.
type Config struct {
	// Caller reaches the webhooks. Required.
	Caller *client.Caller
	// Authorizer answers the checks in match conditions; nil allows nothing.
	Authorizer authorizer.UnconditionalAuthorizer
}

func (c Config) withDefaults() Config {
	if c.Authorizer == nil {
		c.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionNoOpinion, "", nil
		})
	}
	return c
}

// Mutating is the plugin MutatingAdmissionWebhook. It is safe for concurrent use.
type Mutating struct {
	config Config
	known  configured
}

// NewMutating makes the plugin.
func NewMutating(c Config) *Mutating {
	return &Mutating{config: c.withDefaults(), known: configured{read: mutatingHooks, resource: group("mutatingwebhookconfigurations")}}
}

// Name implements admission.Plugin.
func (*Mutating) Name() string { return "MutatingAdmissionWebhook" }

// Validating is the plugin ValidatingAdmissionWebhook. It is safe for concurrent use.
type Validating struct {
	config Config
	known  configured
}

// NewValidating makes the plugin.
func NewValidating(c Config) *Validating {
	return &Validating{config: c.withDefaults(), known: configured{read: validatingHooks, resource: group("validatingwebhookconfigurations")}}
}

// Name implements admission.Plugin.
func (*Validating) Name() string { return "ValidatingAdmissionWebhook" }

func group(resource string) schema.GroupResource {
	return schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: resource}
}

// matches says whether a webhook is to be asked, and about the object as which
// resource. Its errors are API errors.
func (c Config) matches(ctx context.Context, a *admission.Attributes, h *hook) (admission.Served, bool, error) {
	if h.broken != nil {
		return admission.Served{}, false, apierrors.NewInternalError(h.broken)
	}
	as, ok, err := h.criteria.Match(ctx, a)
	if err != nil || !ok || h.conditions == nil {
		return as, ok, err
	}
	object, old, err := match.Versioned(ctx, a, as.Kind)
	if err != nil {
		return as, false, apierrors.NewInternalError(err)
	}
	compiler, conditions := h.conditions()
	evaluator, err := compiler.Evaluate(ctx, celexpr.Input{
		Object: object, Old: old, Request: celexpr.Request(a, as),
		Authorizer: c.Authorizer, User: a.User, Resource: celexpr.Checked{Attributes: a},
	})
	if err == nil {
		ok, err = conditions.Match(evaluator)
	}
	switch {
	case err == nil:
		return as, ok, nil
	case h.ignore:
		return as, false, nil
	}
	return as, false, apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, err)
}
