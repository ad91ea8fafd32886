package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// BridgeConfig of the built-in network.
type BridgeConfig struct {
	// Name of the bridge interface; default "strake0". At most 15 bytes. Two
	// clusters on one machine take two names.
	Name string
	// Subnet of this machine's pods; default 10.244.0.0/24. The bridge takes its
	// first address. IPv4.
	Subnet netip.Prefix
	// StateDir holds the leases of addresses. Required, absolute.
	StateDir string
	// MTU of the pods' interfaces; 0 is the kernel's default. Lower it where pod
	// traffic is tunnelled on.
	MTU int
	// NoMasquerade leaves pod addresses on packets that leave the subnet. Set it
	// where the network outside knows the way back to pods.
	NoMasquerade bool
	// Direct lists ranges that are reached without masquerade, such as the
	// other machines' pods; default none.
	Direct []netip.Prefix
	// HostNetNS is the path of the network namespace that plays the machine;
	// default: the one of this process.
	HostNetNS string
	// Logger; the zero value discards.
	Logger logr.Logger
}

// Bridge connects pods by a Linux bridge, a veth pair each, with rules in an
// nftables table of its own. See [NewBridge].
type Bridge struct {
	config BridgeConfig
	ipam   ipam
	rules  rules

	// mu guards ensured and makes changes of the bridge and its rules one by one.
	mu      sync.Mutex
	ensured bool
}

var (
	_ Network  = (*Bridge)(nil)
	_ Retainer = (*Bridge)(nil)
)

// NewBridge checks the configuration. The bridge itself comes with the first pod.
func NewBridge(config BridgeConfig) (*Bridge, error) {
	if config.Name == "" {
		config.Name = "strake0"
	}
	if !config.Subnet.IsValid() {
		config.Subnet = netip.MustParsePrefix("10.244.0.0/24")
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	config.Subnet = config.Subnet.Masked()
	switch {
	case len(config.Name) > 15:
		return nil, fmt.Errorf("bridge network: name %q is longer than 15 bytes", config.Name)
	case !config.Subnet.Addr().Is4() || config.Subnet.Bits() > 30:
		return nil, fmt.Errorf("bridge network: subnet %v must be IPv4 and at least a /30", config.Subnet)
	case !filepath.IsAbs(config.StateDir):
		return nil, fmt.Errorf("bridge network: StateDir %q must be absolute", config.StateDir)
	}
	b := &Bridge{
		config: config,
		ipam:   ipam{dir: filepath.Join(config.StateDir, "leases"), subnet: config.Subnet},
	}
	b.rules = rules{
		table: "strake-" + config.Name, bridge: config.Name, subnet: config.Subnet,
		masquerade: !config.NoMasquerade, direct: config.Direct,
	}
	return b, nil
}

// hostInterface names a pod's end on the bridge.
func hostInterface(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "veth" + hex.EncodeToString(sum[:])[:8]
}

// Setup implements [Network].
func (b *Bridge) Setup(ctx context.Context, pod Pod) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, err := b.ipam.lease(pod.SandboxID)
	if err != nil {
		return Result{}, fmt.Errorf("bridge network: %w", err)
	}
	if err := Within(b.config.HostNetNS, func() error { return b.connect(pod, addr) }); err != nil {
		return Result{}, fmt.Errorf("bridge network: pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return Result{IPs: []netip.Addr{addr}}, nil
}

// connect runs in the machine's namespace, with mu held.
func (b *Bridge) connect(pod Pod, addr netip.Addr) error {
	bridge, err := b.ensure()
	if err != nil {
		return err
	}
	ns, err := netns.GetFromPath(pod.NetNS)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", pod.NetNS, err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", pod.NetNS, err)
	}
	defer inside.Close()

	name := hostInterface(pod.SandboxID)
	if _, err := inside.LinkByName("eth0"); err != nil {
		if old, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(old) // of a try that was cut short
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = name, b.config.MTU, bridge.Attrs().Index
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("making interface %s: %w", name, err)
		}
	}
	outer, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := netlink.LinkSetMaster(outer, bridge); err != nil {
		return fmt.Errorf("adding %s to %s: %w", name, b.config.Name, err)
	}
	// Hairpin lets a pod reach itself through a service where the kernel hands
	// bridged packets to the firewall (br_netfilter), which turns them in the bridge.
	if err := netlink.LinkSetHairpin(outer, true); err != nil {
		return fmt.Errorf("hairpin mode of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(outer); err != nil {
		return fmt.Errorf("interface %s up: %w", name, err)
	}
	if err := configureInside(inside, addr, b.config.Subnet); err != nil {
		return err
	}
	return b.rules.setPorts(pod.SandboxID, addr, pod.Ports)
}

