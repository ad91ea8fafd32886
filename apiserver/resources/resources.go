// Package resources gathers the built-in resources of the API: the values that
// the sub-packages, one per API group, declare. The API server serves what
// [BuiltIn] returns, beside what a program registers of its own.
//
// To add a kind: declare it in its group's package (a file with its
// resource.Resource, its defaults, its validation and its columns) and list it
// in that package's Resources. A new group is one more line here.
package resources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/apps"
	"github.com/strake-io/strake/apiserver/resources/authentication"
	"github.com/strake-io/strake/apiserver/resources/authorization"
	"github.com/strake-io/strake/apiserver/resources/coordination"
	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/apiserver/resources/discovery"
	"github.com/strake-io/strake/apiserver/resources/events"
	"github.com/strake-io/strake/apiserver/resources/networking"
	"github.com/strake-io/strake/store"
)

// DefaultServiceCIDR is where cluster IPs come from unless the host says
// otherwise: the range that kubeadm uses.
var DefaultServiceCIDR = netip.MustParsePrefix("10.96.0.0/12")

// Config is what the built-in resources need from the host.
type Config struct {
	// Store keeps the allocations of cluster IPs and node ports. Required.
	Store store.Store
	// ServiceCIDRs are the ranges of cluster IPs: one, or one of each IP family
	// with the default family first. Empty means [DefaultServiceCIDR]. Choose
	// another where it collides with a network that pods must reach.
	ServiceCIDRs []netip.Prefix
	// NodePorts is the range of node ports; zero means 30000-32767.
	NodePorts allocator.PortRange
	// Nodes carries requests to kubelets, pods and services; nil makes log, exec,
	// attach, portforward and proxy answer 503.
	Nodes core.NodeProxy
	// EventTTL is how long an event is kept after its last change; 0 means one
	// hour.
	EventTTL time.Duration
	// Tokens answers token reviews; nil knows no token.
	Tokens authenticator.Token
	// Audiences are the API server's own, for token reviews that name none.
	Audiences authenticator.Audiences
	// Authorizer answers access reviews; nil allows nothing.
	Authorizer authorizer.UnconditionalAuthorizer
	// Rules answers rules reviews; nil: they are empty and say so.
	Rules authorizer.RuleResolver
	// IntN gives a random number in [0, n) for the choice of addresses and ports,
	// and must be safe for concurrent use; nil means math/rand/v2.
	IntN func(n int) int
}

// Set is the built-in resources and what was made for them.
type Set struct {
	Resources []*resource.Resource
	// Addresses and Ports are the pools that services take from.
	Addresses []*allocator.Addresses
	Ports     *allocator.Ports

	store store.Store
}

// New makes the resources of all groups. It touches no store.
func New(cfg Config) (*Set, error) {
	if cfg.Store == nil {
		return nil, errors.New("resources: a store is required")
	}
	if len(cfg.ServiceCIDRs) == 0 {
		cfg.ServiceCIDRs = []netip.Prefix{DefaultServiceCIDR}
	}
	if len(cfg.ServiceCIDRs) > 2 || len(cfg.ServiceCIDRs) == 2 && cfg.ServiceCIDRs[0].Addr().Is4() == cfg.ServiceCIDRs[1].Addr().Is4() {
		return nil, fmt.Errorf("resources: the service ranges %v are not one of each IP family", cfg.ServiceCIDRs)
	}
	if cfg.EventTTL == 0 {
		cfg.EventTTL = time.Hour
	}
	set := &Set{store: cfg.Store}
	for _, cidr := range cfg.ServiceCIDRs {
		pool, err := allocator.NewAddresses(allocator.AddressConfig{Store: cfg.Store, CIDR: cidr, IntN: cfg.IntN})
		if err != nil {
			return nil, err
		}
		set.Addresses = append(set.Addresses, pool)
	}
	var err error
	if set.Ports, err = allocator.NewPorts(allocator.PortConfig{Store: cfg.Store, Range: cfg.NodePorts, IntN: cfg.IntN}); err != nil {
		return nil, err
	}
	for _, group := range [][]*resource.Resource{
		core.Resources(core.Config{Nodes: cfg.Nodes, Addresses: set.Addresses, Ports: set.Ports, EventTTL: cfg.EventTTL, IntN: cfg.IntN}),
		apps.Resources(),
		authentication.Resources(authentication.Config{Tokens: cfg.Tokens, Audiences: cfg.Audiences}),
		authorization.Resources(authorization.Config{Authorizer: cfg.Authorizer, Rules: cfg.Rules}),
		coordination.Resources(),
		discovery.Resources(),
		events.Resources(cfg.EventTTL),
		networking.Resources(),
	} {
		set.Resources = append(set.Resources, group...)
	}
	return set, nil
}

// BuiltIn are the resources of [New] alone.
func BuiltIn(cfg Config) ([]*resource.Resource, error) {
	set, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return set.Resources, nil
}

// Repair reconciles the pools of addresses and ports with the services there
// are, now and at every interval, until ctx ends. One master at a time is
// enough. report may be nil.
func (s *Set) Repair(ctx context.Context, interval time.Duration, report func(allocator.Repaired, error)) error {
	return allocator.NewRepairer(s.store, s.Addresses, s.Ports).Run(ctx, interval, report)
}
