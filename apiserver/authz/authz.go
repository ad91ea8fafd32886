// Package authz is the built-in authoriser: administrators may do everything,
// the components of a cluster what their work takes, every user what a client
// needs to find its way around, and an anonymous one nothing but health and
// version. A host that wants more brings its own authorizer.Authorizer, or
// chains one behind this with [Chain].
package authz

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// New makes the built-in authoriser. It allows or has no opinion, which the server
// takes for a refusal. It is safe for concurrent use and does no I/O.
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

// System allows the parts of a cluster what their work takes: administrators
// (system:masters), components and nodes. It has no opinion of anybody else.
func System() authorizer.Authorizer { return authorizer.AuthorizerFunc(system) }

func system(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	who := a.GetUser()
	if who == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	groups := who.GetGroups()
	if slices.Contains(groups, user.SystemPrivilegedGroup) ||
		slices.Contains(groups, user.AllAuthenticated) && (components[who.GetName()] || node(who, a)) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
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

// components are the users that the parts of a control plane go by. They run
// beside the API server and act on every namespace, so they are trusted with the
// resources as a whole, though not with impersonating others.
var components = map[string]bool{
	user.APIServerUser:                true,
	user.KubeControllerManager:        true,
	user.KubeScheduler:                true,
	user.KubeProxy:                    true,
	"system:strake":                   true,
	"system:cloud-controller-manager": true,
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

// rule allows verbs on resources of one group; an empty group is the core's.
type rule struct {
	group     string
	resources []string
	verbs     []string
}

var (
	read  = []string{"get", "list", "watch"}
	write = []string{"create", "update", "patch", "delete"}
)

// nodeRules are what a kubelet does, and the service proxy that runs under its
// credentials.
var nodeRules = []rule{
	{"", []string{"services", "endpoints", "pods", "nodes", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts", "namespaces"}, read},
	{"", []string{"nodes", "nodes/status"}, []string{"create", "update", "patch"}},
	{"", []string{"pods"}, []string{"create", "delete"}},
	{"", []string{"pods/status"}, []string{"update", "patch"}},
	{"", []string{"pods/eviction"}, []string{"create"}},
	{"", []string{"events"}, []string{"create", "update", "patch"}},
	{"events.k8s.io", []string{"events"}, []string{"create", "update", "patch"}},
	{"", []string{"serviceaccounts/token"}, []string{"create"}},
	{"discovery.k8s.io", []string{"endpointslices"}, read},
	{"coordination.k8s.io", []string{"leases"}, append(read[:3:3], write...)},
	{"storage.k8s.io", []string{"csinodes"}, append(read[:3:3], write...)},
	{"storage.k8s.io", []string{"csidrivers", "volumeattachments"}, read},
	{"node.k8s.io", []string{"runtimeclasses"}, read},
	{"networking.k8s.io", []string{"servicecidrs"}, read},
	{"certificates.k8s.io", []string{"certificatesigningrequests"}, []string{"create", "get", "list", "watch"}},
	{"authentication.k8s.io", []string{"tokenreviews"}, []string{"create"}},
	{"authorization.k8s.io", []string{"subjectaccessreviews", "localsubjectaccessreviews"}, []string{"create"}},
}

func node(who user.Info, a authorizer.Attributes) bool {
	name, isNode := strings.CutPrefix(who.GetName(), "system:node:")
	if !isNode || name == "" || !slices.Contains(who.GetGroups(), user.NodesGroup) || !a.IsResourceRequest() {
		return false
	}
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	for _, r := range nodeRules {
		if r.group == a.GetAPIGroup() && slices.Contains(r.resources, resource) && slices.Contains(r.verbs, a.GetVerb()) {
			return ownNode(name, a)
		}
	}
	return false
}

// SharedNode is the user of a credential that several nodes join by. It may do for
// every node what a node may for itself, so whoever holds it is trusted with all of
// them; nodes with credentials of their own are kept apart.
const SharedNode = "system:node:joined-by-token"

// ownNode: a node changes its own Node and leases in its own name only. The
// name of an object that is being created is not known here; admission sees it.
func ownNode(name string, a authorizer.Attributes) bool {
	changing := !slices.Contains(read, a.GetVerb()) && a.GetVerb() != "create"
	if "system:node:"+name == SharedNode {
		return !changing || a.GetResource() != "leases" || a.GetNamespace() == corev1.NamespaceNodeLease
	}
	switch a.GetAPIGroup() + "/" + a.GetResource() {
	case "/nodes", "coordination.k8s.io/leases", "storage.k8s.io/csinodes":
		return !changing || a.GetName() == name
	}
	return true
}

// Chain asks each authoriser until one allows or denies.
func Chain(authorizers ...authorizer.Authorizer) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		var reasons []string
		var failure error
		for _, next := range authorizers {
			decision, reason, err := next.Authorize(ctx, a)
			if decision != authorizer.DecisionNoOpinion {
				return decision, reason, err
			}
			if err != nil {
				failure = err
			}
			if reason != "" {
				reasons = append(reasons, reason)
			}
		}
		return authorizer.DecisionNoOpinion, strings.Join(reasons, "\n"), failure
	})
}
