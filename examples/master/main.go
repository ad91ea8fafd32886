// Command master is the control plane of a cluster: API server, scheduler and
// controllers on an embedded or external etcd. Nodes join it with the kubeconfig
// that it writes.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
			f.Masters.AddMasters(fs)
		}, run))
}

// master is the program between its start and its end.
type master struct {
	flags            *program.Flags
	cluster          *strake.Cluster
	listener         net.Listener
	at               netip.AddrPort
	kubeconfig, join string // files that it writes, for the administrator and for nodes
	masters          string // and for other masters
	store            string
}

func run(ctx context.Context, f *program.Flags, log logr.Logger) error {
	begun := time.Now()
	m := &master{flags: f, kubeconfig: f.AdminKubeconfig(), join: filepath.Join(f.DataDir, "node.kubeconfig"), masters: filepath.Join(f.DataDir, "master.join")}
	if err := m.assemble(ctx, log); err != nil {
		if m.listener != nil {
			m.listener.Close()
		}
		return err
	}
	program.Say("Strake: a control plane (pid %d)", os.Getpid())
	program.Say("  state       %s", m.store)
	return program.Service{
		Parts: []func(context.Context) error{m.cluster.Run, func(ctx context.Context) error {
			return strake.Serve(ctx, m.listener, m.cluster.ControlPlane().Handler())
		}},
		Ready: m.cluster.Ready(),
		Announce: func() {
			program.Say("  ready       after %v, at %s", time.Since(begun).Round(time.Millisecond), program.URL(m.at))
			if f.Masters.PeerListen != "" {
				program.Say("\nOn the machine of another master, with a copy of that file, which is as good as an administrator's password, type:\n\n  master --join %s --listen ITS-ADDRESS:6443 --peer-listen ITS-ADDRESS:2380", m.masters)
			}
			program.Say("\nOn a node, with a copy of that file, type:\n\n  node --kubeconfig %s\n\nand here:\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", m.join, m.kubeconfig)
		},
		AfterStop: m.afterStop,
		Farewell:  m.farewell(),
	}.Run(ctx)
}

func (m *master) assemble(ctx context.Context, log logr.Logger) error {
	if err := program.AdoptCredentials(m.flags); err != nil {
		return err
	}
	credentials, err := program.OpenCredentials(m.flags.DataDir)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	listenHost, _, err := net.SplitHostPort(m.flags.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	names := append(program.MachineAddresses(), host, listenHost)
	if m.listener, m.at, err = program.Listen(ctx, m.flags.Listen, credentials.ServerTLS(names...)); err != nil {
		return err
	}
	config := strake.Config{FakeNodes: max(m.flags.FakeNodes, 0)}
	plane := &config.ControlPlane
	plane.NodeGrace = m.flags.NodeGrace
	if plane.Audit, err = m.flags.Audit.Config(); err != nil {
		return err
	}
	plane.NoScheduler, plane.NoControllers = m.flags.NoScheduler, m.flags.NoControllers
	plane.ServiceAccountKey, plane.BootstrapTokens = credentials.Accounts, true
	plane.Authenticator, plane.RootCA, plane.Logger = credentials.Authenticator(), credentials.CA.PEM(), log
	plane.ClientCA, plane.FrontProxy = credentials.CA.PEM(), credentials.FrontProxy()
	plane.DialKubelet = nodeproxy.DialTLS(credentials.KubeletTLS())
	plane.Advertise = program.Advertise(m.at)
	if plane.Store, m.store, err = program.OpenStore(ctx, m.flags, log); err != nil {
		return err
	}
	plane.Paths = program.EtcdPaths(plane.Store)
	if m.cluster, err = strake.New(config); err != nil {
		return err
	}
	if m.flags.Masters.PeerListen != "" {
		if err := program.WriteJoin(m.masters, m.flags.DataDir, program.JoinURL(m.at)); err != nil {
			return err
		}
	}
	return errors.Join(credentials.WriteAdmin(m.kubeconfig, program.URL(m.at)), credentials.WriteNode(m.join, program.JoinURL(m.at)))
}

func (m *master) afterStop(context.Context) error {
	if !m.flags.Purge {
		return nil
	}
	return errors.Join(os.RemoveAll(m.flags.DataDir), os.RemoveAll(m.kubeconfig))
}

func (m *master) farewell() string {
	if m.flags.Purge {
		return fmt.Sprintf("Nothing is left: --purge removed %s.", m.flags.DataDir)
	}
	return fmt.Sprintf("What is left: the data in %s.", m.flags.DataDir)
}
