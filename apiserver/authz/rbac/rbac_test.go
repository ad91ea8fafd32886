package rbac

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func rule(groups, resources, verbs []string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: groups, Resources: resources, Verbs: verbs, ResourceNames: names}
}

func TestAllows(t *testing.T) {
	core, all := []string{""}, []string{"*"}
	get := []string{"get"}
	for _, test := range []struct {
		rule rbacv1.PolicyRule
		ask  authorizer.AttributesRecord
		want bool
	}{
		{rule(core, []string{"pods"}, get), authorizer.AttributesRecord{Verb: "get", Resource: "pods"}, true},
		{rule(core, []string{"pods"}, get), authorizer.AttributesRecord{Verb: "list", Resource: "pods"}, false},
		{rule(core, []string{"pods"}, get), authorizer.AttributesRecord{Verb: "get", APIGroup: "apps", Resource: "pods"}, false},
		{rule(core, []string{"pods"}, get), authorizer.AttributesRecord{Verb: "get", Resource: "pods", Subresource: "log"}, false},
		{rule(core, []string{"pods/log"}, get), authorizer.AttributesRecord{Verb: "get", Resource: "pods", Subresource: "log"}, true},
		{rule(core, []string{"*/log"}, get), authorizer.AttributesRecord{Verb: "get", Resource: "pods", Subresource: "log"}, true},
		{rule(core, []string{"*/log"}, get), authorizer.AttributesRecord{Verb: "get", Resource: "pods"}, false},
		{rule(all, all, all), authorizer.AttributesRecord{Verb: "get", APIGroup: "x", Resource: "y", Subresource: "z"}, true},
		{rule(core, []string{"pods"}, get, "a"), authorizer.AttributesRecord{Verb: "get", Resource: "pods", Name: "a"}, true},
		{rule(core, []string{"pods"}, get, "a"), authorizer.AttributesRecord{Verb: "get", Resource: "pods", Name: "b"}, false},
		{rule(core, []string{"pods"}, get, "a"), authorizer.AttributesRecord{Verb: "get", Resource: "pods"}, false},
	} {
		test.ask.ResourceRequest = true
		if got := Allows([]rbacv1.PolicyRule{test.rule}, test.ask); got != test.want {
			t.Errorf("%v for %+v: %v", test.rule, test.ask, got)
		}
	}
	urls := []rbacv1.PolicyRule{{Verbs: get, NonResourceURLs: []string{"/healthz", "/api/*"}}}
	for path, want := range map[string]bool{"/healthz": true, "/healthz/etcd": false, "/api/v1": true, "/api": false, "/apis": false} {
		if got := Allows(urls, authorizer.AttributesRecord{Verb: "get", Path: path}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestMissing(t *testing.T) {
	core := []string{""}
	held := []rbacv1.PolicyRule{rule(core, []string{"pods", "pods/*"}, []string{"get", "list"}), rule([]string{"apps"}, []string{"*"}, []string{"*"})}
	wanted := []rbacv1.PolicyRule{
		rule(core, []string{"pods"}, []string{"get", "delete"}), rule([]string{"apps"}, []string{"deployments/scale"}, []string{"update"}),
		rule(core, []string{"pods"}, []string{"list"}, "a"), {NonResourceURLs: []string{"/x"}, Verbs: []string{"get"}},
	}
	want := []rbacv1.PolicyRule{rule(core, []string{"pods"}, []string{"delete"}), {NonResourceURLs: []string{"/x"}, Verbs: []string{"get"}}}
	want[0].ResourceNames = nil
	if diff := cmp.Diff(want, Missing(held, wanted)); diff != "" {
		t.Error(diff)
	}
}

// follow makes an authoriser of the objects.
func follow(t testing.TB, objects ...runtime.Object) *Authorizer {
	t.Helper()
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	r := New()
	synced, err := r.Follow(factory)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	factory.StartWithContext(ctx)
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	for _, one := range synced {
		<-one
	}
	return r
}

// world makes random roles and bindings.
func world(r *rand.Rand, bindings int) []runtime.Object {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	namespace := func() string { return pick("a", "b", "c") }
	var out []runtime.Object
	rules := func() []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{rule([]string{pick("", "apps")}, []string{pick("pods", "secrets", "*")}, []string{pick("get", "list", "*")})}
	}
	for i := range 8 {
		out = append(out, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("r%d", i)}, Rules: rules()})
		for _, ns := range []string{"a", "b", "c"} {
			out = append(out, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("r%d", i)}, Rules: rules()})
		}
	}
	subject := func() rbacv1.Subject {
		switch r.IntN(3) {
		case 0:
			return rbacv1.Subject{Kind: "User", Name: pick("u1", "u2", "u3")}
		case 1:
			return rbacv1.Subject{Kind: "Group", Name: pick("g1", "g2")}
		}
		return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace(), Name: pick("s1", "s2")}
	}
	for i := range bindings {
		name := fmt.Sprintf("b%d", i)
		ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: fmt.Sprintf("r%d", r.IntN(10))} // some are not there
		if r.IntN(2) == 0 {
			out = append(out, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: ref, Subjects: []rbacv1.Subject{subject()}})
			continue
		}
		ref.Kind = pick("Role", "ClusterRole")
		out = append(out, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace(), Name: name}, RoleRef: ref, Subjects: []rbacv1.Subject{subject()}})
	}
	return out
}

