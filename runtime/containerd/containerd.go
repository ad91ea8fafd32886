// Package containerd runs pods by a containerd, on a socket or embedded in this
// process (package embedded).
//
// It uses containerd's own API below its CRI plugin: images, snapshots, tasks. A
// pod sandbox is not a container: it is a set of namespaces pinned by bind mounts,
// made by this package, so no pause image and no pause process is needed. Only a
// pod that shares its PID namespace has a process of its own, of one page (package
// pause).
//
// # What survives
//
// Records of sandboxes and containers are in containerd's metadata. A container is
// held by its shim, and so are both ends of the FIFOs of its standard streams: when
// this process dies the container runs on (it waits once 256 KiB of output are
// unread), and the next [Runtime.Run] opens the FIFOs again, goes on with the log
// file, and learns from the shim what ended meanwhile, with its exit status. Nothing
// is restarted. Output is lost only where it was read and not yet written to the log
// at that moment, or where the container ended, too, before the next Run.
//
// Everything is in one containerd namespace; what is in others is never looked at.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/network"
)

// Config of a [Runtime].
type Config struct {
	// Address is the path of containerd's socket. Required: that of an embedded
	// server, or /run/containerd/containerd.sock.
	Address string
	// Namespace of containerd that holds our images and containers; default
	// "strake". Two clusters on one containerd take two.
	Namespace string
	// State holds FIFOs, pinned namespaces and small files of running pods. It
	// may be lost with a reboot, not before. Required, absolute.
	State string
	// Shim is what runs containers: the path that package shim's Install gave, or
	// the name of a containerd runtime; default "io.containerd.runc.v2", which
	// containerd looks up on its PATH.
	Shim string
	// Runc is the path of runc; default: from the shim's PATH.
	Runc string
	// Snapshotter that holds root file systems; default: overlayfs where the
	// kernel can, else native.
	Snapshotter string
	// Network connects pods. nil: pods have only their loopback, and the network
	// reports that it is not ready.
	Network network.Network
	// MaxParallelPulls bounds how many images are fetched at a time; default 3.
	MaxParallelPulls int64
	// RegistryConfigDir has a directory per registry with a hosts.toml (mirrors,
	// own CAs), as containerd documents; default none. Registries on loopback are
	// spoken to in plain HTTP, all others by TLS.
	RegistryConfigDir string
	// ResolvConf is what pods without DNSConfig get; default /etc/resolv.conf.
	ResolvConf string
	// Logger; the zero value discards.
	Logger logr.Logger
}

// Runtime is a [runtime.Runtime] on a containerd. Its methods answer with
// [runtime.ErrUnavailable] until [Runtime.Ready].
type Runtime struct {
	config Config
	log    logr.Logger
	client *client.Client
	tasks  tasks.TasksClient
	pulls  *semaphore.Weighted
	ready  chan struct{}
	// watch hands containers that run to Run, which owns their goroutines.
	watch   chan *container
	stopped chan struct{}

	snapshotter string // set before ready closes
	images      imageCache

	// mu guards all below. It is not held during calls to containerd.
	mu          sync.Mutex
	sandboxes   map[string]*sandbox
	names       map[string]struct{} // identities of sandboxes, made or being made
	containers  map[string]*container
	subscribers map[chan runtime.Event]struct{}
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.Streamer      = (*Runtime)(nil)
	_ runtime.StatsProvider = (*Runtime)(nil)
	_ runtime.EventSource   = (*Runtime)(nil)
)

// New checks the configuration; nothing is dialled before [Runtime.Run].
func New(config Config) (*Runtime, error) {
	if config.Address == "" {
		return nil, errors.New("containerd runtime: Address is required")
	}
	if !filepath.IsAbs(config.State) {
		return nil, fmt.Errorf("containerd runtime: State %q must be an absolute path", config.State)
	}
	if config.Namespace == "" {
		config.Namespace = "strake"
	}
	if config.Shim == "" {
		config.Shim = "io.containerd.runc.v2"
	}
	if config.MaxParallelPulls <= 0 {
		config.MaxParallelPulls = 3
	}
	if config.ResolvConf == "" {
		config.ResolvConf = "/etc/resolv.conf"
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	// The connection is lazy: nothing is dialled here.
	conn, err := grpc.NewClient("unix://"+config.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.MaxCallSendMsgSize(16<<20)))
	if err != nil {
		return nil, fmt.Errorf("containerd runtime: %w", err)
	}
	c, err := client.NewWithConn(conn, client.WithDefaultNamespace(config.Namespace))
	if err != nil {
		return nil, fmt.Errorf("containerd runtime: %w", err)
	}
	return &Runtime{
		config: config, log: config.Logger, client: c, tasks: c.TaskService(),
		pulls: semaphore.NewWeighted(config.MaxParallelPulls),
		ready: make(chan struct{}), watch: make(chan *container), stopped: make(chan struct{}),
		images:    imageCache{known: map[string]imageInfo{}},
		sandboxes: map[string]*sandbox{}, names: map[string]struct{}{}, containers: map[string]*container{},
		subscribers: map[chan runtime.Event]struct{}{},
	}, nil
}

