package rbac

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/resource"
)

// held are the rules of a user who may write roles and read pods.
type held []rbacv1.PolicyRule

func (h held) Rules(user.Info, string) []rbacv1.PolicyRule { return h }

func (held) RoleRules(rbacv1.RoleRef, string) ([]rbacv1.PolicyRule, bool) { return nil, false }

// Rules of a role count for all who are bound to it and, by its labels and by
// selectors, for those bound to others: who changes any of that must hold them.
func TestUpdatesDoNotEscalate(t *testing.T) {
	rule := func(resource, verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{verb}}
	}
	selects := func(key string) *rbacv1.AggregationRule {
		return &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{key: "true"}}}}
	}
	own, foreign := rule("pods", "get"), rule("secrets", "get")
	refuses := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionNoOpinion, "", nil
	})
	c := Config{Authorizer: refuses, Rules: held{own}}
	for _, test := range []struct {
		name   string
		old    *rbacv1.ClusterRole
		change func(r *rbacv1.ClusterRole)
		allow  bool
	}{
		{"nothing", &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{foreign}}, func(*rbacv1.ClusterRole) {}, true},
		{"owners", &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{foreign}}, func(r *rbacv1.ClusterRole) {
			r.OwnerReferences, r.Finalizers, r.ManagedFields = []metav1.OwnerReference{{Name: "o"}}, []string{"f/g"}, []metav1.ManagedFieldsEntry{{}}
			r.ResourceVersion = ""
		}, true},
		{"owners of a collecting role", &rbacv1.ClusterRole{AggregationRule: selects("a")}, func(r *rbacv1.ClusterRole) { r.Finalizers = []string{"f/g"} }, true},
		{"a label of a role with rules held", &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{own}}, func(r *rbacv1.ClusterRole) { r.Labels = map[string]string{"a": "true"} }, true},
		{"a label of a role with rules not held", &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{foreign}}, func(r *rbacv1.ClusterRole) { r.Labels = map[string]string{"a": "true"} }, false},
		{"a rule held", &rbacv1.ClusterRole{}, func(r *rbacv1.ClusterRole) { r.Rules = []rbacv1.PolicyRule{own} }, true},
		{"a rule not held", &rbacv1.ClusterRole{}, func(r *rbacv1.ClusterRole) { r.Rules = []rbacv1.PolicyRule{foreign} }, false},
		{"a selector begins", &rbacv1.ClusterRole{}, func(r *rbacv1.ClusterRole) { r.AggregationRule = selects("a") }, false},
		{"a selector changes", &rbacv1.ClusterRole{AggregationRule: selects("a")}, func(r *rbacv1.ClusterRole) { r.AggregationRule = selects("b") }, false},
		{"a selector ends", &rbacv1.ClusterRole{AggregationRule: selects("a")}, func(r *rbacv1.ClusterRole) { r.AggregationRule = nil }, false},
	} {
		test.old.Name, test.old.ResourceVersion = "x", "1"
		changed := test.old.DeepCopy()
		test.change(changed)
		err := begin(t, clusterRoles(c), changed, test.old)
		if (err == nil) != test.allow || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want allow %v", test.name, err, test.allow)
		}
	}

	old := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "x"}, Rules: []rbacv1.PolicyRule{foreign}}
	changed := old.DeepCopy()
	changed.Annotations = map[string]string{"a": "b"}
	if err := begin(t, roles(c), changed, old); !apierrors.IsForbidden(err) {
		t.Errorf("a role of a namespace: %v", err)
	}
}

func begin(t *testing.T, r *resource.Resource, obj, old runtime.Object) error {
	t.Helper()
	_, err := r.Begin(t.Context(), resource.Request{User: &user.DefaultInfo{Name: "alice"}, Verb: "update", Name: "x"}, obj, old)
	return err
}
