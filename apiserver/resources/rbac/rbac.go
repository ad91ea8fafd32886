// Package rbac declares the resources of rbac.authorization.k8s.io/v1: roles and
// their bindings. Nobody may give what they do not have: who writes a role needs
// its rules, or the verb escalate on it, and who writes a binding those of its
// role, or the verb bind.
package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	authzrbac "github.com/strake-io/strake/apiserver/authz/rbac"
	"github.com/strake-io/strake/apiserver/resource"
)

// Config is what the group's resources need to know.
type Config struct {
	// Authorizer is asked for the verbs escalate and bind; nil allows neither.
	Authorizer authorizer.UnconditionalAuthorizer
	// Rules tell what users hold and roles say; nil: nothing and none.
	Rules Rules
}

// Rules are read from the roles and bindings that there are. apiserver/authz/rbac
// implements it.
type Rules interface {
	Rules(who user.Info, namespace string) []rbacv1.PolicyRule
	RoleRules(ref rbacv1.RoleRef, namespace string) (rules []rbacv1.PolicyRule, found bool)
}

// Resources are the group's resources.
func Resources(c Config) []*resource.Resource {
	return []*resource.Resource{clusterRoleBindings(c), clusterRoles(c), roleBindings(c), roles(c)}
}

func gvk(kind string) schema.GroupVersionKind { return rbacv1.SchemeGroupVersion.WithKind(kind) }

// unbound users are past these checks.
func unbound(who user.Info) bool {
	return who == nil || slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup)
}

func (c Config) may(ctx context.Context, req resource.Request, verb, plural, namespace, name string) bool {
	if c.Authorizer == nil {
		return false
	}
	decision, _, err := c.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: req.User, Verb: verb, APIGroup: rbacv1.GroupName, APIVersion: "*", Resource: plural, Namespace: namespace, Name: name, ResourceRequest: true,
	})
	return err == nil && decision == authorizer.DecisionAllow
}

// mayWrite refuses a role with rules that its writer lacks. Every change of a role
// counts, not only one of its rules: its labels may give them to other roles. A role
// that collects the rules of others, or did, may come to hold any, so that its writer
// needs all.
func (c Config) mayWrite(ctx context.Context, req resource.Request, plural, name string, rules []rbacv1.PolicyRule, aggregates bool) error {
	if unbound(req.User) {
		return nil
	}
	if c.may(ctx, req, "escalate", plural, req.Namespace, name) {
		return nil
	}
	if aggregates {
		return c.refuse(req, plural, name, []rbacv1.PolicyRule{
			{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}, {NonResourceURLs: []string{"*"}, Verbs: []string{"*"}},
		}, c.heldBy(req))
	}
	return c.refuse(req, plural, name, rules, c.heldBy(req))
}

// sameButOwners says whether an update leaves all of an object as it is but its
// owners and finalizers, as a garbage collector does, which gives nothing to anybody.
func sameButOwners(obj, old metav1.Object) bool {
	same := obj.(runtime.Object).DeepCopyObject()
	m := same.(metav1.Object)
	m.SetOwnerReferences(old.GetOwnerReferences())
	m.SetFinalizers(old.GetFinalizers())
	m.SetManagedFields(old.GetManagedFields())
	m.SetResourceVersion(old.GetResourceVersion())
	return apiequality.Semantic.DeepEqual(same, old)
}

// mayBind refuses a binding to a role with rules that its writer lacks.
func (c Config) mayBind(ctx context.Context, req resource.Request, plural, name string, ref rbacv1.RoleRef) error {
	if unbound(req.User) {
		return nil
	}
	of := "roles"
	if ref.Kind == "ClusterRole" {
		of = "clusterroles"
	}
	if c.may(ctx, req, "bind", of, req.Namespace, ref.Name) {
		return nil
	}
	var rules []rbacv1.PolicyRule
	found := false
	if c.Rules != nil {
		rules, found = c.Rules.RoleRules(ref, req.Namespace)
	}
	if !found {
		return apierrors.NewNotFound(schema.GroupResource{Group: rbacv1.GroupName, Resource: of}, ref.Name)
	}
	return c.refuse(req, plural, name, rules, c.heldBy(req))
}

func (c Config) heldBy(req resource.Request) []rbacv1.PolicyRule {
	if c.Rules == nil {
		return nil
	}
	return c.Rules.Rules(req.User, req.Namespace)
}

func (c Config) refuse(req resource.Request, plural, name string, wanted, held []rbacv1.PolicyRule) error {
	missing := authzrbac.Missing(held, wanted)
	if len(missing) == 0 {
		return nil
	}
	lines := make([]string, 0, len(missing))
	for _, r := range compact(missing) {
		lines = append(lines, describe(r))
	}
	slices.Sort(lines)
	return apierrors.NewForbidden(schema.GroupResource{Group: rbacv1.GroupName, Resource: plural}, name,
		fmt.Errorf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
			req.User.GetName(), req.User.GetGroups(), strings.Join(lines, "\n")))
}

// compact joins rules that differ in their verb only.
func compact(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, r := range rules {
		i := slices.IndexFunc(out, func(o rbacv1.PolicyRule) bool {
			o.Verbs = r.Verbs
			return apiequality.Semantic.DeepEqual(o, r)
		})
		if i < 0 {
			out = append(out, *r.DeepCopy())
			continue
		}
		out[i].Verbs = append(out[i].Verbs, r.Verbs...)
	}
	return out
}

// describe prints a rule as upstream's message does.
func describe(r rbacv1.PolicyRule) string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%s", name, quoted(values)))
		}
	}
	add("APIGroups", r.APIGroups)
	add("Resources", r.Resources)
	add("NonResourceURLs", r.NonResourceURLs)
	add("ResourceNames", r.ResourceNames)
	add("Verbs", r.Verbs)
	return "{" + strings.Join(parts, ", ") + "}"
}

func quoted(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%q", v)
	}
	return "[" + strings.Join(out, " ") + "]"
}
