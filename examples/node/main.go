// Command node is a worker node: kubelet, containers and service proxy. It joins
// the cluster that its kubeconfig names, Strake's or any other Kubernetes.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/examples/internal/program"
	"github.com/strake-io/strake/runtime/containerd/shim"
)

func main() {
	shim.RunIfShim() // containerd starts this executable again, as its shim
	os.Exit(program.Main("node", "A worker node of a Kubernetes cluster.",
		func(f *program.Flags, fs *pflag.FlagSet) {
			f.AddJoin(fs)
			f.AddNode(fs)
		}, run))
}

func run(ctx context.Context, f *program.Flags, log logr.Logger) error {
	if f.Kubeconfig == "" {
		return errors.New("--kubeconfig is required: the master writes one for nodes, node.kubeconfig in its data directory")
	}
	config, err := clientcmd.BuildConfigFromFlags("", f.Kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "kubelet"
	client, err := newClient(config)
	if err != nil {
		return err
	}
	proxyConfig, err := program.ProxyConfig(f.Kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	proxyClient, err := newClient(proxyConfig)
	if err != nil {
		return err
	}
	containers, err := program.Choose(f, log)
	if err != nil {
		return err
	}
	if containers.Runtime == nil {
		return fmt.Errorf("this machine runs no containers: %s%s", containers.What, containers.Missing)
	}
	nodeConfig, proxier, err := program.NodeConfig(f, containers, log)
	if err != nil {
		return err
	}
	nodeConfig.Kubelet.Client, nodeConfig.ProxyClient = client, proxyClient
	guard, err := program.GuardNode(config)
	if err != nil {
		return err
	}
	nodeConfig.Authenticator, nodeConfig.Authorizer = guard.Authenticator, guard.Authorizer
	listener, at, err := program.Listen(ctx, f.Listen, guard.TLS)
	if err != nil {
		return err
	}
	nodeConfig.Listener, nodeConfig.Kubelet.Port = listener, int32(at.Port())
	node, err := strake.NewNode(nodeConfig)
	if err != nil {
		listener.Close()
		return err
	}

	program.Say("Strake: node %s of the cluster at %s (pid %d)", node.Name(), config.Host, os.Getpid())
	program.Say("  containers  %s", containers.What)
	service := program.Service{
		Parts: []func(context.Context) error{node.Run},
		Ready: node.Ready(),
		Announce: func() {
			program.Say("  ready       its HTTP interface is at %s", net.JoinHostPort(hostOf(at), fmt.Sprint(at.Port())))
		},
		AfterStop: proxier.Cleanup,
		Farewell:  fmt.Sprintf("What is left: the data in %s, and the containers, which run on; the next start takes them over.", f.DataDir),
	}
	if f.Purge {
		service.AfterStop = func(ctx context.Context) error {
			return errors.Join(proxier.Cleanup(ctx), containers.Purge(ctx, f, log), containers.CleanUp(ctx), os.RemoveAll(f.DataDir))
		}
		service.Farewell = fmt.Sprintf("Nothing is left: --purge removed the containers, their network and %s.", f.DataDir)
	}
	return service.Run(ctx)
}

func newClient(config *rest.Config) (kubernetes.Interface, error) {
	config.AcceptContentTypes, config.ContentType = "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return client, nil
}

func hostOf(at netip.AddrPort) string {
	if at.Addr().IsUnspecified() {
		if all := program.MachineAddresses(); len(all) > 0 {
			return all[0]
		}
	}
	return at.Addr().String()
}
