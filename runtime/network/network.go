// Package network connects pods on one machine: the built-in [Bridge], or [CNI]
// plugins where the machine has a CNI configuration.
//
// A runtime makes a network namespace for each pod and calls [Network] to fill it.
// Everything is idempotent and leaves enough on disk or in the kernel that a
// process started anew goes on where the last one was killed.
package network

import (
	"context"
	"errors"
	"net/netip"

	"github.com/strake-io/strake/runtime"
)

// ErrExhausted says that no pod address is left.
var ErrExhausted = errors.New("network: no address is left")

// Network gives pods their addresses. Methods are safe for concurrent use.
type Network interface {
	// Setup connects a pod's namespace. The same pod again gets the same
	// addresses.
	Setup(ctx context.Context, pod Pod) (Result, error)
	// Teardown gives back what Setup took. Idempotent; the namespace may be gone.
	Teardown(ctx context.Context, pod Pod) error
	// Status is nil when Setup can work; its message is for people.
	Status(ctx context.Context) error
}

// Retainer is implemented by networks that keep state of their own: what belongs
// to none of these sandboxes is given back. Runtimes call it once, at start.
type Retainer interface {
	Retain(ctx context.Context, sandboxIDs []string) error
}

// Pod is whom to connect.
type Pod struct {
	// SandboxID names the pod for Teardown.
	SandboxID string
	// NetNS is the path of its network namespace.
	NetNS                string
	Name, Namespace, UID string
	Ports                []runtime.PortMapping
}

// Result of a Setup.
type Result struct {
	// IPs of the pod, the primary first.
	IPs []netip.Addr
}
