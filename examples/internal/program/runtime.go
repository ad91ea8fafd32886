package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/go-logr/logr"

	"github.com/strake-io/strake/internal/stages"
	"github.com/strake-io/strake/kubelet/cgroups"
	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/containerd"
	"github.com/strake-io/strake/runtime/containerd/embedded"
	"github.com/strake-io/strake/runtime/containerd/shim"
	"github.com/strake-io/strake/runtime/network"
)

// Containers is what runs the containers of this machine.
type Containers struct {
	// Runtime; nil means that this machine runs none.
	Runtime runtime.Runtime
	// What it is, for the user.
	What string
	// Missing says why containers are not run although they were not turned off.
	Missing string

	network network.Network
	groups  *cgroups.Manager // of the node's pods; nil: none
	state   string
	data    string // directory of all that the node keeps
}

const systemSocket = "/run/containerd/containerd.sock"

// Choose picks what runs containers, as --runtime says.
func Choose(f *Flags, log logr.Logger) (*Containers, error) {
	switch f.Runtime {
	case "fake":
		return &Containers{What: "simulated pods only (--runtime fake)"}, nil
	case "cri":
		return chooseCRI(f)
	case "containerd":
		if missing := missing(); missing != "" {
			return nil, fmt.Errorf("--runtime containerd: %s", missing)
		}
	default:
		if missing := missing(); missing != "" {
			return &Containers{What: "simulated pods only", Missing: missing}, nil
		}
	}
	return chooseContainerd(f, log)
}

// missing says what this machine lacks to run containers.
func missing() string {
	if os.Geteuid() != 0 {
		return "running containers needs root"
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "there is no runc on the PATH"
	}
	return ""
}

func chooseContainerd(f *Flags, log logr.Logger) (*Containers, error) {
	// Sockets need short paths, and what is in there is void after a reboot.
	state := filepath.Join("/run/strake", instance(f))
	if err := os.MkdirAll(state, 0o711); err != nil {
		return nil, err
	}
	network, err := chooseNetwork(f, log)
	if err != nil {
		return nil, err
	}
	shimPath, err := shim.Install(filepath.Join(f.DataDir, "bin"))
	if err != nil {
		return nil, fmt.Errorf("installing the shim: %w", err)
	}
	config := containerd.Config{
		Address: f.RuntimeEndpoint, State: filepath.Join(state, "pods"), Shim: shimPath, Network: network,
		Logger: log.WithName("runtime"),
	}
	c := &Containers{network: network, state: state, data: f.DataDir}
	if config.Address == "" && answers(systemSocket) {
		config.Address = systemSocket
	}
	if config.Address != "" {
		c.What = "containerd at " + config.Address
		c.Runtime, err = containerd.New(config)
		return c, err
	}

	server, err := embedded.New(embedded.Config{
		Root: filepath.Join(f.DataDir, "containerd"), State: filepath.Join(state, "containerd"), Logger: log.WithName("containerd"),
	})
	if err != nil {
		return nil, err
	}
	config.Address = server.Address()
	client, err := containerd.New(config)
	if err != nil {
		return nil, err
	}
	c.What = "containerd in this process"
	c.Runtime = &withServer{Runtime: client, server: server}
	return c, nil
}

// instance names what a node has outside of its data directory, so that two on
// one machine do not meet.
func instance(f *Flags) string {
	sum := sha256.Sum256([]byte(f.DataDir))
	return hex.EncodeToString(sum[:4])
}

func chooseNetwork(f *Flags, log logr.Logger) (network.Network, error) {
	if network.HasCNI("") {
		return network.NewCNI(network.CNIConfig{})
	}
	subnet, err := netip.ParsePrefix(f.PodCIDR)
	if err != nil {
		return nil, fmt.Errorf("--pod-cidr: %w", err)
	}
	return network.NewBridge(network.BridgeConfig{
		Subnet: subnet, StateDir: filepath.Join(f.DataDir, "network"), Logger: log.WithName("network"),
	})
}

// answers says whether somebody listens on a socket.
func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// withServer runs an embedded containerd below its client.
type withServer struct {
	*containerd.Runtime
	server *embedded.Server
}

// Run runs the server for as long as the client.
func (r *withServer) Run(ctx context.Context) error {
	return stages.Run(ctx, func() {},
		stages.Stage{Name: "containerd", Run: r.server.Run, Ready: r.server.Ready()},
		stages.Stage{Name: "containerd's client", Run: r.Runtime.Run})
}

// Purge removes every pod, once the node has stopped: its kubelet would replace
// them. The runtime runs once more for that, alone.
func (c *Containers) Purge(ctx context.Context, f *Flags, log logr.Logger) error {
	if c.Runtime == nil {
		return nil
	}
	again, err := Choose(f, log)
	if err != nil {
		return err
	}
	r, ok := again.Runtime.(interface {
		Run(context.Context) error
		Ready() <-chan struct{}
	})
	if !ok {
		return removePods(ctx, again.Runtime)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running) }()
	select {
	case err := <-ended:
		return err
	case <-r.Ready():
	}
	removed := removePods(ctx, again.Runtime)
	stop()
	return errors.Join(removed, <-ended)
}

func removePods(ctx context.Context, r runtime.Runtime) error {
	sandboxes, err := r.ListSandboxes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range sandboxes {
		errs = append(errs, r.StopSandbox(ctx, s.ID), r.RemoveSandbox(ctx, s.ID))
	}
	return errors.Join(errs...)
}

// unmountDetached is MNT_DETACH: what is still open somewhere goes when it is closed.
const unmountDetached = 2

// CleanUp removes the network, the control groups, the mounts and the state, once the
// runtime has stopped.
func (c *Containers) CleanUp(ctx context.Context) error {
	var errs []error
	if cleaner, ok := c.network.(interface{ Cleanup(context.Context) error }); ok {
		errs = append(errs, cleaner.Cleanup(ctx))
	}
	if c.groups != nil {
		errs = append(errs, c.groups.Remove(ctx))
	}
	if c.data != "" {
		// Volumes of pods that the kubelet had no time to take down.
		errs = append(errs, mount.UnmountRecursive(c.data, unmountDetached))
	}
	if c.state != "" {
		errs = append(errs, mount.UnmountRecursive(c.state, unmountDetached), os.RemoveAll(c.state))
	}
	return errors.Join(errs...)
}
