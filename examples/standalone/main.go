// Command standalone is a whole cluster in one process: control plane on an
// embedded etcd, one node with an embedded containerd. It is what `make run`
// starts.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/examples/internal/program"
	"github.com/strake-io/strake/proxy/nftables"
	"github.com/strake-io/strake/runtime/containerd/shim"
)

func main() {
	shim.RunIfShim() // containerd starts this executable again, as its shim
	os.Exit(program.Main("standalone", "A whole Kubernetes cluster in one process.",
		func(f *program.Flags, fs *pflag.FlagSet) {
			f.AddControlPlane(fs)
			f.AddNode(fs)
			f.AddFakeNodes(fs)
		}, run))
}

// standalone is the program between its start and its end.
type standalone struct {
	flags      *program.Flags
	log        logr.Logger
	containers *program.Containers
	proxier    *nftables.Proxier // nil: no services are served
	cluster    *strake.Cluster
	listeners  []net.Listener
	kubeconfig string
	store      string
}

func run(ctx context.Context, f *program.Flags, log logr.Logger) error {
	begun := time.Now()
	s := &standalone{flags: f, log: log, kubeconfig: f.AdminKubeconfig()}
	if err := s.assemble(ctx); err != nil {
		for _, l := range s.listeners {
			l.Close()
		}
		return err
	}
	program.Say("Strake: a cluster in one process (pid %d)", os.Getpid())
	program.Say("  state       %s", s.store)
	program.Say("  containers  %s", s.containers.What)
	if s.containers.Missing != "" {
		program.Say("\n  *** PODS ARE ONLY SIMULATED: %s. ***\n", s.containers.Missing)
	}
	return program.Service{
		Parts: s.parts(),
		Ready: s.cluster.Ready(),
		Announce: func() {
			program.Say("  ready       after %v, at %s", time.Since(begun).Round(time.Millisecond), program.URL(s.at()))
			program.Say("\nNow type:\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", s.kubeconfig)
		},
		AfterStop: s.afterStop,
		Farewell:  s.farewell(),
	}.Run(ctx)
}

// parts are the cluster and its listeners.
func (s *standalone) parts() []func(context.Context) error {
	parts := []func(context.Context) error{s.cluster.Run}
	for _, l := range s.listeners {
		parts = append(parts, func(ctx context.Context) error {
			return strake.Serve(ctx, l, s.cluster.ControlPlane().Handler())
		})
	}
	return parts
}

func (s *standalone) at() netip.AddrPort {
	at, _ := netip.ParseAddrPort(s.listeners[0].Addr().String())
	return at
}

func (s *standalone) assemble(ctx context.Context) (err error) {
	credentials, err := program.OpenCredentials(s.flags.DataDir)
	if err != nil {
		return err
	}
	if s.containers, err = program.Choose(s.flags, s.log); err != nil {
		return err
	}
	gateway, err := program.Gateway(s.flags)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	listenHost, _, err := net.SplitHostPort(s.flags.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	tlsConfig := credentials.ServerTLS(host, listenHost, gateway.String())
	listener, at, err := program.Listen(ctx, s.flags.Listen, tlsConfig)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, listener)

	config := strake.Config{FakeNodes: max(s.flags.FakeNodes, 0)}
	plane := &config.ControlPlane
	plane.NodeGrace = s.flags.NodeGrace
	if plane.Audit, err = s.flags.Audit.Config(); err != nil {
		return err
	}
	plane.NoScheduler, plane.NoControllers = s.flags.NoScheduler, s.flags.NoControllers
	plane.ServiceAccountKey = credentials.Accounts
	plane.Authenticator, plane.RootCA, plane.Logger = credentials.Authenticator(), credentials.CA.PEM(), s.log
	plane.ClientCA, plane.FrontProxy = credentials.CA.PEM(), credentials.FrontProxy()
	if plane.Store, s.store, err = program.OpenStore(ctx, s.flags, s.log); err != nil {
		return err
	}
	plane.Paths = program.EtcdPaths(plane.Store)
	if s.containers.Runtime != nil {
		// Pods reach the API through the bridge, wherever else it listens.
		plane.Advertise = netip.AddrPortFrom(gateway, at.Port())
		if !at.Addr().IsUnspecified() {
			forPods, err := program.ListenForPods(ctx, plane.Advertise, tlsConfig)
			if err != nil {
				return err
			}
			s.listeners = append(s.listeners, forPods)
		}
		node, proxier, err := program.NodeConfig(s.flags, s.containers, s.log)
		if err != nil {
			return err
		}
		s.proxier = proxier
		config.Nodes = append(config.Nodes, node)
	} else if s.flags.FakeNodes < 0 {
		config.FakeNodes = 1
	}
	if s.cluster, err = strake.New(config); err != nil {
		return err
	}
	return credentials.WriteAdmin(s.kubeconfig, program.URL(at))
}

func (s *standalone) afterStop(ctx context.Context) error {
	var errs []error
	if s.proxier != nil {
		errs = append(errs, s.proxier.Cleanup(ctx))
	}
	if s.flags.Purge {
		errs = append(errs, s.containers.Purge(ctx, s.flags, s.log), s.containers.CleanUp(ctx), os.RemoveAll(s.flags.DataDir), os.RemoveAll(s.kubeconfig))
	}
	return errors.Join(errs...)
}

func (s *standalone) farewell() string {
	switch {
	case s.flags.Purge:
		return fmt.Sprintf("Nothing is left: --purge removed the containers, their network and %s.", s.flags.DataDir)
	case s.containers.Runtime != nil:
		return fmt.Sprintf("What is left: the data in %s, and the containers, which run on; the next start takes them over.\n", s.flags.DataDir) +
			"To remove all of it, start once more with --purge and stop."
	default:
		return fmt.Sprintf("What is left: the data in %s.", s.flags.DataDir)
	}
}