// slow decides as the documentation says, object by object.
func slow(objects []runtime.Object, a authorizer.AttributesRecord) bool {
	matches := func(subjects []rbacv1.Subject) bool {
		for _, s := range subjects {
			switch s.Kind {
			case "User":
				if s.Name == a.User.GetName() {
					return true
				}
			case "Group":
				for _, g := range a.User.GetGroups() {
					if g == s.Name {
						return true
					}
				}
			case "ServiceAccount":
				if a.User.GetName() == "system:serviceaccount:"+s.Namespace+":"+s.Name {
					return true
				}
			}
		}
		return false
	}
	allowed := func(ref rbacv1.RoleRef, namespace string) bool {
		for _, o := range objects {
			switch o := o.(type) {
			case *rbacv1.ClusterRole:
				if ref.Kind == "ClusterRole" && o.Name == ref.Name {
					return Allows(o.Rules, a)
				}
			case *rbacv1.Role:
				if ref.Kind == "Role" && o.Name == ref.Name && o.Namespace == namespace {
					return Allows(o.Rules, a)
				}
			}
		}
		return false
	}
	for _, o := range objects {
		switch b := o.(type) {
		case *rbacv1.ClusterRoleBinding:
			if matches(b.Subjects) && allowed(b.RoleRef, "") {
				return true
			}
		case *rbacv1.RoleBinding:
			if b.Namespace == a.Namespace && matches(b.Subjects) && allowed(b.RoleRef, b.Namespace) {
				return true
			}
		}
	}
	return false
}

func TestIndexAgainstSlow(t *testing.T) {
	asked, yes := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		objects := world(r, 12)
		fast := follow(t, objects...)
		for _, who := range []user.Info{
			&user.DefaultInfo{Name: "u1"}, &user.DefaultInfo{Name: "u2", Groups: []string{"g1"}}, &user.DefaultInfo{Name: "u9", Groups: []string{"g1", "g2"}},
			&user.DefaultInfo{Name: "system:serviceaccount:a:s1"}, &user.DefaultInfo{Name: "system:serviceaccount:b:s2", Groups: []string{"g2"}},
		} {
			for _, ns := range []string{"", "a", "b"} {
				for _, group := range []string{"", "apps"} {
					for _, resource := range []string{"pods", "secrets", "nodes"} {
						a := authorizer.AttributesRecord{User: who, Verb: "get", Namespace: ns, APIGroup: group, Resource: resource, ResourceRequest: true}
						decision, _, err := fast.Authorize(t.Context(), a)
						if err != nil {
							t.Fatal(err)
						}
						asked++
						want := slow(objects, a)
						if want {
							yes++
						}
						if (decision == authorizer.DecisionAllow) != want {
							t.Fatalf("seed %d: %+v: %v, want %v", seed, a, decision, want)
						}
					}
				}
			}
		}
	}
	t.Logf("%d questions, %d allowed", asked, yes)
}

func BenchmarkAuthorize(b *testing.B) {
	r := follow(b, world(rand.New(rand.NewPCG(1, 1)), 1000)...)
	a := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "nobody", Groups: []string{"none"}}, Verb: "get", Namespace: "a", Resource: "pods", ResourceRequest: true}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Authorize(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}

// A refusal tells of roles that are missing, and so does the list of rules.
func TestRolesThatAreMissing(t *testing.T) {
	subjects := []rbacv1.Subject{{Kind: "User", Name: "u"}}
	r := follow(t,
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "a"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "x"}, Subjects: subjects},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "y"}, Subjects: subjects},
	)
	ask := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "u"}, Namespace: "ns", Verb: "get", Resource: "pods", ResourceRequest: true}
	const cluster, both = `clusterrole.rbac.authorization.k8s.io "x" not found`, `[clusterrole.rbac.authorization.k8s.io "x" not found, role.rbac.authorization.k8s.io "y" not found]`
	if decision, reason, err := r.Authorize(t.Context(), ask); decision != authorizer.DecisionNoOpinion || reason != "RBAC: "+both || err != nil {
		t.Errorf("%v, %s, %v", decision, reason, err)
	}
	ask.Namespace = ""
	if _, reason, _ := r.Authorize(t.Context(), ask); reason != "RBAC: "+cluster {
		t.Error(reason)
	}
	if _, _, incomplete, err := r.RulesFor(t.Context(), ask.User, ""); incomplete || err == nil || err.Error() != cluster {
		t.Errorf("%v, %v", incomplete, err)
	}
}
