// Package authz is the built-in authoriser: administrators may do everything, and so
// may the parts of the control plane that run in this process; every user may what a
// client needs to find its way around, and an anonymous one nothing but health and
// version. Nodes are authorised by package node, everybody else by the roles that there
// are, package rbac; [Chain] puts them together.
package authz

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// New makes an authoriser for a server without roles. It allows or has no opinion,
// which the server takes for a refusal. It is safe for concurrent use and does no I/O.
func New() authorizer.Authorizer { return authorizer.AuthorizerFunc(authorize) }

func authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if decision, reason, err := system(ctx, a); decision == authorizer.DecisionAllow {
		return decision, reason, err
	}
	if a.GetUser() == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	authenticated := slices.Contains(a.GetUser().GetGroups(), user.AllAuthenticated)
	if !a.IsResourceRequest() && readOnly(a.GetVerb()) && (public(a.GetPath()) || authenticated && discovery(a.GetPath())) {
		return authorizer.DecisionAllow, "", nil
	}
	if authenticated && selfReview(a) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// System allows everything to administrators (system:masters), to the API server
// itself and to what [Part] made. It has no opinion of anybody else.
func System() authorizer.Authorizer { return authorizer.AuthorizerFunc(system) }

func system(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	who := a.GetUser()
	if who == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if _, own := who.(part); own {
		return authorizer.DecisionAllow, "", nil
	}
	groups := who.GetGroups()
	if slices.Contains(groups, user.SystemPrivilegedGroup) || selves[who.GetName()] && slices.Contains(groups, user.AllAuthenticated) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// selves are the users that the control plane itself goes by.
var selves = map[string]bool{user.APIServerUser: true, "system:strake": true}

// part is a user that no credentials and no impersonation can make.
type part struct{ user.Info }

// Part is who a part of the control plane is that runs in this process: to everybody
// the user that it is given as, but one that may do everything. The controllers of one
// process act as one user, so the roles of a controller manager whose controllers each
// have an account of their own are not enough for it. The same user coming in over the
// network is authorised by his roles alone.
func Part(who user.Info) user.Info { return part{who} }

// Components asks roles, but of those users alone that the parts of a cluster go by
// when they run as processes of their own: for a host whose authoriser knows nothing
// of them.
func Components(roles authorizer.UnconditionalAuthorizer) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser() == nil || !components[a.GetUser().GetName()] {
			return authorizer.DecisionNoOpinion, "", nil
		}
		return roles.Authorize(ctx, a)
	})
}

var components = map[string]bool{
	user.KubeControllerManager:        true,
	user.KubeScheduler:                true,
	user.KubeProxy:                    true,
	"system:cloud-controller-manager": true,
}

func readOnly(verb string) bool { return verb == "get" || verb == "head" || verb == "options" }

func public(path string) bool {
	for _, p := range []string{"/healthz", "/livez", "/readyz"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return path == "/version" || path == "/version/"
}

func discovery(path string) bool {
	for _, p := range []string{"/api", "/apis", "/openapi"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return path == "/"
}

// selfReview: anyone may ask what he himself may do, and who he is.
func selfReview(a authorizer.Attributes) bool {
	if !a.IsResourceRequest() || a.GetVerb() != "create" {
		return false
	}
	switch a.GetAPIGroup() + "/" + a.GetResource() {
	case "authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews",
		"authentication.k8s.io/selfsubjectreviews":
		return true
	}
	return false
}
