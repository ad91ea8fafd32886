// Package program is what the example programs share: their flags, the
// credentials in their data directory, the choice of store and container runtime,
// and how they start and stop. What a library must not do, such as reading flags
// or ending the process, is done here.
package program

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// Flags of all example programs; each registers those that it has a use for.
type Flags struct {
	DataDir          string
	Listen           string
	Kubeconfig       string
	Store            string
	EtcdEndpoints    []string
	EtcdCA           string
	EtcdCert         string
	EtcdKey          string
	Runtime          string
	RuntimeEndpoint  string
	FakeNodes        int
	NodeGrace        time.Duration
	HostnameOverride string
	NodeIP           string
	PodCIDR          string
	NoScheduler      bool
	NoControllers    bool
	Audit            AuditFlags
	Masters          MasterFlags
	Verbosity        int
	Purge            bool
}

// unset is the value of --fake-nodes where the user gave none.
const unset = -1

// AddCommon registers what every program has.
func (f *Flags) AddCommon(fs *pflag.FlagSet) {
	fs.StringVar(&f.DataDir, "data-dir", "data", "directory for everything that must survive a restart")
	fs.IntVarP(&f.Verbosity, "v", "v", 0, "how much to log: 0 is problems, 1 what happens, 4 everything")
	fs.BoolVar(&f.Purge, "purge", false, "on stop, remove the containers, the network and the data directory as well")
}

// AddControlPlane registers what a control plane needs.
func (f *Flags) AddControlPlane(fs *pflag.FlagSet) {
	fs.StringVar(&f.Listen, "listen", "127.0.0.1:6443", "address of the API")
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "file to write the administrator's kubeconfig to (default: kubeconfig in the data directory)")
	fs.StringVar(&f.Store, "store", "etcd", "where the state is kept: etcd, or memory, which forgets it at the end")
	fs.StringSliceVar(&f.EtcdEndpoints, "etcd-endpoints", nil, "an external etcd to use instead of the embedded one, such as https://10.0.0.1:2379")
	fs.StringVar(&f.EtcdCA, "etcd-cafile", "", "PEM certificates by which the external etcd is trusted")
	fs.StringVar(&f.EtcdCert, "etcd-certfile", "", "PEM client certificate for the external etcd")
	fs.DurationVar(&f.NodeGrace, "node-monitor-grace-period", 50*time.Second, "how long a node may be silent before it is not ready; nodes report every 10 s")
	fs.BoolVar(&f.NoScheduler, "no-scheduler", false, "leave the scheduler out: another one joins the cluster, perhaps upstream's")
	fs.BoolVar(&f.NoControllers, "no-controllers", false, "leave the controllers out: another controller manager joins the cluster, perhaps upstream's")
	fs.StringVar(&f.EtcdKey, "etcd-keyfile", "", "PEM key of that certificate")
	f.Audit.add(fs)
}

// AddNode registers what a node needs.
func (f *Flags) AddNode(fs *pflag.FlagSet) {
	fs.StringVar(&f.Runtime, "runtime", "auto", "what runs containers: auto, containerd, cri or fake")
	fs.StringVar(&f.RuntimeEndpoint, "runtime-endpoint", "", "socket of a containerd or of another CRI runtime (default for containerd: the usual one if it answers, else one in this process)")
	fs.StringVar(&f.HostnameOverride, "hostname-override", "", "name of the node (default: the host name)")
	fs.StringVar(&f.NodeIP, "node-ip", "", "address of the node (default: that of the default route)")
	fs.StringVar(&f.PodCIDR, "pod-cidr", "10.244.0.0/24", "range of this node's pod addresses, for the built-in network")
}

// AddFakeNodes registers the flag for simulated nodes.
func (f *Flags) AddFakeNodes(fs *pflag.FlagSet) {
	fs.IntVar(&f.FakeNodes, "fake-nodes", unset, "how many simulated nodes to add (default: 0, or 1 where no container can run)")
	fs.Lookup("fake-nodes").DefValue = "0" // pflag's word for: not worth a mention
}

// AddJoin registers how a node finds its master.
func (f *Flags) AddJoin(fs *pflag.FlagSet) {
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "kubeconfig by which the node joins; the master writes one: node.kubeconfig in its data directory")
	fs.StringVar(&f.Listen, "listen", "0.0.0.0:10250", "address of the node's own HTTP interface, for logs and exec")
}

// AdminKubeconfig is the file that the administrator's kubeconfig is written to.
func (f *Flags) AdminKubeconfig() string {
	if f.Kubeconfig != "" {
		return f.Kubeconfig
	}
	return filepath.Join(f.DataDir, "kubeconfig")
}

// complete checks the flags and fills in what follows from others.
func (f *Flags) complete() error {
	dir, err := filepath.Abs(f.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	f.DataDir = dir
	switch f.Store {
	case "etcd", "memory", "":
	default:
		return fmt.Errorf("--store %q: want etcd or memory", f.Store)
	}
	if f.Store == "memory" && len(f.EtcdEndpoints) > 0 {
		return fmt.Errorf("--etcd-endpoints needs --store etcd")
	}
	if (f.EtcdCert == "") != (f.EtcdKey == "") {
		return fmt.Errorf("--etcd-certfile and --etcd-keyfile belong together")
	}
	switch f.Runtime {
	case "auto", "containerd", "cri", "fake", "":
	default:
		return fmt.Errorf("--runtime %q: want auto, containerd, cri or fake", f.Runtime)
	}
	if f.Runtime == "cri" && f.RuntimeEndpoint == "" {
		return fmt.Errorf("--runtime cri needs --runtime-endpoint, such as unix:///run/crio/crio.sock")
	}
	if err := f.Audit.check(); err != nil {
		return err
	}
	if err := f.Masters.check(f); err != nil {
		return err
	}
	if f.FakeNodes < unset || f.FakeNodes > 65536 {
		return fmt.Errorf("--fake-nodes %d: want 0 to 65536", f.FakeNodes)
	}
	if f.NodeIP != "" {
		if _, err := netip.ParseAddr(f.NodeIP); err != nil {
			return fmt.Errorf("--node-ip: %w", err)
		}
	}
	if f.PodCIDR != "" {
		prefix, err := netip.ParsePrefix(f.PodCIDR)
		if err != nil || !prefix.Addr().Is4() || prefix.Bits() > 30 {
			return fmt.Errorf("--pod-cidr %q: want an IPv4 range with room for pods, such as 10.244.0.0/24", f.PodCIDR)
		}
	}
	return nil
}
