package program

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/kubelet/cgroups"
	"github.com/strake-io/strake/proxy/nftables"
)

// NodeConfig is this machine's node, with its containers and its services.
func NodeConfig(f *Flags, c *Containers, log logr.Logger) (strake.NodeConfig, *nftables.Proxier, error) {
	groups, err := cgroups.New(cgroups.Config{Root: "/strake/" + instance(f)})
	if err != nil {
		return strake.NodeConfig{}, nil, fmt.Errorf("cgroups: %w", err)
	}
	c.groups = groups
	proxier, err := nftables.New(nftables.Config{LocalhostNodePorts: true, Logger: log.WithName("proxy")})
	if err != nil {
		return strake.NodeConfig{}, nil, err
	}
	config := strake.NodeConfig{
		Logger:  log,
		Proxier: proxier,
		Kubelet: kubelet.Config{
			Runtime:          c.Runtime,
			HostnameOverride: f.HostnameOverride,
			RootDir:          filepath.Join(f.DataDir, "kubelet"),
			PodLogsDir:       filepath.Join(f.DataDir, "logs"),
			Cgroups:          groups,
		},
	}
	if f.NodeIP != "" {
		config.Kubelet.NodeIP = []string{f.NodeIP}
	}
	if c.network != nil {
		config.Kubelet.PodCIDR = f.PodCIDR
	}
	return config, proxier, nil
}

// Gateway is the address of the machine that its pods see: the first of their
// range.
func Gateway(f *Flags) (netip.Addr, error) {
	prefix, err := netip.ParsePrefix(f.PodCIDR)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--pod-cidr: %w", err)
	}
	return prefix.Masked().Addr().Next(), nil
}
