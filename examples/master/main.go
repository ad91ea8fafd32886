// Command master is the control plane of a cluster: API server, scheduler and
// controllers on an embedded or external etcd. Nodes join it with the kubeconfig
// that it writes.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/apiserver/nodeproxy"
	"github.com/strake-io/strake/examples/internal/program"
)

func main() {
	os.Exit(program.Main("master", "The control plane of a Kubernetes cluster.",
		func(f *program.Flags, fs *pflag.FlagSet) {
			f.AddControlPlane(fs)
			f.AddFakeNodes(fs)
		}, run))
}

func run(ctx context.Context, f *program.Flags, log logr.Logger) error {
	begun := time.Now()
	credentials, err := program.OpenCredentials(f.DataDir)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	listenHost, _, err := net.SplitHostPort(f.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	listener, at, err := program.Listen(ctx, f.Listen, credentials.ServerTLS(append(program.MachineAddresses(), host, listenHost)...))
	if err != nil {
		return err
	}
	config := strake.Config{FakeNodes: max(f.FakeNodes, 0)}
	plane := &config.ControlPlane
	plane.Authenticator, plane.RootCA, plane.Logger = credentials.Authenticator(), credentials.CA.PEM(), log
	plane.DialKubelet = nodeproxy.DialTLS(credentials.KubeletTLS())
	plane.Advertise = program.Advertise(at)
	store, what, err := program.OpenStore(f, log)
	if err != nil {
		listener.Close()
		return err
	}
	plane.Store = store
	cluster, err := strake.New(config)
	if err != nil {
		listener.Close()
		return err
	}
	kubeconfig := f.Kubeconfig
	if kubeconfig == "" {
		kubeconfig = filepath.Join(f.DataDir, "kubeconfig")
	}
	join := filepath.Join(f.DataDir, "node.kubeconfig")
	if err := errors.Join(credentials.WriteAdmin(kubeconfig, program.URL(at)), credentials.WriteNode(join, program.JoinURL(at))); err != nil {
		listener.Close()
		return err
	}

	program.Say("Strake: a control plane (pid %d)", os.Getpid())
	program.Say("  state       %s", what)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- cluster.Run(serving) }()
	go func() { ended <- strake.Serve(serving, listener, cluster.ControlPlane().Handler()) }()
	var failure error
	select {
	case failure = <-ended:
	case <-ctx.Done():
	case <-cluster.Ready():
		program.Say("  ready       after %v, at %s", time.Since(begun).Round(time.Millisecond), program.URL(at))
		program.Say("\nOn a node, with a copy of that file, type:\n\n  node --kubeconfig %s\n\nand here:\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", join, kubeconfig)
		select {
		case failure = <-ended:
		case <-ctx.Done():
		}
	}
	if failure == nil {
		program.Say("Stopping ...")
	}
	stop()
	failure = errors.Join(failure, <-ended)
	if ctx.Err() != nil && len(ended) > 0 {
		failure = errors.Join(failure, <-ended)
	}
	if failure != nil {
		return failure
	}
	if f.Purge {
		if err := errors.Join(os.RemoveAll(f.DataDir), os.RemoveAll(kubeconfig)); err != nil {
			return err
		}
		program.Say("Stopped. Nothing is left: --purge removed %s.", f.DataDir)
		return nil
	}
	program.Say("Stopped. What is left: the data in %s.", f.DataDir)
	return nil
}
