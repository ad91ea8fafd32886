// Package proxy makes traffic to services reach their pods on one node. It
// learns services and endpoint slices from the API server, like any other
// client, computes what the node should do ([Compute], pure), and hands what
// changed to a [Proxier], which makes the node do it. proxy/nftables programs
// the kernel; package proxytest is the contract of a Proxier as code.
package proxy

import (
	"context"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Proxier makes a node's traffic follow the services it is told of. Apply and
// Cleanup are called by one goroutine at a time.
type Proxier interface {
	// Apply makes the update true for connections that begin after it returns.
	// Those that exist go on, but for UDP flows to endpoints that are gone.
	// After an error the state is unknown and the next update is a full one.
	// Applying an update twice is the same as once.
	Apply(ctx context.Context, update Update) error
	// Cleanup removes whatever Apply installed, by this process or an earlier
	// one. Nothing installed is no error.
	Cleanup(ctx context.Context) error
}

// Update says what changed since the last one that was applied.
type Update struct {
	// Full says that Services is all there is: what it does not name goes.
	Full bool
	// Services by name. No ports means that the service is gone.
	Services map[types.NamespacedName][]Port
}

// Port is one port of a service as this node should serve it. It is a value:
// once handed over, nobody changes it.
type Port struct {
	// Name of the port in the service; may be empty.
	Name     string
	Protocol corev1.Protocol // TCP or UDP
	// ClusterAddrs are the cluster IPs, ExternalAddrs the external IPs and
	// LoadBalancerAddrs those of load balancers; each serves Number.
	ClusterAddrs, ExternalAddrs, LoadBalancerAddrs []netip.Addr
	Number                                         uint16
	// NodePort on this node's own addresses; 0 means none.
	NodePort uint16
	// SourceRanges limits who may come through LoadBalancerAddrs; empty: anyone.
	SourceRanges []netip.Prefix
	// Affinity keeps a client on its endpoint until it was silent for that
	// long; 0 means none.
	Affinity time.Duration
	// Internal serves ClusterAddrs, External serves NodePort, ExternalAddrs
	// and LoadBalancerAddrs. They differ where a traffic policy is Local.
	Internal, External Backends
	// ExternalLocal says that the external traffic policy is Local: the
	// client's address must be preserved.
	ExternalLocal bool
}

// Backends are the endpoints for one way into a service.
type Backends struct {
	// Endpoints to spread over, sorted; each takes an even share.
	Endpoints []netip.AddrPort
	// Drop says what happens where Endpoints is empty: true drops packets in
	// silence (policy Local, while other nodes do have endpoints), false
	// rejects them (the service has no endpoints at all).
	Drop bool
}
