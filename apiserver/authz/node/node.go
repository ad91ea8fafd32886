// Package node authorises nodes: users of the group system:nodes that are called
// system:node:NAME. A node may read by name what the pods that are bound to it refer
// to, ask for tokens of the service accounts that they run under, and keep what bears
// its own name; everything else by rules that hold for all nodes alike, those of the
// cluster role system:node. What a node makes of its objects is the business of the
// admission plugin NodeRestriction.
//
// Upstream's document: https://kubernetes.io/docs/reference/access-authn-authz/node/.
package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/authz/rbac"
)

// Shared is the user of a credential that several nodes join by. It may do for every
// node what a node may for itself, and run the service proxy beside it: whoever holds
// it is trusted with all nodes, and with every secret and config map whose name he
// knows. Nodes with credentials of their own are kept apart.
const Shared = "system:node:joined-by-token"

// Identity says whether a user is a node and which; name is empty where it is one
// without a name. Shared is a node called as its user says.
func Identity(who user.Info) (name string, ok bool) {
	if who == nil {
		return "", false
	}
	name, ok = strings.CutPrefix(who.GetName(), "system:node:")
	if !ok || !slices.Contains(who.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return name, true
}

// Config of an [Authorizer].
type Config struct {
	// Rules are what every node may do with resources that are not looked at one by
	// one.
	Rules []rbacv1.PolicyRule
	// Proxy are the rules of the service proxy, for nodes that share a credential.
	Proxy []rbacv1.PolicyRule
	// Now is asked before a node is refused for lack of a relationship, since what
	// [Authorizer.Follow] has been told may be a moment older than what the node
	// has. nil means that nobody is asked.
	Now Now
}

// Authorizer allows or has no opinion. All methods are safe for concurrent use.
type Authorizer struct {
	rules  []rbacv1.PolicyRule
	shared []rbacv1.PolicyRule
	index  *index
	now    Now
}

// New makes an authoriser that knows no pods yet.
func New(c Config) *Authorizer {
	return &Authorizer{rules: c.Rules, shared: append(slices.Clone(c.Rules), c.Proxy...), index: newIndex(), now: c.Now}
}

// RulesFor implements authorizer.RuleResolver: what a node may do is no list.
func (n *Authorizer) RulesFor(_ context.Context, who user.Info, _ string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if _, isNode := Identity(who); isNode {
		return nil, nil, true, errors.New("node authorizer does not support user rule resolution")
	}
	return nil, nil, false, nil
}

// request is one of a node's.
type request struct {
	authorizer.Attributes
	node   string
	shared bool
	// reaches says whether something of the node's refers to an object.
	reaches func(object) bool
}

// verdict is what is decided: allowed, or why not.
type verdict struct {
	allow bool
	why   string
}

var allowed = verdict{allow: true}

func because(format string, args ...any) verdict { return verdict{why: fmt.Sprintf(format, args...)} }

// Authorize allows or has no opinion, with upstream's reasons.
func (n *Authorizer) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	name, isNode := Identity(a.GetUser())
	if !isNode {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if name == "" {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("unknown node for user %q", a.GetUser().GetName()), nil
	}
	r := request{Attributes: a, node: name, shared: a.GetUser().GetName() == Shared, reaches: func(what object) bool {
		return n.index.reaches(name, what) || n.reachesNow(ctx, name, what)
	}}
	rules := n.rules
	if r.shared {
		rules = n.shared
	}
	v, special := verdict{}, false
	if a.IsResourceRequest() {
		v, special = r.decide()
	}
	if v.allow || !special && rbac.Allows(rules, a) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, v.why, nil
}

// decide on resources of which nodes have their own objects; special is false for
// all others.
func (r *request) decide() (v verdict, special bool) {
	switch r.GetAPIGroup() {
	case "":
		switch r.GetResource() {
		case "secrets":
			return r.read(secret), true
		case "configmaps":
			return r.read(configMap), true
		case "persistentvolumeclaims":
			if r.GetSubresource() == "status" {
				return r.updateStatus(claim), true
			}
			return r.get(claim), true
		case "persistentvolumes":
			return r.get(volume), true
		case "serviceaccounts":
			return r.serviceAccount(), true
		case "nodes":
			return r.ownNode(), true
		case "pods":
			return r.pod(), true
		}
	case "resource.k8s.io":
		switch r.GetResource() {
		case "resourceclaims":
			return r.get(resourceClaim), true
		case "resourceslices":
			return r.resourceSlice(), true
		}
	case "storage.k8s.io":
		switch r.GetResource() {
		case "volumeattachments":
			return r.get(attachment), true
		case "csinodes":
			return r.csiNode(), true
		}
	case "coordination.k8s.io":
		if r.GetResource() == "leases" {
			return r.lease(), true
		}
	case "certificates.k8s.io":
		if r.GetResource() == "podcertificaterequests" {
			return r.certificateRequest(), true
		}
	}
	return verdict{}, false
}

func (r *request) verb(of ...string) bool { return slices.Contains(of, r.GetVerb()) }

// related objects are those that something of the node's refers to.
func (r *request) related(k kind) verdict {
	if r.GetName() == "" {
		return because("No Object name found")
	}
	if r.shared || r.reaches(object{k, r.GetNamespace(), r.GetName()}) {
		return allowed
	}
	return because("no relationship found between node '%s' and this object", r.node)
}

// read one object, or follow it.
func (r *request) read(k kind) verdict {
	switch {
	case !r.verb("get", "list", "watch"):
		return because("can only read resources of this type")
	case r.GetSubresource() != "":
		return because("cannot read subresource")
	case r.GetNamespace() == "":
		return because("can only read namespaced object of this type")
	}
	return r.related(k)
}

func (r *request) get(k kind) verdict {
	switch {
	case !r.verb("get"):
		return because("can only get individual resources of this type")
	case r.GetSubresource() != "":
		return because("cannot get subresource")
	}
	return r.related(k)
}

func (r *request) updateStatus(k kind) verdict {
	if !r.verb("update", "patch") {
		return because("can only get/update/patch this type")
	}
	return r.related(k)
}

// serviceAccount: its token, and the account where pods need to be known by it.
func (r *request) serviceAccount() verdict {
	switch {
	case r.verb("get") && r.GetSubresource() == "":
		return r.read(account)
	case !r.verb("create") || r.GetName() == "":
		return because("can only create tokens for individual service accounts")
	case r.GetSubresource() != "token":
		return because("can only create token subresource of serviceaccount")
	}
	return r.related(account)
}

// own things bear the node's name. That of an object to be made is not known here;
// admission sees it.
func (r *request) own() bool {
	return r.shared || r.verb("create") || r.GetName() == r.node
}

func (r *request) lease() verdict {
	switch {
	case !r.verb("get", "create", "update", "patch", "delete"):
		return because("can only get, create, update, patch, or delete a node lease")
	case r.GetNamespace() != corev1.NamespaceNodeLease:
		return because("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case !r.own():
		return because("can only access node lease with the same name as the requesting node")
	}
	return allowed
}

func (r *request) csiNode() verdict {
	switch {
	case r.GetSubresource() == "status":
		return because("CSINode status access requires CSIVolumeHealth feature")
	case r.GetSubresource() != "":
		return because("cannot authorize CSINode subresources")
	case !r.verb("get", "create", "update", "patch", "delete"):
		return because("can only get, create, update, patch, or delete a CSINode")
	case !r.own():
		return because("can only access CSINode with the same name as the requesting node")
	}
	return allowed
}

// narrowed says whether a field selector asks for one node's objects alone: this
// one's.
func (r *request) narrowed(field string) bool {
	// A selector that cannot be parsed narrows nothing.
	requirements, _ := r.GetFieldSelector()
	for _, q := range requirements {
		if q.Field == field && q.Operator == selection.Equals && (r.shared || q.Value == r.node) {
			return true
		}
	}
	return false
}

func (r *request) resourceSlice() verdict {
	switch {
	case r.GetSubresource() != "":
		return because("cannot authorize ResourceSlice subresources")
	case r.verb("create"):
		return allowed
	case r.verb("get", "update", "patch", "delete"):
		return r.related(slice)
	case r.verb("watch", "list", "deletecollection"):
		if r.narrowed("spec.nodeName") {
			return allowed
		}
		return because("can only list/watch/deletecollection resourceslices with nodeName field selector")
	}
	return because("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection")
}

func (r *request) certificateRequest() verdict {
	switch {
	case r.GetSubresource() != "":
		return because("nodes may not access the status subresource of PodCertificateRequests")
	case r.verb("create"):
		return allowed
	case r.verb("get"):
		return r.related(certificate)
	case r.verb("list", "watch"):
		if r.narrowed("spec.nodeName") {
			return allowed
		}
		return because("can only list/watch podcertificaterequests with nodeName field selector")
	}
	return because("nodes may not %s podcertificaterequests", r.GetVerb())
}

func (r *request) ownNode() verdict {
	switch r.GetSubresource() {
	case "":
		switch {
		case r.verb("create", "update", "patch"):
			return allowed
		case !r.verb("get", "list", "watch"):
		case r.shared || r.GetName() == r.node:
			return allowed
		case r.GetName() == "":
			return because("node '%s' cannot read all nodes, only its own Node object", r.node)
		default:
			return because("node '%s' cannot read '%s', only its own Node object", r.node, r.GetName())
		}
	case "status":
		return verdict{allow: r.verb("update", "patch")}
	}
	return verdict{}
}

func (r *request) pod() verdict {
	switch r.GetSubresource() {
	case "":
		switch {
		case r.verb("create", "delete"):
			return allowed
		case r.verb("get"):
			return r.related(pod)
		case r.verb("list", "watch"):
			if r.narrowed("spec.nodeName") {
				return allowed
			}
			if r.GetName() != "" {
				return r.related(pod)
			}
			return because("can only list/watch pods with spec.nodeName field selector")
		}
	case "status":
		return verdict{allow: r.verb("update", "patch")}
	case "eviction":
		return verdict{allow: r.verb("create")}
	}
	return verdict{}
}
