// Package policy is admission by expressions that clients register: the plugins
// ValidatingAdmissionPolicy and MutatingAdmissionPolicy
// (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/,
// https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
//
// A policy says what to check or to change; a binding of it says where, and with
// which parameters. What they match is decided by package match, expressions are
// compiled and evaluated by package celexpr. A policy is compiled once, when a write
// first matches it, and again only when its spec has changed. What its expressions
// may cost for one write, binding and parameter is bounded by celexpr.PolicyBudget
// and, for its match conditions, celexpr.MatchBudget.
package policy

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// Config is what both plugins need.
type Config struct {
	// Authorizer answers the checks of expressions; nil allows nothing.
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

// Validating is the plugin ValidatingAdmissionPolicy. It is safe for concurrent use.
type Validating struct {
	config Config
	known  configured[validation]
}

// NewValidating makes the plugin.
func NewValidating(c Config) *Validating {
	return &Validating{config: c.withDefaults(), known: configured[validation]{
		policies: group("validatingadmissionpolicies"), bindings: group("validatingadmissionpolicybindings"),
		readPolicy: readValidation, readBinding: readValidationBinding,
	}}
}

// Name implements admission.Plugin.
func (*Validating) Name() string { return "ValidatingAdmissionPolicy" }

// Mutating is the plugin MutatingAdmissionPolicy. It is safe for concurrent use.
type Mutating struct {
	config Config
	known  configured[mutation]
}

// NewMutating makes the plugin.
func NewMutating(c Config) *Mutating {
	return &Mutating{config: c.withDefaults(), known: configured[mutation]{
		policies: group("mutatingadmissionpolicies"), bindings: group("mutatingadmissionpolicybindings"),
		readPolicy: readMutation, readBinding: readMutationBinding,
	}}
}

// Name implements admission.Plugin.
func (*Mutating) Name() string { return "MutatingAdmissionPolicy" }

func group(resource string) schema.GroupResource {
	return schema.GroupResource{Group: admissionv1.GroupName, Resource: resource}
}

// invocation is one policy with one of its bindings and one parameter, for a write
// that both match.
type invocation[P any] struct {
	policy  *policy[P]
	binding *binding
	// as is the resource that the policy matched.
	as    admission.Served
	param runtime.Object
}

// misconfigured is a policy, or one of its bindings, that cannot be applied.
type misconfigured[P any] struct {
	policy  *policy[P]
	binding *binding // nil where it is the policy itself
	err     error
}

func (m misconfigured[P]) message() error {
	if m.binding == nil {
		return fmt.Errorf("failed to configure policy: %w", m.err)
	}
	return fmt.Errorf("failed to configure binding: %w", m.err)
}

// matching finds what is to be invoked for a write, in the order of the names of
// policies and bindings, and what is wrong with those that match.
func matching[P any](ctx context.Context, a *admission.Attributes, policies []*policy[P]) (invoke []invocation[P], wrong []misconfigured[P]) {
	for _, p := range policies {
		if p.broken != nil {
			wrong = append(wrong, misconfigured[P]{p, nil, p.broken})
			continue
		}
		as, matched, err := p.criteria.Match(ctx, a)
		if err != nil {
			wrong = append(wrong, misconfigured[P]{p, nil, err})
			continue
		}
		if !matched {
			continue
		}
		params, err := p.params(a.Catalog)
		if err != nil {
			wrong = append(wrong, misconfigured[P]{p, nil, err})
			continue
		}
		for _, b := range p.bindings {
			found, err := collect(ctx, a, b, params)
			if err != nil {
				wrong = append(wrong, misconfigured[P]{p, b, err})
			}
			for _, param := range found {
				invoke = append(invoke, invocation[P]{p, b, as, param})
			}
		}
	}
	return invoke, wrong
}

// namespaceOf finds the namespace that expressions see; nil for what is in none. Its
// errors are API errors.
func namespaceOf(ctx context.Context, a *admission.Attributes) (*corev1.Namespace, error) {
	namespaces := schema.GroupResource{Resource: "namespaces"}
	if a.Namespace == "" || a.Resource.GroupResource() == namespaces {
		return nil, nil
	}
	obj, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	if err != nil {
		return nil, err
	}
	ns, _ := obj.(*corev1.Namespace)
	return celexpr.Namespace(ns), nil
}

// input is what the expressions of an invocation see; object is the object as it is
// now.
func (c Config) input(a *admission.Attributes, as admission.Served, param, object, old runtime.Object) celexpr.Input {
	return celexpr.Input{
		Object: object, Old: old, Request: celexpr.Request(a, as), Params: param,
		Authorizer: c.Authorizer, User: a.User, Resource: celexpr.Checked{Attributes: a},
	}
}

// conditions says whether the match conditions of a policy hold. They do not see the
// namespace.
func conditions(ctx context.Context, compiler *celexpr.Compiler, conditions *celexpr.Conditions, in celexpr.Input) (bool, error) {
	if conditions.Len() == 0 {
		return true, nil
	}
	in.Namespace = nil
	evaluator, err := compiler.Evaluate(ctx, in)
	if err != nil {
		return false, err
	}
	return conditions.Match(evaluator)
}

// exempt says that no policy is asked.
func exempt(a *admission.Attributes) bool { return match.ExemptFromPolicies(a) }
