// Package bootstrap holds the roles and bindings that every cluster has from its
// start, those of Kubernetes' default RBAC policy, and puts them in place: what
// users are given ("admin", "edit", "view"), what the components do, and what each
// controller does under a service account of its own.
//
// Objects are reconciled as upstream's are: what is missing is added, what somebody
// added stays, and an object whose annotation rbac.authorization.kubernetes.io/autoupdate
// is "false" is left alone.
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

// Reconcile writes what is missing. The client's user is past the checks of
// escalation (a member of system:masters). Namespaces of roles must exist.
func Reconcile(ctx context.Context, client kubernetes.Interface) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	api := client.RbacV1()

	roles, err := api.ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("default cluster roles: %w", err)
	}
	have := map[string]*rbacv1.ClusterRole{}
	for i := range roles.Items {
		have[roles.Items[i].Name] = &roles.Items[i]
	}
	for _, want := range ClusterRoles() {
		group.Go(func() error {
			current := have[want.Name]
			if current == nil {
				_, err := api.ClusterRoles().Create(ctx, want, metav1.CreateOptions{})
				return ignoring(err, apierrors.IsAlreadyExists)
			}
			if updated, changed := mergeClusterRole(current, want); changed {
				_, err := api.ClusterRoles().Update(ctx, updated, metav1.UpdateOptions{})
				return ignoring(err, apierrors.IsConflict)
			}
			return nil
		})
	}

	bindings, err := api.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("default cluster role bindings: %w", err)
	}
	bound := map[string]*rbacv1.ClusterRoleBinding{}
	for i := range bindings.Items {
		bound[bindings.Items[i].Name] = &bindings.Items[i]
	}
	for _, want := range ClusterRoleBindings() {
		group.Go(func() error {
			current := bound[want.Name]
			if current == nil {
				_, err := api.ClusterRoleBindings().Create(ctx, want, metav1.CreateOptions{})
				return ignoring(err, apierrors.IsAlreadyExists)
			}
			subjects, changed := mergeSubjects(current.ObjectMeta, current.Subjects, want.Subjects)
			if !changed || current.RoleRef != want.RoleRef {
				return nil
			}
			updated := current.DeepCopy()
			updated.Subjects = subjects
			_, err := api.ClusterRoleBindings().Update(ctx, updated, metav1.UpdateOptions{})
			return ignoring(err, apierrors.IsConflict)
		})
	}

	// Those of namespaces are few: they are made where they are missing.
	for _, want := range Roles() {
		group.Go(func() error {
			_, err := api.Roles(want.Namespace).Create(ctx, want, metav1.CreateOptions{})
			return ignoring(err, apierrors.IsAlreadyExists)
		})
	}
	for _, want := range RoleBindings() {
		group.Go(func() error {
			_, err := api.RoleBindings(want.Namespace).Create(ctx, want, metav1.CreateOptions{})
			return ignoring(err, apierrors.IsAlreadyExists)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("default roles and bindings: %w", err)
	}
	return nil
}

func ignoring(err error, is func(error) bool) error {
	if err != nil && is(err) {
		return nil
	}
	return err
}

// protected objects are their owner's business.
func protected(m metav1.ObjectMeta) bool {
	return m.Annotations[rbacv1.AutoUpdateAnnotationKey] == "false"
}

// mergeClusterRole adds to a role what it lacks of the default one.
func mergeClusterRole(current, want *rbacv1.ClusterRole) (*rbacv1.ClusterRole, bool) {
	if protected(current.ObjectMeta) {
		return nil, false
	}
	out, changed := current.DeepCopy(), false
	for key, value := range want.Labels {
		if out.Labels[key] != value {
			if out.Labels == nil {
				out.Labels = map[string]string{}
			}
			out.Labels[key] = value
			changed = true
		}
	}
	if want.AggregationRule != nil {
		// Its rules are collected by a controller.
		if !apiequality.Semantic.DeepEqual(out.AggregationRule, want.AggregationRule) && out.AggregationRule == nil {
			out.AggregationRule, changed = want.AggregationRule, true
		}
		return out, changed
	}
	if missing := rbac.Missing(out.Rules, want.Rules); len(missing) > 0 {
		out.Rules = append(out.Rules, missing...)
		changed = true
	}
	return out, changed
}

func mergeSubjects(m metav1.ObjectMeta, current, want []rbacv1.Subject) ([]rbacv1.Subject, bool) {
	if protected(m) {
		return nil, false
	}
	out, changed := slices.Clone(current), false
	for _, s := range want {
		if !slices.Contains(out, s) {
			out, changed = append(out, s), true
		}
	}
	return out, changed
}