func configureInside(inside *netlink.Handle, addr netip.Addr, subnet netip.Prefix) error {
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("pod interface lo: %w", err)
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return fmt.Errorf("pod interface lo up: %w", err)
	}
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("pod interface eth0: %w", err)
	}
	// The gateway is all that a pod sees of the subnet, so that what it sends to
	// its neighbours is routed. Bridged, the answer of a neighbour that was reached
	// through a service would bypass the translation back, and be foreign to the
	// pod that asked.
	if err := inside.AddrReplace(eth, &netlink.Addr{IPNet: only(addr)}); err != nil {
		return fmt.Errorf("pod address %v: %w", addr, err)
	}
	if err := inside.LinkSetUp(eth); err != nil {
		return fmt.Errorf("pod interface eth0 up: %w", err)
	}
	gw := gateway(subnet)
	all := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	for _, route := range []*netlink.Route{
		{LinkIndex: eth.Attrs().Index, Dst: only(gw), Scope: netlink.SCOPE_LINK},
		{LinkIndex: eth.Attrs().Index, Dst: all, Gw: gw.AsSlice()},
	} {
		if err := inside.RouteReplace(route); err != nil {
			return fmt.Errorf("pod route to %v: %w", route.Dst, err)
		}
	}
	return nil
}

// only is the network of one address.
func only(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}

// ensure makes the bridge, its address, forwarding and the table. The bridge is
// looked up each time, since people delete interfaces.
func (b *Bridge) ensure() (netlink.Link, error) {
	bridge, err := netlink.LinkByName(b.config.Name)
	if err == nil && b.ensured {
		return bridge, nil
	}
	if err != nil {
		if !errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil, fmt.Errorf("bridge %s: %w", b.config.Name, err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = b.config.Name, b.config.MTU
		// A bridge without an address of its own takes its lowest port's, and
		// changes it as pods come and go, which cuts connections.
		attrs.HardwareAddr = bridgeHardwareAddr(gateway(b.config.Subnet))
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("making bridge %s: %w", b.config.Name, err)
		}
		if bridge, err = netlink.LinkByName(b.config.Name); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", b.config.Name, err)
		}
	}
	if bridge.Type() != "bridge" {
		return nil, fmt.Errorf("interface %s is a %s, not a bridge", b.config.Name, bridge.Type())
	}
	own := &netlink.Addr{IPNet: &net.IPNet{IP: gateway(b.config.Subnet).AsSlice(), Mask: net.CIDRMask(b.config.Subnet.Bits(), 32)}}
	if err := netlink.AddrReplace(bridge, own); err != nil {
		return nil, fmt.Errorf("address of bridge %s: %w", b.config.Name, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bridge %s up: %w", b.config.Name, err)
	}
	if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return nil, fmt.Errorf("switching on IP forwarding: %w", err)
	}
	// Host ports answer on 127.0.0.1 too.
	if err := sysctl("net/ipv4/conf/"+b.config.Name+"/route_localnet", "1"); err != nil {
		return nil, fmt.Errorf("routing of 127.0.0.1 to %s: %w", b.config.Name, err)
	}
	if err := b.rules.ensure(); err != nil {
		return nil, err
	}
	b.ensured = true
	return bridge, nil
}

// bridgeHardwareAddr is a locally administered address made of the gateway's.
func bridgeHardwareAddr(gw netip.Addr) net.HardwareAddr {
	ip := gw.As4()
	return net.HardwareAddr{0x0a, 0x58, ip[0], ip[1], ip[2], ip[3]}
}

// Teardown implements [Network].
func (b *Bridge) Teardown(_ context.Context, pod Pod) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.teardown(pod.SandboxID)
}

func (b *Bridge) teardown(id string) error {
	err := Within(b.config.HostNetNS, func() error {
		var errs []error
		if link, err := netlink.LinkByName(hostInterface(id)); err == nil {
			if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, fmt.Errorf("removing interface %s: %w", hostInterface(id), err))
			}
		}
		return errors.Join(append(errs, b.rules.removePorts(id))...)
	})
	// The address comes last, so that nobody else gets it while it is in use.
	if err == nil {
		err = b.ipam.release(func(owner string) bool { return owner == id })
	}
	if err != nil {
		return fmt.Errorf("bridge network: sandbox %s: %w", id, err)
	}
	return nil
}

// Retain implements [Retainer].
func (b *Bridge) Retain(_ context.Context, sandboxIDs []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	owners, err := b.ipam.owners()
	if err != nil {
		return fmt.Errorf("bridge network: %w", err)
	}
	var errs []error
	for _, id := range owners {
		if !slices.Contains(sandboxIDs, id) {
			errs = append(errs, b.teardown(id))
		}
	}
	return errors.Join(errs...)
}

// Status implements [Network].
func (b *Bridge) Status(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Within(b.config.HostNetNS, func() error {
		if b.ensured {
			intact, err := b.rules.intact()
			if err != nil {
				return err
			}
			if !intact {
				b.config.Logger.Info("the network's nftables table was removed; making it again, without the host ports of pods that run", "table", b.rules.table)
				b.ensured = false
			}
		}
		_, err := b.ensure()
		return err
	})
}

// Cleanup removes the bridge, its rules and all leases: for when the cluster leaves
// the machine. Pods lose their network.
func (b *Bridge) Cleanup(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ensured = false
	owners, err := b.ipam.owners()
	errs := []error{err}
	for _, id := range owners {
		errs = append(errs, b.teardown(id))
	}
	errs = append(errs, Within(b.config.HostNetNS, func() error {
		var errs []error
		if link, err := netlink.LinkByName(b.config.Name); err == nil {
			errs = append(errs, netlink.LinkDel(link))
		}
		return errors.Join(append(errs, b.rules.remove())...)
	}))
	return errors.Join(errs...)
}