// Ready is closed when containerd answers and all that runs has been adopted.
func (r *Runtime) Ready() <-chan struct{} { return r.ready }

// Run adopts what runs and follows it until ctx ends. Containers keep running
// after it. It can be called once.
func (r *Runtime) Run(ctx context.Context) error {
	ctx = namespaces.WithNamespace(ctx, r.config.Namespace)
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup
	defer func() {
		cancel()
		close(r.stopped)
		owned.Wait()
		_ = r.client.Close()
	}()
	if err := r.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("containerd runtime: %w", err)
	}
	running, err := r.load(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("containerd runtime: loading what runs: %w", err)
	}
	for _, c := range running {
		owned.Go(func() { r.follow(ctx, c) })
	}
	owned.Go(func() { r.followOOM(ctx) })
	close(r.ready)
	for {
		select {
		case c := <-r.watch:
			owned.Go(func() { r.follow(ctx, c) })
		case <-ctx.Done():
			return nil
		}
	}
}

// connect waits until containerd answers, then chooses the snapshotter.
func (r *Runtime) connect(ctx context.Context) error {
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		_, err := r.client.Version(ctx)
		if err == nil {
			break
		}
		r.log.V(1).Info("waiting for containerd", "address", r.config.Address, "reason", err.Error())
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
	if err := r.client.NamespaceService().Create(ctx, r.config.Namespace, nil); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("namespace %s: %w", r.config.Namespace, err)
	}
	if r.snapshotter = r.config.Snapshotter; r.snapshotter != "" {
		return nil
	}
	var errs []error
	for _, name := range []string{"overlayfs", "native"} {
		if _, err := r.client.GetSnapshotterCapabilities(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.snapshotter = name
		return nil
	}
	return fmt.Errorf("no snapshotter works: %w", errors.Join(errs...))
}

// begin readies a call: it fails before Ready and after Run.
func (r *Runtime) begin(ctx context.Context) (context.Context, error) {
	select {
	case <-r.stopped:
		return nil, fmt.Errorf("containerd runtime has stopped: %w", runtime.ErrUnavailable)
	default:
	}
	select {
	case <-r.ready:
		return namespaces.WithNamespace(ctx, r.config.Namespace), nil
	default:
		return nil, fmt.Errorf("containerd at %s does not answer yet: %w", r.config.Address, runtime.ErrUnavailable)
	}
}

// detached is a context for clearing up, whatever became of the call's own.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// Version implements [runtime.Runtime].
func (r *Runtime) Version(ctx context.Context) (runtime.Version, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return runtime.Version{}, err
	}
	v, err := r.client.Version(ctx)
	if err != nil {
		return runtime.Version{}, failure(err)
	}
	return runtime.Version{Name: "containerd", Version: cleanVersion(v.Version)}, nil
}

// cleanVersion drops the "v" and what a build adds: "v2.4.2+unknown" is 2.4.2.
func cleanVersion(v string) string {
	if len(v) > 1 && v[0] == 'v' {
		v = v[1:]
	}
	for i, c := range v {
		if c == '+' {
			return v[:i]
		}
	}
	return v
}

// Status implements [runtime.Runtime].
func (r *Runtime) Status(ctx context.Context) (runtime.Status, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return runtime.Status{}, err
	}
	serving, err := r.client.IsServing(ctx)
	if err != nil {
		return runtime.Status{}, failure(err)
	}
	status := runtime.Status{RuntimeReady: serving, NetworkReady: true}
	if !serving {
		status.RuntimeMessage = "containerd is not serving"
	}
	if r.config.Network == nil {
		status.NetworkReady, status.NetworkMessage = false, "no pod network is configured"
	} else if err := r.config.Network.Status(ctx); err != nil {
		status.NetworkReady, status.NetworkMessage = false, err.Error()
	}
	return status, nil
}

// failure gives containerd's errors our sentinels.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	case errdefs.IsAlreadyExists(err):
		return fmt.Errorf("%w: %w", runtime.ErrExists, err)
	case errdefs.IsFailedPrecondition(err):
		return fmt.Errorf("%w: %w", runtime.ErrState, err)
	case errdefs.IsUnavailable(err):
		return fmt.Errorf("%w: %w", runtime.ErrUnavailable, err)
	}
	return err
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
