// Package rbac authorises by roles and their bindings, the objects of
// rbac.authorization.k8s.io.
//
// It keeps an index from users and groups to the rules that they were given, made
// anew when a role or a binding changes and the next decision needs it, so that a
// decision is a look-up and a scan of the asker's own rules. Until [Authorizer.Follow]
// has been called and the informers have synced it has no opinion.
package rbac

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
)

// Authorizer is an authorizer.UnconditionalAuthorizer and an authorizer.RuleResolver. All
// methods are safe for concurrent use.
type Authorizer struct {
	listers atomic.Pointer[listers]
	index   atomic.Pointer[index]
	// changes counts what the informers have told; an index is of one count.
	changes atomic.Int64
	build   sync.Mutex // one builds the index at a time
}

type listers struct {
	roles               rbaclisters.RoleLister
	clusterRoles        rbaclisters.ClusterRoleLister
	roleBindings        rbaclisters.RoleBindingLister
	clusterRoleBindings rbaclisters.ClusterRoleBindingLister
}

// New makes an authoriser that knows no roles yet.
func New() *Authorizer { return &Authorizer{} }

// Follow reads roles and bindings from now on. The informers are the caller's to
// start; each of the channels is closed when one kind has been read.
func (r *Authorizer) Follow(factory informers.SharedInformerFactory) (synced []<-chan struct{}, err error) {
	group := factory.Rbac().V1()
	r.listers.Store(&listers{
		roles: group.Roles().Lister(), clusterRoles: group.ClusterRoles().Lister(),
		roleBindings: group.RoleBindings().Lister(), clusterRoleBindings: group.ClusterRoleBindings().Lister(),
	})
	stale := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { r.changes.Add(1) },
		UpdateFunc: func(_, _ any) { r.changes.Add(1) },
		DeleteFunc: func(any) { r.changes.Add(1) },
	}
	for _, informer := range []cache.SharedIndexInformer{
		group.Roles().Informer(), group.ClusterRoles().Informer(), group.RoleBindings().Informer(), group.ClusterRoleBindings().Informer(),
	} {
		handle, err := informer.AddEventHandler(stale)
		if err != nil {
			return nil, fmt.Errorf("rbac: %w", err)
		}
		synced = append(synced, handle.HasSyncedChecker().Done())
	}
	return synced, nil
}

// grant is what one binding gives.
type grant struct {
	rules []rbacv1.PolicyRule
	// missing says that it leads nowhere.
	missing error
	// why is what an audit log is told; it is made when it is needed.
	binding, namespace, kind, role string
}

func (g *grant) why(who string) string {
	if g.namespace == "" {
		return fmt.Sprintf("RBAC: allowed by ClusterRoleBinding %q of ClusterRole %q to %s", g.binding, g.role, who)
	}
	return fmt.Sprintf("RBAC: allowed by RoleBinding %q of %s %q to %s", g.binding+"/"+g.namespace, g.kind, g.role, who)
}

// grants are those of users and groups, by name.
type grants struct{ users, groups map[string][]grant }

func (g *grants) add(subject rbacv1.Subject, namespace string, what grant) {
	switch subject.Kind {
	case rbacv1.UserKind:
		g.users[subject.Name] = append(g.users[subject.Name], what)
	case rbacv1.GroupKind:
		g.groups[subject.Name] = append(g.groups[subject.Name], what)
	case rbacv1.ServiceAccountKind:
		if subject.Namespace != "" {
			namespace = subject.Namespace
		}
		if namespace == "" {
			return
		}
		name := serviceaccount.MakeUsername(namespace, subject.Name)
		g.users[name] = append(g.users[name], what)
	}
}

func newGrants() *grants { return &grants{users: map[string][]grant{}, groups: map[string][]grant{}} }

// index is immutable.
type index struct {
	changes    int64
	cluster    *grants
	namespaces map[string]*grants
}

// current is the index of what the informers know.
func (r *Authorizer) current() *index {
	if i := r.index.Load(); i != nil && i.changes == r.changes.Load() {
		return i
	}
	l := r.listers.Load()
	if l == nil {
		return nil
	}
	r.build.Lock()
	defer r.build.Unlock()
	changes := r.changes.Load() // before what is read, so that later changes count
	if i := r.index.Load(); i != nil && i.changes == changes {
		return i
	}
	made := makeIndex(l)
	made.changes = changes
	r.index.Store(made)
	return made
}

