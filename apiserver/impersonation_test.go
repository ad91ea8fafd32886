package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver"
)

// asked is what an authoriser is asked, in a line: "verb resource/sub.group ns/name".
func asked(a authorizer.Attributes) string {
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	if a.GetAPIGroup() != "" {
		resource += "." + a.GetAPIGroup()
	}
	name := a.GetName()
	if a.GetNamespace() != "" {
		name = a.GetNamespace() + "/" + name
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", a.GetVerb(), resource, name))
}

// Each mode of impersonation lets through what it is for (KEP-5284).
func TestConstrainedImpersonation(t *testing.T) {
	const (
		in   = "authentication.k8s.io"
		list = "list pods default/"
	)
	agent := &user.DefaultInfo{Name: "system:serviceaccount:kube-system:agent", Extra: map[string][]string{serviceaccount.NodeNameKey: {"n1"}}}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}
	for name, test := range map[string]struct {
		who     user.Info
		may     []string
		headers []string
		as      string // who it is served as; "": it is refused
		why     string
	}{
		"user": {alice, []string{"impersonate-on:user-info:" + list, "impersonate:user-info users." + in + " bob"}, []string{"Impersonate-User", "bob"},
			"bob [system:authenticated] map[]", ""},
		"user, another request": {alice, []string{"impersonate-on:user-info:get pods default/p", "impersonate:user-info users." + in + " bob"}, []string{"Impersonate-User", "bob"},
			"", `User "alice" cannot impersonate-on:user-info:list resource "pods"`},
		"user, not this one": {alice, []string{"impersonate-on:user-info:" + list}, []string{"Impersonate-User", "bob"},
			"", `User "alice" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io"`},
		"all of a user": {alice, []string{"impersonate-on:user-info:" + list, "impersonate:user-info users." + in + " bob", "impersonate:user-info groups." + in + " g",
			"impersonate:user-info uids." + in + " 7", "impersonate:user-info userextras/ex.com/k." + in + " v"},
			[]string{"Impersonate-User", "bob", "Impersonate-Group", "g", "Impersonate-Uid", "7", "Impersonate-Extra-Ex.com%2fk", "v"},
			"bob [g system:authenticated] map[ex.com/k:[v]]", ""},
		"administrators": {alice, []string{"impersonate-on:user-info:" + list, "impersonate:user-info users." + in + " bob", "impersonate:user-info groups." + in + " system:masters"},
			[]string{"Impersonate-User", "bob", "Impersonate-Group", "system:masters"}, "", "impersonating the system:masters group is not allowed"},
		"a key without a domain": {alice, []string{"impersonate-on:user-info:" + list, "impersonate:user-info users." + in + " bob", "impersonate:user-info userextras/k." + in + " v"},
			[]string{"Impersonate-User", "bob", "Impersonate-Extra-K", "v"}, "", "impersonating an invalid key in extra is not allowed"},
		"service account": {alice, []string{"impersonate-on:serviceaccount:" + list, "impersonate:serviceaccount serviceaccounts." + in + " ns/a"},
			[]string{"Impersonate-User", "system:serviceaccount:ns:a"}, "system:serviceaccount:ns:a [system:serviceaccounts system:serviceaccounts:ns system:authenticated] map[]", ""},
		"service account as user": {alice, []string{"impersonate-on:user-info:" + list, "impersonate:user-info users." + in + " system:serviceaccount:ns:a"},
			[]string{"Impersonate-User", "system:serviceaccount:ns:a"}, "", "impersonate-on:serviceaccount:list"},
		"node": {alice, []string{"impersonate-on:arbitrary-node:" + list, "impersonate:arbitrary-node nodes." + in + " n1"},
			[]string{"Impersonate-User", "system:node:n1"}, "system:node:n1 [system:nodes system:authenticated] map[]", ""},
		"own node": {agent, []string{"impersonate-on:associated-node:" + list, "impersonate:associated-node nodes." + in + " *"},
			[]string{"Impersonate-User", "system:node:n1"}, "system:node:n1 [system:nodes system:authenticated] map[]", ""},
		"another's node": {agent, []string{"impersonate-on:associated-node:" + list, "impersonate:associated-node nodes." + in + " *"},
			[]string{"Impersonate-User", "system:node:n2"}, "", "impersonate-on:arbitrary-node:list"},
		"the old way": {alice, []string{"impersonate users bob", "impersonate groups system:masters"},
			[]string{"Impersonate-User", "bob", "Impersonate-Group", "system:masters"}, "bob [system:masters system:authenticated] map[]", ""},
		"nobody":  {alice, []string{"impersonate users system:anonymous"}, []string{"Impersonate-User", "system:anonymous"}, "system:anonymous [system:unauthenticated] map[]", ""},
		"no user": {alice, nil, []string{"Impersonate-Group", "g"}, "", "without impersonating a user name"},
		"nothing": {alice, nil, nil, "alice [system:authenticated] map[]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var as string
			may := func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
				if strings.HasPrefix(a.GetVerb(), "impersonate") {
					if slices.Contains(test.may, asked(a)) {
						return authorizer.DecisionAllow, "", nil
					}
					return authorizer.DecisionNoOpinion, "", nil
				}
				who := a.GetUser()
				as = fmt.Sprint(who.GetName(), " ", who.GetGroups(), " ", who.GetExtra())
				return authorizer.DecisionAllow, "", nil
			}
			s := start(t, func(c *apiserver.Config) { c.Authorizer = authorizer.AuthorizerFunc(may) })
			as = ""
			code, _, body := doAs(t, s, test.who, http.MethodGet, "/api/v1/namespaces/default/pods", "", test.headers...)
			if as != test.as || (code == http.StatusOK) != (test.as != "") || !strings.Contains(strings.ReplaceAll(string(body), `\"`, `"`), test.why) {
				t.Errorf("as %q, want %q: %d %s", as, test.as, code, body)
			}
		})
	}
}
