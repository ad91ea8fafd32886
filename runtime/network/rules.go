package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
)

// rules is the nftables table of a bridge. In nft's words:
//
//	table ip strake-NAME {
//	  chain postrouting { type nat hook postrouting priority srcnat
//	    ip saddr SUBNET ip daddr DIRECT accept
//	    ip saddr SUBNET oifname != NAME masquerade
//	    oifname NAME ip saddr 127.0.0.0/8 masquerade
//	    oifname NAME ct status dnat jump hairpin
//	  }
//	  chain hairpin { ip saddr 10.244.0.5 ip daddr 10.244.0.5 masquerade ... }   # a pod to its own host port
//	  chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump hostports }
//	  chain output     { type nat hook output priority dstnat;     fib daddr type local jump hostports }
//	  chain hostports  { meta l4proto tcp tcp dport 8080 dnat to 10.244.0.5:80 ... }
//	  chain redirects  { type filter hook output priority filter; oifname NAME icmp type redirect drop }
//	}
//
// Packets from pod to pod come in by the bridge and leave by it. The kernel then
// tells the sender of a shorter way, which there is not: hence the last chain.
type rules struct {
	table, bridge string
	subnet        netip.Prefix
	masquerade    bool
	direct        []netip.Prefix
}

// Chains whose rules are the pods', each marked with its sandbox.
const (
	chainHostPorts = "hostports"
	chainHairpin   = "hairpin"
)

func (r *rules) tableValue() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: r.table}
}

// ensure replaces the fixed chains in one transaction; hostports and hairpin keep
// their rules.
func (r *rules) ensure() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := c.AddTable(r.tableValue())
	hostports := c.AddChain(&nftables.Chain{Name: chainHostPorts, Table: table})
	hairpin := c.AddChain(&nftables.Chain{Name: chainHairpin, Table: table})
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		chain := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
		c.FlushChain(chain)
		return chain
	}
	pre := base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	out := base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	post := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	redirects := base("redirects", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter)
	for _, chain := range []*nftables.Chain{pre, out} {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
			&expr.Verdict{Kind: expr.VerdictJump, Chain: hostports.Name},
		}})
	}
	if r.masquerade {
		for _, to := range r.direct {
			c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: join(
				address(offsetSource, r.subnet), address(offsetDestination, to),
				[]expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})})
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: join(
			address(offsetSource, r.subnet), outInterface(expr.CmpOpNeq, r.bridge), []expr.Any{&expr.Masq{}})})
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: join(
		outInterface(expr.CmpOpEq, r.bridge), address(offsetSource, netip.MustParsePrefix("127.0.0.0/8")), []expr.Any{&expr.Masq{}})})
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: join(
		outInterface(expr.CmpOpEq, r.bridge), statusDNAT(), []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: hairpin.Name}})})
	c.AddRule(&nftables.Rule{Table: table, Chain: redirects, Exprs: join(outInterface(expr.CmpOpEq, r.bridge), icmpRedirect(), []expr.Any{
		&expr.Verdict{Kind: expr.VerdictDrop}})})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: %w", r.table, err)
	}
	return nil
}

// setPorts makes the host ports of a sandbox exactly these.
func (r *rules) setPorts(id string, addr netip.Addr, ports []runtime.PortMapping) error {
	if err := r.removePorts(id); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	chain := &nftables.Chain{Name: chainHostPorts, Table: r.tableValue()}
	any := false
	for _, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		exprs, err := portRule(p, addr)
		if err != nil {
			return err
		}
		c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs, UserData: []byte(id)})
		any = true
	}
	if !any {
		return nil
	}
	itself := netip.PrefixFrom(addr, 32)
	c.AddRule(&nftables.Rule{
		Table: chain.Table, Chain: &nftables.Chain{Name: chainHairpin, Table: chain.Table}, UserData: []byte(id),
		Exprs: join(address(offsetSource, itself), address(offsetDestination, itself), []expr.Any{&expr.Masq{}}),
	})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables host ports: %w", err)
	}
	return nil
}

func portRule(p runtime.PortMapping, addr netip.Addr) ([]expr.Any, error) {
	protocols := map[string]byte{"": unix.IPPROTO_TCP, "TCP": unix.IPPROTO_TCP, "UDP": unix.IPPROTO_UDP, "SCTP": unix.IPPROTO_SCTP}
	protocol, ok := protocols[strings.ToUpper(p.Protocol)]
	if !ok {
		return nil, fmt.Errorf("host port %d: protocol %q is not known", p.HostPort, p.Protocol)
	}
	var exprs []expr.Any
	if p.HostIP != "" {
		ip, err := netip.ParseAddr(p.HostIP)
		if err != nil {
			return nil, fmt.Errorf("host port %d: %w", p.HostPort, err)
		}
		if !ip.IsUnspecified() && ip.Is4() {
			exprs = append(exprs, address(offsetDestination, netip.PrefixFrom(ip, 32))...)
		}
	}
	return append(exprs,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(p.HostPort))},
		&expr.Immediate{Register: 1, Data: addr.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(uint16(p.ContainerPort))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	), nil
}

// removePorts removes the host ports of a sandbox, which its rules name.
func (r *rules) removePorts(id string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	any := false
	for _, name := range []string{chainHostPorts, chainHairpin} {
		chain := &nftables.Chain{Name: name, Table: r.tableValue()}
		present, err := c.GetRules(chain.Table, chain)
		if err != nil {
			if there, lookErr := r.present(c, name); lookErr == nil && !there {
				continue // no chain, no rule
			}
			return fmt.Errorf("nftables host ports: %w", err)
		}
		for _, rule := range present {
			if bytes.Equal(rule.UserData, []byte(id)) {
				if err := c.DelRule(rule); err != nil {
					return fmt.Errorf("nftables host ports: %w", err)
				}
				any = true
			}
		}
	}
	if !any {
		return nil
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables host ports: %w", err)
	}
	return nil
}

// present says whether the table has the chain.
func (r *rules) present(c *nftables.Conn, chain string) (bool, error) {
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	return slices.ContainsFunc(all, func(have *nftables.Chain) bool { return have.Table.Name == r.table && have.Name == chain }), nil
}

// intact says whether the table is there: tools that load a machine's firewall
// anew begin by removing all others'.
func (r *rules) intact() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	return r.present(c, "postrouting")
}

// remove deletes the table; absent is fine.
func (r *rules) remove() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	c.AddTable(r.tableValue()) // so that deleting can't miss
	c.DelTable(r.tableValue())
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: %w", r.table, err)
	}
	return nil
}

const (
	offsetSource      = 12 // of the addresses in an IPv4 header
	offsetDestination = 16
)

// address matches an address of the packet against a range.
func address(offset uint32, in netip.Prefix) []expr.Any {
	mask := make([]byte, 4)
	for i := range in.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: in.Masked().Addr().AsSlice()},
	}
}

func outInterface(op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, 16)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: padded},
	}
}

// icmpRedirect matches ICMP's advice of another way.
func icmpRedirect() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{5}},
	}
}

// statusDNAT matches connections whose destination was changed.
func statusDNAT() []expr.Any {
	bit := binaryutil.NativeEndian.PutUint32(1 << 5) // IPS_DST_NAT
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bit, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