func makeIndex(l *listers) *index {
	out := &index{cluster: newGrants(), namespaces: map[string]*grants{}}
	all := labels.Everything()
	// Listers fail on nothing: they read memory.
	clusterBindings, _ := l.clusterRoleBindings.List(all)
	for _, b := range clusterBindings {
		rules, err := roleRules(l, b.RoleRef, "")
		for _, s := range b.Subjects {
			out.cluster.add(s, "", grant{rules: rules, missing: err, binding: b.Name, kind: b.RoleRef.Kind, role: b.RoleRef.Name})
		}
	}
	bindings, _ := l.roleBindings.List(all)
	for _, b := range bindings {
		rules, err := roleRules(l, b.RoleRef, b.Namespace)
		in := out.namespaces[b.Namespace]
		if in == nil {
			in = newGrants()
			out.namespaces[b.Namespace] = in
		}
		for _, s := range b.Subjects {
			in.add(s, b.Namespace, grant{rules: rules, missing: err, binding: b.Name, namespace: b.Namespace, kind: b.RoleRef.Kind, role: b.RoleRef.Name})
		}
	}
	return out
}

// roleRules are those of the role that a binding names; its errors are upstream's.
func roleRules(l *listers, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "ClusterRole":
		role, err := l.clusterRoles.Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	case "Role":
		role, err := l.roles.Roles(namespace).Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// each calls visit with every grant that counts for a user in a namespace ("" is
// the cluster alone), until it returns false.
func (i *index) each(who user.Info, namespace string, visit func(g *grant, subject, name string) bool) {
	scopes := [2]*grants{i.cluster}
	if namespace != "" {
		scopes[1] = i.namespaces[namespace]
	}
	for _, scope := range scopes {
		if scope == nil {
			continue
		}
		for k := range scope.users[who.GetName()] {
			if !visit(&scope.users[who.GetName()][k], "User", who.GetName()) {
				return
			}
		}
		for _, group := range who.GetGroups() {
			for k := range scope.groups[group] {
				if !visit(&scope.groups[group][k], "Group", group) {
					return
				}
			}
		}
	}
}

// Authorize implements authorizer.UnconditionalAuthorizer. It allows or has no opinion.
func (r *Authorizer) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	i := r.current()
	if i == nil || a.GetUser() == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	reason := ""
	var missing []error
	i.each(a.GetUser(), a.GetNamespace(), func(g *grant, subject, name string) bool {
		if g.missing != nil {
			missing = append(missing, g.missing)
		} else if Allows(g.rules, a) {
			reason = g.why(fmt.Sprintf("%s %q", subject, name))
			return false
		}
		return true
	})
	if reason != "" {
		return authorizer.DecisionAllow, reason, nil
	}
	if len(missing) > 0 {
		reason = fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(missing))
	}
	return authorizer.DecisionNoOpinion, reason, nil
}

// Rules are all that a user may do in a namespace.
func (r *Authorizer) Rules(who user.Info, namespace string) []rbacv1.PolicyRule {
	rules, _ := r.held(who, namespace)
	return rules
}

// held tells also which roles are missing.
func (r *Authorizer) held(who user.Info, namespace string) (rules []rbacv1.PolicyRule, missing []error) {
	i := r.current()
	if i == nil {
		return nil, nil
	}
	i.each(who, namespace, func(g *grant, _, _ string) bool {
		if g.missing != nil {
			missing = append(missing, g.missing)
		}
		rules = append(rules, g.rules...)
		return true
	})
	return rules, missing
}

// RoleRules are those of the role that a binding in a namespace names; false where
// there is no such role.
func (r *Authorizer) RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, bool) {
	l := r.listers.Load()
	if l == nil {
		return nil, false
	}
	rules, err := roleRules(l, ref, namespace)
	return rules, err == nil
}

// RulesFor implements authorizer.RuleResolver.
func (r *Authorizer) RulesFor(_ context.Context, who user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var others []authorizer.NonResourceRuleInfo
	rules, missing := r.held(who, namespace)
	for _, rule := range rules {
		if len(rule.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{
				Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
			})
		}
		if len(rule.NonResourceURLs) > 0 {
			others = append(others, &authorizer.DefaultNonResourceRuleInfo{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
		}
	}
	return resources, others, false, utilerrors.NewAggregate(missing)
}
