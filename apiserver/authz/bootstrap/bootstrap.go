// Package bootstrap holds the roles and bindings that every cluster has from its
// start, those of Kubernetes' default RBAC policy, and puts them in place: what
// users are given ("admin", "edit", "view"), what the components do, and what each
// controller does under a service account of its own.
//
// Objects are reconciled as upstream's are: what is missing is added, what somebody
// added stays, a binding that leads to another role is made anew, and an object whose
// annotation rbac.authorization.kubernetes.io/autoupdate is "false" is left alone.
package bootstrap

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"golang.org/x/sync/errgroup"

	"github.com/strake-io/strake/apiserver/authz/rbac"
)

// parallel is how many objects are written at a time: enough to share the store's
// commits.
const parallel = 64

// attempts bounds how often an object that others write too is tried.
const attempts = 5

// Reconcile writes what is missing. The client's user is past the checks of
// escalation (a member of system:masters). Namespaces of roles must exist.
func Reconcile(ctx context.Context, client kubernetes.Interface) error {
	api := client.RbacV1()
	everywhere := metav1.ListOptions{}
	roles, err := api.ClusterRoles().List(ctx, everywhere)
	if err != nil {
		return fmt.Errorf("default cluster roles: %w", err)
	}
	bindings, err := api.ClusterRoleBindings().List(ctx, everywhere)
	if err != nil {
		return fmt.Errorf("default cluster role bindings: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	have := byName(roles.Items, func(r *rbacv1.ClusterRole) string { return r.Name })
	for _, want := range ClusterRoles() {
		group.Go(func() error {
			return reconcile(ctx, api.ClusterRoles(), want.Name, have[want.Name], want, mergeClusterRole)
		})
	}
	bound := byName(bindings.Items, func(b *rbacv1.ClusterRoleBinding) string { return b.Name })
	for _, want := range ClusterRoleBindings() {
		group.Go(func() error {
			return reconcile(ctx, api.ClusterRoleBindings(), want.Name, bound[want.Name], want, mergeClusterRoleBinding)
		})
	}
	// Those of namespaces are few: they are read one by one.
	for _, want := range Roles() {
		group.Go(func() error {
			return reconcile(ctx, api.Roles(want.Namespace), want.Name, nil, want, mergeRole)
		})
	}
	for _, want := range RoleBindings() {
		group.Go(func() error {
			return reconcile(ctx, api.RoleBindings(want.Namespace), want.Name, nil, want, mergeRoleBinding)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("default roles and bindings: %w", err)
	}
	return nil
}

func byName[T any](items []T, name func(*T) string) map[string]*T {
	out := make(map[string]*T, len(items))
	for i := range items {
		out[name(&items[i])] = &items[i]
	}
	return out
}

// objects is what of a typed client is needed.
type objects[T any] interface {
	Get(context.Context, string, metav1.GetOptions) (*T, error)
	Create(context.Context, *T, metav1.CreateOptions) (*T, error)
	Update(context.Context, *T, metav1.UpdateOptions) (*T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// action is what a merge says must happen.
type action int

const (
	keep action = iota
	amend
	replace
)

// reconcile makes one object be there and hold what it must; current may be nil,
// which says nothing.
func reconcile[T any](ctx context.Context, client objects[T], name string, current, want *T, merge func(current, want *T) (*T, action)) (err error) {
	for range attempts {
		if current == nil {
			_, err = client.Create(ctx, want, metav1.CreateOptions{})
			if !apierrors.IsAlreadyExists(err) {
				return err
			}
		} else {
			merged, what := merge(current, want)
			switch what {
			case keep:
				return nil
			case amend:
				_, err = client.Update(ctx, merged, metav1.UpdateOptions{})
				if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
					return err
				}
			case replace:
				// What somebody made meanwhile is looked at again, as it then is.
				if err = client.Delete(ctx, name, metav1.DeleteOptions{}); err == nil || apierrors.IsNotFound(err) {
					if _, err = client.Create(ctx, want, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
						return err
					}
				}
			}
		}
		found, getErr := client.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(getErr):
			current = nil
		case getErr != nil:
			return getErr
		default:
			current = found
		}
	}
	return err
}

// protected objects are their owner's business.
func protected(m metav1.ObjectMeta) bool {
	return m.Annotations[rbacv1.AutoUpdateAnnotationKey] == "false"
}

// mergeMeta adds labels and annotations that are not there; those that are keep
// the values that they have.
func mergeMeta(m *metav1.ObjectMeta, want metav1.ObjectMeta) (changed bool) {
	add := func(to *map[string]string, from map[string]string) {
		for key, value := range from {
			if _, ok := (*to)[key]; ok {
				continue
			}
			if *to == nil {
				*to = map[string]string{}
			}
			(*to)[key], changed = value, true
		}
	}
	add(&m.Labels, want.Labels)
	add(&m.Annotations, want.Annotations)
	return changed
}

func mergeRules(rules *[]rbacv1.PolicyRule, want []rbacv1.PolicyRule) bool {
	missing := rbac.Missing(*rules, want)
	*rules = append(*rules, missing...)
	return len(missing) > 0
}

func mergeSubjects(subjects *[]rbacv1.Subject, want []rbacv1.Subject) (changed bool) {
	for _, s := range want {
		if !slices.Contains(*subjects, s) {
			*subjects, changed = append(*subjects, s), true
		}
	}
	return changed
}

func mergeClusterRole(current, want *rbacv1.ClusterRole) (*rbacv1.ClusterRole, action) {
	if protected(current.ObjectMeta) {
		return nil, keep
	}
	out := current.DeepCopy()
	changed := mergeMeta(&out.ObjectMeta, want.ObjectMeta)
	changed = mergeRules(&out.Rules, want.Rules) || changed
	changed = mergeAggregation(out, want.AggregationRule) || changed
	return out, amendIf(changed)
}

// mergeAggregation: a role that is not collected by default is none that collects.
func mergeAggregation(r *rbacv1.ClusterRole, want *rbacv1.AggregationRule) (changed bool) {
	if want == nil {
		changed = r.AggregationRule != nil
		r.AggregationRule = nil
		return changed
	}
	for _, selector := range want.ClusterRoleSelectors {
		if r.AggregationRule == nil {
			r.AggregationRule = &rbacv1.AggregationRule{}
		}
		same := func(s metav1.LabelSelector) bool { return apiequality.Semantic.DeepEqual(s, selector) }
		if !slices.ContainsFunc(r.AggregationRule.ClusterRoleSelectors, same) {
			r.AggregationRule.ClusterRoleSelectors, changed = append(r.AggregationRule.ClusterRoleSelectors, selector), true
		}
	}
	return changed
}

func mergeRole(current, want *rbacv1.Role) (*rbacv1.Role, action) {
	if protected(current.ObjectMeta) {
		return nil, keep
	}
	out := current.DeepCopy()
	changed := mergeMeta(&out.ObjectMeta, want.ObjectMeta)
	changed = mergeRules(&out.Rules, want.Rules) || changed
	return out, amendIf(changed)
}

func mergeClusterRoleBinding(current, want *rbacv1.ClusterRoleBinding) (*rbacv1.ClusterRoleBinding, action) {
	out := current.DeepCopy()
	return out, mergeBinding(binding{&out.ObjectMeta, out.RoleRef, &out.Subjects}, binding{&want.ObjectMeta, want.RoleRef, &want.Subjects})
}

func mergeRoleBinding(current, want *rbacv1.RoleBinding) (*rbacv1.RoleBinding, action) {
	out := current.DeepCopy()
	return out, mergeBinding(binding{&out.ObjectMeta, out.RoleRef, &out.Subjects}, binding{&want.ObjectMeta, want.RoleRef, &want.Subjects})
}

// binding is what bindings of both kinds have.
type binding struct {
	meta     *metav1.ObjectMeta
	role     rbacv1.RoleRef
	subjects *[]rbacv1.Subject
}

func mergeBinding(out, want binding) action {
	switch {
	case protected(*out.meta):
		return keep
	case out.role != want.role:
		return replace
	}
	changed := mergeMeta(out.meta, *want.meta)
	changed = mergeSubjects(out.subjects, *want.subjects) || changed
	return amendIf(changed)
}

func amendIf(changed bool) action {
	if changed {
		return amend
	}
	return keep
}
