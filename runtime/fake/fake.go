// Package fake is a [runtime.Runtime] that only pretends: for tests, for fleets of
// a hundred thousand pods on one machine, and for trying Strake without privileges.
//
// A container costs a struct and, while something is due to happen to it, one
// timer; there is no goroutine per container, and time is package time's, so that
// a cluster runs in a testing/synctest bubble. What a container does is read from
// its command (see [Program]), from annotations (see [AnnotationRunFor] and its
// neighbours) or from [Config.Behave]; without any it runs until it is stopped.
package fake

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/strake-io/strake/runtime"
)

// Config of a simulated machine.
type Config struct {
	// PodCIDR is the range of pod addresses; default 10.244.0.0/16. Fleets give
	// each node its own. Addresses are given in order and used again when freed.
	PodCIDR netip.Prefix
	// StartDelay is how long StartContainer takes; default 0.
	StartDelay time.Duration
	// PullDelay is how long Pull takes; default 0.
	PullDelay time.Duration
	// PullError, if set, decides whether a reference can be pulled: an error is
	// the cause that the pod shows. Default: images of the registry
	// "fake.invalid" are not found, all others are.
	PullError func(ref string) error
	// Behave, if set, overrides what a container does; ok false leaves it to its
	// command and annotations. It must not block.
	Behave func(pod runtime.PodIdentity, config runtime.ContainerConfig) (b Behaviour, ok bool)
	// WriteLogs makes the log files that a real runtime would; default none.
	WriteLogs bool
	// EventBuffer is how many events wait for a slow receiver before it loses
	// some; default 1024.
	EventBuffer int
}

// Runtime is a simulated machine. Its zero value is not usable: see [New].
type Runtime struct {
	config Config

	// mu guards all below.
	mu          sync.Mutex
	sandboxes   map[string]*sandbox
	sandboxName map[string]string // identity → ID
	containers  map[string]*container
	images      map[string]*runtime.Image // by ID
	addresses   addresses
	subscribers map[*subscriber]struct{}
	nextID      uint64
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.Streamer      = (*Runtime)(nil)
	_ runtime.StatsProvider = (*Runtime)(nil)
	_ runtime.EventSource   = (*Runtime)(nil)
)

// New makes an empty machine. There is nothing to run or to close.
func New(config Config) (*Runtime, error) {
	if !config.PodCIDR.IsValid() {
		config.PodCIDR = netip.MustParsePrefix("10.244.0.0/16")
	}
	if config.EventBuffer <= 0 {
		config.EventBuffer = 1024
	}
	if config.StartDelay < 0 || config.PullDelay < 0 {
		return nil, fmt.Errorf("fake runtime: delays must not be negative: start %v, pull %v", config.StartDelay, config.PullDelay)
	}
	if config.PodCIDR.Addr().BitLen()-config.PodCIDR.Bits() < 2 {
		return nil, fmt.Errorf("fake runtime: pod range %v holds no pod", config.PodCIDR)
	}
	return &Runtime{
		config:      config,
		sandboxes:   map[string]*sandbox{},
		sandboxName: map[string]string{},
		containers:  map[string]*container{},
		images:      map[string]*runtime.Image{},
		addresses:   newAddresses(config.PodCIDR),
		subscribers: map[*subscriber]struct{}{},
	}, nil
}

// Version implements [runtime.Runtime].
func (r *Runtime) Version(context.Context) (runtime.Version, error) {
	return runtime.Version{Name: "fake", Version: "1.0.0"}, nil
}

// Status implements [runtime.Runtime]: always ready.
func (r *Runtime) Status(context.Context) (runtime.Status, error) {
	return runtime.Status{RuntimeReady: true, NetworkReady: true}, nil
}

// newID is the next identifier, of the length that people expect. Call with mu held.
func (r *Runtime) newID() string {
	r.nextID++
	return fmt.Sprintf("%064x", r.nextID)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
