package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	gocni "github.com/containerd/go-cni"
	"github.com/vishvananda/netlink"

	"github.com/strake-io/strake/runtime"
)

// CNIConfig of a network made by CNI plugins (https://www.cni.dev).
type CNIConfig struct {
	// ConfDir holds the network configuration, the first file by name counts;
	// default /etc/cni/net.d.
	ConfDir string
	// BinDirs are searched for plugins; default /opt/cni/bin.
	BinDirs []string
}

// CNI connects pods by the plugins that the machine's CNI configuration names.
type CNI struct {
	config CNIConfig
	cni    gocni.CNI

	mu     sync.Mutex // guards loaded and loading
	loaded bool
}

var _ Network = (*CNI)(nil)

// HasCNI says whether a directory ("" is the default) holds a CNI configuration.
func HasCNI(confDir string) bool {
	if confDir == "" {
		confDir = gocni.DefaultNetDir
	}
	for _, pattern := range []string{"*.conf", "*.conflist", "*.json"} {
		if found, err := filepath.Glob(filepath.Join(confDir, pattern)); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// NewCNI checks the configuration; the plugins' is read with the first pod, and
// again while there is none.
func NewCNI(config CNIConfig) (*CNI, error) {
	if config.ConfDir == "" {
		config.ConfDir = gocni.DefaultNetDir
	}
	if len(config.BinDirs) == 0 {
		config.BinDirs = []string{gocni.DefaultCNIDir}
	}
	cni, err := gocni.New(
		gocni.WithMinNetworkCount(1), gocni.WithInterfacePrefix("eth"),
		gocni.WithPluginConfDir(config.ConfDir), gocni.WithPluginDir(config.BinDirs),
	)
	if err != nil {
		return nil, fmt.Errorf("cni network: %w", err)
	}
	return &CNI{config: config, cni: cni}, nil
}

func (c *CNI) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded {
		return nil
	}
	if err := c.cni.Load(gocni.WithDefaultConf); err != nil {
		return fmt.Errorf("cni network: %w", err)
	}
	c.loaded = true
	return nil
}

// Setup implements [Network].
func (c *CNI) Setup(ctx context.Context, pod Pod) (Result, error) {
	if err := c.load(); err != nil {
		return Result{}, err
	}
	if err := loopbackUp(pod.NetNS); err != nil {
		return Result{}, fmt.Errorf("cni network: %w", err)
	}
	result, err := c.cni.Setup(ctx, pod.SandboxID, pod.NetNS, options(pod)...)
	if err != nil {
		return Result{}, fmt.Errorf("cni network: pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	var out Result
	names := make([]string, 0, len(result.Interfaces))
	for name := range result.Interfaces {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "lo" || result.Interfaces[name].Sandbox == "" {
			continue
		}
		for _, ip := range result.Interfaces[name].IPConfigs {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				out.IPs = append(out.IPs, addr.Unmap())
			}
		}
	}
	if len(out.IPs) == 0 {
		return Result{}, errors.Join(
			fmt.Errorf("cni network: pod %s/%s: the plugins gave no address", pod.Namespace, pod.Name),
			c.Teardown(ctx, pod))
	}
	return out, nil
}

// Teardown implements [Network].
func (c *CNI) Teardown(ctx context.Context, pod Pod) error {
	if err := c.load(); err != nil {
		return err
	}
	if err := c.cni.Remove(ctx, pod.SandboxID, pod.NetNS, options(pod)...); err != nil {
		return fmt.Errorf("cni network: pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// Status implements [Network].
func (c *CNI) Status(context.Context) error {
	if err := c.load(); err != nil {
		return err
	}
	return c.cni.Status()
}

func options(pod Pod) []gocni.NamespaceOpts {
	labels := map[string]string{
		"K8S_POD_NAMESPACE": pod.Namespace, "K8S_POD_NAME": pod.Name, "K8S_POD_UID": pod.UID,
		"K8S_POD_INFRA_CONTAINER_ID": pod.SandboxID, "IgnoreUnknown": "1",
	}
	return []gocni.NamespaceOpts{gocni.WithLabels(labels), gocni.WithCapabilityPortMap(portMap(pod.Ports))}
}

func portMap(ports []runtime.PortMapping) []gocni.PortMapping {
	var out []gocni.PortMapping
	for _, p := range ports {
		if p.HostPort > 0 {
			out = append(out, gocni.PortMapping{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: p.Protocol, HostIP: p.HostIP})
		}
	}
	return out
}

func loopbackUp(ns string) error {
	return Within(ns, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
}
