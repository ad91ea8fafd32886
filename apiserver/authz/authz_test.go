package authz

import (
	"context"
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
		{scheduler, on("create", "", "pods", "binding", "p"), false},
		{Part(scheduler), on("create", "", "pods", "binding", "p"), true},
		{who(user.APIServerUser), on("delete", "", "nodes", "", "x"), true},
		{who("system:strake"), on("delete", "", "nodes", "", "x"), true},
		{&user.DefaultInfo{Name: "system:strake"}, on("delete", "", "nodes", "", "x"), false},
		{node, on("impersonate", "", "users", "", "root"), false},
	} {
		test.a.User = test.user
		decision, _, err := New().Authorize(t.Context(), test.a)
		if err != nil || (decision == authorizer.DecisionAllow) != test.allow {
			t.Errorf("%s: %+v: %v, want allow %v", test.user.GetName(), test.a, decision, test.allow)
		}
	}
}

func TestComponents(t *testing.T) {
	all := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	})
	for name, want := range map[string]authorizer.Decision{user.KubeProxy: authorizer.DecisionAllow, "alice": authorizer.DecisionNoOpinion} {
		a := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: name}}
		if got, _, err := Components(all).Authorize(t.Context(), a); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
