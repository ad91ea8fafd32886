package nftables

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// base is the fixed part of a table: the sets, the hooks, and the rules that look
// services up. It never changes while services come and go.
//
//	nat prerouting, output   → dispatch: vips, then node-ports → the service port's chain (DNAT)
//	filter input, forward, output, new connections → refuse: refused-vips, refused-node-ports
//	nat postrouting          → masquerade what is marked, and pods that reached themselves
//	filter prerouting (raw)  → guard: nobody on the network reaches 127.0.0.0/8
type base struct {
	*family
	table *nftables.Table
	// localhost also serves node ports on the loopback addresses.
	localhost bool
}

const (
	chainDispatch    = "dispatch"
	chainRefuse      = "refuse"
	chainPrerouting  = "nat-prerouting"
	chainOutput      = "nat-output"
	chainPostrouting = "nat-postrouting"
	chainGuard       = "guard-loopback"
)

// addSets adds the fixed sets to an empty table.
func (b *base) addSets(conn *nftables.Conn) error {
	for _, name := range fixedSets {
		if err := conn.AddSet(b.named(name), nil); err != nil {
			return err
		}
	}
	return nil
}

// addRules adds the fixed chains, in place of what they hold.
func (b *base) addRules(conn *nftables.Conn) {
	dispatch := b.chain(conn, chainDispatch)
	b.rule(conn, dispatch, b.toService(setVIPs))
	b.rule(conn, dispatch, b.toNode(b.localhost), toNodePort(setNodePorts))

	reject := b.chain(conn, chainReject)
	b.rule(conn, reject, []expr.Any{loadProtocol(reg(0)), equal(reg(0), protoTCP), &expr.Reject{Type: 1 /* TCP reset */}})
	b.rule(conn, reject, []expr.Any{&expr.Reject{Type: 0 /* ICMP unreachable */, Code: b.reject}})

	refuse := b.chain(conn, chainRefuse)
	b.rule(conn, refuse, b.toService(setRefusedVIPs))
	b.rule(conn, refuse, b.toNode(true), toNodePort(setRefusedNodePorts))

	jump := func(to string) []expr.Any { return []expr.Any{verdict(expr.VerdictJump, to)} }
	b.rule(conn, b.hook(conn, chainPrerouting, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), jump(chainDispatch))
	b.rule(conn, b.hook(conn, chainOutput, nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), jump(chainDispatch))
	for _, hook := range []struct {
		name string
		at   *nftables.ChainHook
	}{
		{"filter-input", nftables.ChainHookInput},
		{"filter-forward", nftables.ChainHookForward},
		{"filter-output", nftables.ChainHookOutput},
	} {
		// Before the host's own filter, which may drop what should be refused.
		c := b.hook(conn, hook.name, nftables.ChainTypeFilter, hook.at, nftables.ChainPriorityRef(-110))
		b.rule(conn, c, newConnection(), jump(chainRefuse))
	}

	post := b.hook(conn, chainPostrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	b.rule(conn, post, []expr.Any{
		loadMark(), bits(masqueradeMark, 0), notEqual(reg(0), binaryutil.NativeEndian.PutUint32(0)...),
		loadMark(), bits(^uint32(masqueradeMark), 0), storeMark(),
		&expr.Masq{FullyRandom: true},
	})
	b.rule(conn, post, []expr.Any{
		b.loadSource(reg(0)), b.loadDestination(reg(b.words())),
		&expr.Lookup{SourceRegister: reg(0), SetName: setHairpin},
		&expr.Masq{},
	})

	if b.localhost {
		guard := b.hook(conn, chainGuard, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
		b.rule(conn, guard, notLoopbackDevice(), []expr.Any{b.loadDestination(reg(0))}, within(reg(0), b.loopback, expr.CmpOpEq),
			[]expr.Any{verdict(expr.VerdictDrop, "")})
	}
}

func newConnection() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg(0)},
		bits(expr.CtStateBitNEW, 0),
		notEqual(reg(0), binaryutil.NativeEndian.PutUint32(0)...),
	}
}

func notLoopbackDevice() []expr.Any {
	name := make([]byte, 16)
	copy(name, "lo")
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg(0)}, notEqual(reg(0), name...)}
}

func (b *base) chain(conn *nftables.Conn, name string) *nftables.Chain {
	return emptyChain(conn, &nftables.Chain{Table: b.table, Name: name})
}

func (b *base) hook(conn *nftables.Conn, name string, typ nftables.ChainType, at *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return emptyChain(conn, &nftables.Chain{Table: b.table, Name: name, Type: typ, Hooknum: at, Priority: priority})
}

// emptyChain makes a chain, or empties it where it is there.
func emptyChain(conn *nftables.Conn, chain *nftables.Chain) *nftables.Chain {
	conn.AddChain(chain)
	conn.FlushChain(chain)
	return chain
}

func (b *base) rule(conn *nftables.Conn, chain *nftables.Chain, parts ...[]expr.Any) {
	var exprs []expr.Any
	for _, part := range parts {
		exprs = append(exprs, part...)
	}
	conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: exprs})
}

func (b *base) verdictMap(name string, key nftables.SetDatatype) *nftables.Set {
	return &nftables.Set{Table: b.table, Name: name, ID: setID(name), IsMap: true, KeyType: key, DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian}
}

// fixedSets are the names of the sets, in the order of their numbers.
var fixedSets = []string{setVIPs, setNodePorts, setRefusedVIPs, setRefusedNodePorts, setHairpin}

func (b *base) set(name string) *nftables.Set {
	return &nftables.Set{Table: b.table, Name: name, ID: setID(name), KeyType: b.pairKey(), KeyByteOrder: binaryutil.BigEndian}
}

// named finds one of the fixed sets.
func (b *base) named(name string) *nftables.Set {
	switch name {
	case setHairpin:
		return b.set(name)
	case setNodePorts, setRefusedNodePorts:
		return b.verdictMap(name, portKey())
	default:
		return b.verdictMap(name, b.addressKey())
	}
}

// setID numbers the fixed sets within a transaction; others count on from
// firstFreeID. (The library would draw numbers from a variable of its package,
// which two proxiers would race for.)
func setID(name string) uint32 {
	if i := slices.Index(fixedSets, name); i >= 0 {
		return uint32(i + 1)
	}
	panic("nftables: not a fixed set: " + name)
}

const firstFreeID = 16
