package authz

import (
	"context"
	"strings"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Named says in its reasons for having no opinion whose they are.
func Named(name string, of authorizer.UnconditionalAuthorizer) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		decision, reason, err := of.Authorize(ctx, a)
		if decision == authorizer.DecisionNoOpinion && reason != "" {
			reason = name + ": " + reason
		}
		return decision, reason, err
	})
}

// Chain asks each authoriser until one allows or denies.
func Chain(authorizers ...authorizer.Authorizer) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		var reasons []string
		var failure error
		for _, next := range authorizers {
			decision, reason, err := next.Authorize(ctx, a)
			if decision != authorizer.DecisionNoOpinion {
				return decision, reason, err
			}
			if err != nil {
				failure = err
			}
			if reason != "" {
				reasons = append(reasons, reason)
			}
		}
		return authorizer.DecisionNoOpinion, strings.Join(reasons, "\n"), failure
	})
}

// Resolvers lists what all of them list.
func Resolvers(all ...authorizer.RuleResolver) authorizer.RuleResolver { return resolvers(all) }

type resolvers []authorizer.RuleResolver

// RulesFor implements authorizer.RuleResolver. The list is not complete where one of
// them says so.
func (r resolvers) RulesFor(ctx context.Context, who user.Info, namespace string) (resources []authorizer.ResourceRuleInfo, others []authorizer.NonResourceRuleInfo, incomplete bool, err error) {
	var errs []error
	for _, one := range r {
		more, paths, partial, err := one.RulesFor(ctx, who, namespace)
		resources, others, incomplete = append(resources, more...), append(others, paths...), incomplete || partial
		if err != nil {
			errs = append(errs, err)
		}
	}
	return resources, others, incomplete, utilerrors.NewAggregate(errs)
}
