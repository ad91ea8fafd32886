// Package clusterroleaggregation collects, into each cluster role that asks for it,
// the rules of the cluster roles that its selectors choose.
package clusterroleaggregation

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"

	"github.com/strake-io/strake/controllers"
)

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "clusterrole-aggregation", Workers: 1, Setup: setup}
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	informer := env.Informers.Rbac().V1().ClusterRoles()
	roles := informer.Lister()
	return controllers.Controller{
		Watches: []controllers.Watch{{Informer: informer.Informer(), Object: &rbacv1.ClusterRole{}, Keys: func(controllers.Change) []controllers.Key {
			// Any role may be chosen by any of those that collect, which are few.
			all, err := roles.List(labels.Everything())
			if err != nil {
				return nil
			}
			var keys []controllers.Key
			for _, r := range all {
				if r.AggregationRule != nil {
					keys = append(keys, controllers.Key{Name: r.Name})
				}
			}
			return keys
		}}},
		Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) { return reconcile(roles, key) },
	}, nil
}

func reconcile(roles rbaclisters.ClusterRoleLister, key controllers.Key) (controllers.Plan, error) {
	role, err := roles.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	all, err := roles.List(labels.Everything())
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(role, all)
}

// Reconcile decides what to write. The rules come in the order of the roles' names,
// each once.
func Reconcile(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) (controllers.Plan, error) {
	if role.AggregationRule == nil || role.DeletionTimestamp != nil {
		return controllers.Plan{}, nil
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	rules := []rbacv1.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return controllers.Plan{}, err
		}
		for _, from := range sorted {
			if from.Name == role.Name || !selector.Matches(labels.Set(from.Labels)) {
				continue
			}
			for _, r := range from.Rules {
				if !slices.ContainsFunc(rules, func(have rbacv1.PolicyRule) bool { return apiequality.Semantic.DeepEqual(have, r) }) {
					rules = append(rules, r)
				}
			}
		}
	}
	if apiequality.Semantic.DeepEqual(rules, role.Rules) {
		return controllers.Plan{}, nil
	}
	updated := role.DeepCopy()
	updated.Rules = rules
	return controllers.Do(controllers.Write{Verb: controllers.Update, Object: updated}), nil
}
