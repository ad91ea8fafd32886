package bootstrap

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestReconcile(t *testing.T) {
	ctx := t.Context()
	mine := rbacv1.PolicyRule{APIGroups: []string{"example.com"}, Resources: []string{"ships"}, Verbs: []string{"get"}}
	client := fake.NewClientset(
		// Somebody added a rule, and lost all others.
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "system:basic-user"}, Rules: []rbacv1.PolicyRule{mine}},
		// Somebody does not want this one touched.
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "system:discovery", Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "false"}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "system:basic-user"}, RoleRef: bind("system:basic-user").RoleRef, Subjects: []rbacv1.Subject{user("bob")}},
		// Of a namespace, and leading elsewhere.
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "system:controller:token-cleaner"}, Rules: []rbacv1.PolicyRule{mine}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "system:controller:token-cleaner"}, RoleRef: bind("view").RoleRef},
	)
	if err := Reconcile(ctx, client); err != nil {
		t.Fatal(err)
	}
	roles := client.RbacV1().ClusterRoles()
	basic, err := roles.Get(ctx, "system:basic-user", metav1.GetOptions{})
	if err != nil || len(basic.Rules) < 3 || basic.Rules[0].Resources[0] != "ships" {
		t.Errorf("%v, %v", basic, err)
	}
	if discovery, err := roles.Get(ctx, "system:discovery", metav1.GetOptions{}); err != nil || len(discovery.Rules) != 0 {
		t.Errorf("%v, %v", discovery, err)
	}
	binding, err := client.RbacV1().ClusterRoleBindings().Get(ctx, "system:basic-user", metav1.GetOptions{})
	if err != nil || len(binding.Subjects) != 2 {
		t.Errorf("%v, %v", binding, err)
	}
	role, err := client.RbacV1().Roles("kube-system").Get(ctx, "system:controller:token-cleaner", metav1.GetOptions{})
	if err != nil || len(role.Rules) < 5 || role.Labels["kubernetes.io/bootstrapping"] != "rbac-defaults" {
		t.Errorf("%v, %v", role, err)
	}
	inside, err := client.RbacV1().RoleBindings("kube-system").Get(ctx, "system:controller:token-cleaner", metav1.GetOptions{})
	if err != nil || inside.RoleRef.Kind != "Role" || len(inside.Subjects) != 1 {
		t.Errorf("%v, %v", inside, err)
	}
	list, err := roles.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != len(ClusterRoles()) {
		t.Errorf("%d cluster roles, want %d: %v", len(list.Items), len(ClusterRoles()), err)
	}

	// Once more, nothing is left to do.
	client.ClearActions()
	if err := Reconcile(ctx, client); err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions() {
		if verb := a.GetVerb(); verb != "list" && verb != "get" && !(verb == "create" && a.GetNamespace() != "") {
			t.Errorf("%s of %s again", verb, a.GetResource().Resource)
		}
	}
}

// Names are unique, and every default binding leads to a default role.
func TestPolicy(t *testing.T) {
	roles := map[string]bool{}
	for _, r := range ClusterRoles() {
		if roles[r.Name] {
			t.Errorf("two cluster roles %s", r.Name)
		}
		roles[r.Name] = true
		for _, rule := range r.Rules {
			if len(rule.Verbs) == 0 || len(rule.NonResourceURLs) == 0 && (len(rule.APIGroups) == 0 || len(rule.Resources) == 0) {
				t.Errorf("%s has the rule %v", r.Name, rule)
			}
		}
	}
	for _, b := range ClusterRoleBindings() {
		if !roles[b.RoleRef.Name] {
			t.Errorf("no cluster role %s", b.RoleRef.Name)
		}
	}
}
