package strake

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake/internal/stages"
	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/kubelet/machine"
	"github.com/strake-io/strake/runtime/fake"
)

// Config configures a [Cluster]. The zero value is a control plane in memory with
// no node.
type Config struct {
	// ControlPlane of the cluster.
	ControlPlane ControlPlaneConfig
	// Nodes that run in this process. Kubelet.Client may be nil, and the node is
	// then reached without a socket.
	Nodes []NodeConfig
	// FakeNodes is how many simulated nodes to add, named fake-0, fake-1, ...:
	// their pods only seem to run. Each claims 32 CPUs, 256 GiB and 110 pods. At
	// most 65536.
	FakeNodes int
}

// Cluster is a control plane and nodes in one process.
type Cluster struct {
	plane *ControlPlane
	nodes []*Node
	ready chan struct{}
}

// New checks the configuration and puts the cluster together; nothing starts
// before Run.
func New(config Config) (*Cluster, error) {
	plane, err := NewControlPlane(config.ControlPlane)
	if err != nil {
		return nil, err
	}
	c := &Cluster{plane: plane, ready: make(chan struct{})}
	if config.FakeNodes < 0 || config.FakeNodes > 1<<16 {
		return nil, fmt.Errorf("strake: %d simulated nodes: want 0 to 65536", config.FakeNodes)
	}
	nodes := slices.Clone(config.Nodes)
	for i := range config.FakeNodes {
		node, err := fakeNode(i)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	for _, node := range nodes {
		if err := c.add(node); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add makes a node that reaches the control plane without a socket, both ways.
func (c *Cluster) add(config NodeConfig) error {
	if config.Logger.IsZero() {
		config.Logger = c.plane.config.Logger
	}
	if config.Kubelet.HostnameOverride == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("strake: the node has no name: %w", err)
		}
		config.Kubelet.HostnameOverride = strings.ToLower(host)
	}
	if config.Kubelet.Client == nil {
		client, err := c.plane.client(&user.DefaultInfo{
			Name: "system:node:" + config.Kubelet.HostnameOverride, Groups: []string{user.NodesGroup, user.AllAuthenticated},
		})
		if err != nil {
			return err
		}
		config.Kubelet.Client = client
	}
	if config.Informers == nil {
		config.Informers = c.plane.informers
	}
	if config.Kubelet.Services == nil {
		config.Kubelet.Services = c.plane.informers.Core().V1().Services().Lister()
	}
	node, err := NewNode(config)
	if err != nil {
		return err
	}
	node.attach = c.plane.pipes.Serve
	c.nodes = append(c.nodes, node)
	return nil
}

// fakeNode is the i-th simulated node.
func fakeNode(i int) (NodeConfig, error) {
	// 198.18.0.0/15 is set aside for tests (RFC 2544): it can be no one's.
	third, fourth := byte(i>>8), byte(i)
	address := netip.AddrFrom4([4]byte{198, 18, third, fourth})
	name := fmt.Sprintf("fake-%d", i)
	// The addresses of its pods are of the reserved class E, 4096 for each node, so
	// that they differ from those of all other pods.
	pods := netip.PrefixFrom(netip.AddrFrom4([4]byte{240 | byte(i>>12), byte(i >> 4), byte(i << 4), 0}), 20)
	r, err := fake.New(fake.Config{PodCIDR: pods})
	if err != nil {
		return NodeConfig{}, err
	}
	return NodeConfig{Kubelet: kubelet.Config{
		Runtime:          r,
		HostnameOverride: name,
		PodCIDR:          pods.String(),
		NodeLabels:       map[string]string{"strake.io/simulated": "true"},
		Machine: &machine.Facts{
			CPUs: 32, Memory: 256 << 30, Disk: 1 << 40, Inodes: 1 << 26,
			Kernel: "simulated", OSImage: "simulated", Hostname: name, Addresses: []string{address.String()},
		},
	}}, nil
}

// ControlPlane of the cluster.
func (c *Cluster) ControlPlane() *ControlPlane { return c.plane }

// Nodes that run in this process.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Client is an administrator's, without a socket.
func (c *Cluster) Client() kubernetes.Interface { return c.plane.admin }

// RESTConfig is for other clients of an administrator in this process.
func (c *Cluster) RESTConfig() *rest.Config { return c.plane.RESTConfig(administrator) }

// Ready is closed when the control plane and all nodes are ready, and a pod may be
// scheduled to each of them. With NoControllers it is closed earlier, when the nodes are
// registered: who calls them fit for pods is then another program.
func (c *Cluster) Ready() <-chan struct{} { return c.ready }

// Run runs the cluster until ctx ends, and returns nil when all has stopped: the
// nodes first, then the control plane. It is called once.
func (c *Cluster) Run(ctx context.Context) error {
	parts := []stages.Stage{{Name: "control plane", Run: c.plane.Run, Ready: c.plane.Ready()}}
	if len(c.nodes) > 0 {
		var all []<-chan struct{}
		for _, node := range c.nodes {
			all = append(all, node.Ready())
		}
		parts = append(parts, stages.Stage{Name: "nodes", Run: c.runNodes}, waitFor("cluster", all...))
		if c.plane.runner != nil {
			parts = append(parts, c.nodesReady())
		}
	}
	return stages.Run(ctx, func() { close(c.ready) }, parts...)
}

// runNodes runs all nodes side by side; the first that fails ends them all.
func (c *Cluster) runNodes(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, node := range c.nodes {
		wg.Go(func() {
			if err := node.Run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && err != context.Canceled {
		return err
	}
	return nil
}
