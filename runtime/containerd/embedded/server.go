// Package embedded runs a containerd inside this process.
//
// It is containerd's own server with the few plugins that Strake needs, on a unix
// socket in its state directory (its shims report there, and `ctr -a` looks in).
// Package runtime/containerd is its client, as of any other containerd. Containers
// outlive the process: their shims hold them, and the next Run finds them again.
//
// containerd keeps its plugin registry, and the configuration structs in it, per
// process. Servers of one process therefore start one after the other; once they
// run they share nothing.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"github.com/go-logr/logr"
)

// Config of an embedded containerd.
type Config struct {
	// Root holds images, snapshots and metadata; it must survive a reboot.
	// Required.
	Root string
	// State holds sockets and the bundles of running containers; best on a
	// file system that a reboot empties. Required, short enough for a unix
	// socket's path (about 80 bytes), and another directory than Root.
	State string
	// Logger receives containerd's own log, no line of it as an error: its
	// warnings and errors at V(0), the rest at V(4). The zero value discards.
	Logger logr.Logger
}

// maxSocketPath is what a sockaddr_un holds, less the closing zero.
const maxSocketPath = 107

// starting serialises [server.New]: it decodes each server's configuration into
// structs of containerd's process-wide registry.
var starting sync.Mutex

// Server is a containerd in this process.
type Server struct {
	config Config
	ready  chan struct{}
}

// New checks the configuration; nothing starts before [Server.Run].
func New(config Config) (*Server, error) {
	if !filepath.IsAbs(config.Root) || !filepath.IsAbs(config.State) {
		return nil, fmt.Errorf("embedded containerd: Root (%q) and State (%q) must be absolute paths", config.Root, config.State)
	}
	if config.Root == config.State {
		return nil, errors.New("embedded containerd: Root and State must differ")
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	s := &Server{config: config, ready: make(chan struct{})}
	if len(s.Address()+".ttrpc") > maxSocketPath {
		return nil, fmt.Errorf("embedded containerd: State %q is too long for a unix socket in it", config.State)
	}
	return s, nil
}

// Address is the path of the socket that clients dial.
func (s *Server) Address() string { return filepath.Join(s.config.State, "containerd.sock") }

// Ready is closed once the socket answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends. Containers keep running after it.
func (s *Server) Run(ctx context.Context) error {
	takeGlobalLog(s.config.Logger)
	ctx = log.WithLogger(ctx, logTo(s.config.Logger))
	config := &srvconfig.Config{
		Version: version.ConfigVersion,
		Root:    s.config.Root,
		State:   s.config.State,
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc": map[string]any{
				"address": s.Address(), "uid": os.Geteuid(), "gid": os.Getegid(),
			},
			"io.containerd.server.v1.ttrpc": map[string]any{
				"address": s.Address() + ".ttrpc", "uid": os.Geteuid(), "gid": os.Getegid(),
			},
			// Collects soon after something was removed, and not at start.
			"io.containerd.gc.v1.scheduler": map[string]any{"startup_delay": "10s"},
		},
		DisabledPlugins: []string{
			"io.containerd.server.v1.grpc-tcp",
			// Both are global to the process.
			"io.containerd.metrics.v1.grpc-prometheus", "io.containerd.metrics.v1.grpc-otel",
		},
		RequiredPlugins: []string{
			"io.containerd.metadata.v1.bolt", "io.containerd.runtime.v2.task",
			"io.containerd.service.v1.tasks-service", "io.containerd.server.v1.grpc", "io.containerd.server.v1.ttrpc",
		},
	}
	if err := server.CreateTopLevelDirectories(config); err != nil {
		return fmt.Errorf("embedded containerd: %w", err)
	}
	starting.Lock()
	daemon, err := server.New(ctx, config)
	starting.Unlock()
	if err != nil {
		return fmt.Errorf("embedded containerd: %w", err)
	}
	defer daemon.Stop()
	if err := daemon.Start(ctx); err != nil {
		return fmt.Errorf("embedded containerd: %w", err)
	}
	daemon.Wait()
	close(s.ready)
	<-ctx.Done()
	return nil
}
