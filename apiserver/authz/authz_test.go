package authz

import (
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func TestAuthorize(t *testing.T) {
	who := func(name string, groups ...string) user.Info {
		return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
	}
	anonymous := &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}
	admin, alice := who("root", user.SystemPrivilegedGroup), who("alice")
	node, scheduler := who("system:node:n1", user.NodesGroup), who(user.KubeScheduler)
	path := func(p string) authorizer.AttributesRecord { return authorizer.AttributesRecord{Verb: "get", Path: p} }
	on := func(verb, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{ResourceRequest: true, Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Name: name}
	}
	for _, test := range []struct {
		user  user.Info
		a     authorizer.AttributesRecord
		allow bool
	}{
		{anonymous, path("/healthz"), true},
		{anonymous, path("/readyz/store"), true},
		{anonymous, path("/version"), true},
		{anonymous, path("/healthzz"), false},
		{anonymous, path("/api"), false},
		{anonymous, path("/metrics"), false},
		{anonymous, on("list", "", "pods", "", ""), false},
		{alice, path("/openapi/v3"), true},
		{alice, path("/metrics"), false},
		{alice, on("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", ""), true},
		{alice, on("create", "authorization.k8s.io", "subjectaccessreviews", "", ""), false},
		{alice, on("get", "", "secrets", "", "x"), false},
		{admin, on("delete", "", "nodes", "", "x"), true},
		{admin, path("/metrics"), true},
		{scheduler, on("create", "", "pods", "binding", "p"), true},
		{node, on("update", "", "pods", "status", "p"), true},
		{node, on("update", "", "pods", "", "p"), false},
		{node, on("patch", "", "nodes", "status", "n1"), true},
		{node, on("patch", "", "nodes", "status", "n2"), false},
		{node, on("update", "coordination.k8s.io", "leases", "", "n1"), true},
		{node, on("update", "coordination.k8s.io", "leases", "", "kube-scheduler"), false},
		{who(SharedNode, user.NodesGroup), on("patch", "", "nodes", "status", "n2"), true},
		{who(SharedNode, user.NodesGroup), on("update", "coordination.k8s.io", "leases", "", "kube-scheduler"), false},
		{node, on("create", "", "pods", "binding", "p"), false},
		{node, on("impersonate", "", "users", "", "root"), false},
		{who("system:node:n1"), on("get", "", "secrets", "", "x"), false},
	} {
		test.a.User = test.user
		decision, _, err := New().Authorize(t.Context(), test.a)
		if err != nil || (decision == authorizer.DecisionAllow) != test.allow {
			t.Errorf("%s: %+v: %v, want allow %v", test.user.GetName(), test.a, decision, test.allow)
		}
	}
}
