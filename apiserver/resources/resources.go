// Package resources gathers the built-in resources of the API: the values that
// the sub-packages, one per API group, declare. The API server serves what
// [BuiltIn] returns, beside what a program registers of its own.
//
// To add a kind: declare it in its group's package (a file with its
// resource.Resource, its defaults, its validation and its columns) and list it
// in that package's Resources. A new group is one more line here.
package resources

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/admissionregistration"
	"github.com/strake-io/strake/apiserver/resources/apiextensions"
	"github.com/strake-io/strake/apiserver/resources/apiregistration"
	"github.com/strake-io/strake/apiserver/resources/apps"
	"github.com/strake-io/strake/apiserver/resources/authentication"
	"github.com/strake-io/strake/apiserver/resources/authorization"
	"github.com/strake-io/strake/apiserver/resources/autoscaling"
	"github.com/strake-io/strake/apiserver/resources/batch"
	"github.com/strake-io/strake/apiserver/resources/certificates"
	"github.com/strake-io/strake/apiserver/resources/coordination"
	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/apiserver/resources/discovery"
	"github.com/strake-io/strake/apiserver/resources/dynamicresource"
	"github.com/strake-io/strake/apiserver/resources/events"
	"github.com/strake-io/strake/apiserver/resources/flowcontrol"
	"github.com/strake-io/strake/apiserver/resources/networking"
	"github.com/strake-io/strake/apiserver/resources/node"
	"github.com/strake-io/strake/apiserver/resources/policy"
	"github.com/strake-io/strake/apiserver/resources/rbac"
	"github.com/strake-io/strake/apiserver/resources/scheduling"
	"github.com/strake-io/strake/apiserver/resources/storage"
	"github.com/strake-io/strake/apiserver/resources/storagemigration"
)

// Config is what the built-in resources need from the host.
type Config struct {
	// Addresses are the pools of cluster IPs: the family that services get by
	// default first, at most one of each family. Empty: services get no cluster
	// IP.
	Addresses []*allocator.Addresses
	// Ports is the pool of node ports; nil: services get none.
	Ports *allocator.Ports
	// Nodes carries requests to kubelets, pods and services; nil makes log, exec,
	// attach, portforward and proxy answer 503.
	Nodes core.NodeProxy
	// Components are the parts of the control plane that component statuses tell of.
	Components []core.Component
	// EventTTL is how long an event is kept after its last change; 0 means one
	// hour. Longer costs store space.
	EventTTL time.Duration
	// Authenticator answers token reviews; nil knows no token.
	Authenticator authenticator.Request
	// Audiences are the API server's own, for token reviews that name none.
	Audiences authenticator.Audiences
	// Authorizer answers access reviews; nil allows nothing.
	Authorizer authorizer.UnconditionalAuthorizer
	// Rules answers rules reviews; nil: they are empty and say so.
	Rules authorizer.RuleResolver
	// Tokens issues the tokens of service accounts; nil: there are none.
	Tokens *tokens.Issuer
	// Roles tell who holds which rules, for those who write roles and bindings;
	// nil: only system:masters may give anything.
	Roles rbac.Rules
	// IntN gives a random number in [0, n), by which services/proxy chooses an
	// endpoint; it must be safe for concurrent use. nil means math/rand/v2.
	IntN func(n int) int
}

// BuiltIn makes the resources of all groups. It touches no store.
func BuiltIn(cfg Config) ([]*resource.Resource, error) {
	if n := len(cfg.Addresses); n > 2 || n == 2 && cfg.Addresses[0].Family() == cfg.Addresses[1].Family() {
		return nil, errors.New("resources: the address pools are not one of each IP family")
	}
	if cfg.EventTTL < 0 {
		return nil, fmt.Errorf("resources: events cannot be kept for %s", cfg.EventTTL)
	}
	if cfg.EventTTL == 0 {
		cfg.EventTTL = time.Hour
	}
	all := slices.Concat(
		core.Resources(core.Config{
			Nodes: cfg.Nodes, Addresses: cfg.Addresses, Ports: cfg.Ports, EventTTL: cfg.EventTTL, IntN: cfg.IntN,
			Tokens:     cfg.Tokens,
			Components: cfg.Components,
		}),
		admissionregistration.Resources(),
		apiextensions.Resources(),
		apiregistration.Resources(),
		apps.Resources(),
		authentication.Resources(authentication.Config{Authenticator: cfg.Authenticator, Audiences: cfg.Audiences}),
		authorization.Resources(authorization.Config{Authorizer: cfg.Authorizer, Rules: cfg.Rules}),
		autoscaling.Resources(),
		batch.Resources(),
		certificates.Resources(),
		coordination.Resources(),
		discovery.Resources(),
		dynamicresource.Resources(),
		events.Resources(cfg.EventTTL),
		flowcontrol.Resources(),
		networking.Resources(),
		node.Resources(),
		policy.Resources(),
		rbac.Resources(rbac.Config{Authorizer: cfg.Authorizer, Rules: cfg.Roles}),
		scheduling.Resources(),
		storage.Resources(),
		storagemigration.Resources(),
	)
	for _, r := range all {
		r.StandardFinalizers = !slices.Contains(anyFinalizer, r.GVK.Group) && r.GVK.Kind != "Event"
	}
	return all, nil
}

// anyFinalizer are the groups in which a finalizer without a domain may have any name.
var anyFinalizer = []string{
	"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io", "node.k8s.io", "policy",
}
