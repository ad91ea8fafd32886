package nftables

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// family is in what the rules for IPv4 and IPv6 differ.
type family struct {
	v6       bool
	table    nftables.TableFamily
	nat      uint32
	addrType nftables.SetDatatype
	addrLen  uint32
	src, dst uint32 // offsets of the addresses in the IP header
	loopback netip.Prefix
	// reject is the ICMP answer "port unreachable".
	reject uint8
}

var (
	ipv4 = &family{
		table: nftables.TableFamilyIPv4, nat: unix.NFPROTO_IPV4, addrType: nftables.TypeIPAddr, addrLen: 4,
		src: 12, dst: 16, loopback: netip.MustParsePrefix("127.0.0.0/8"), reject: 3,
	}
	ipv6 = &family{
		v6: true, table: nftables.TableFamilyIPv6, nat: unix.NFPROTO_IPV6, addrType: nftables.TypeIP6Addr, addrLen: 16,
		src: 8, dst: 24, loopback: netip.MustParsePrefix("::1/128"), reject: 4,
	}
)

// reg is the n-th 4-byte register. Addresses begin at reg(0); what is
// concatenated to one stands at reg(f.words()).
func reg(n uint32) uint32 { return unix.NFT_REG32_00 + n }

func (f *family) words() uint32 { return f.addrLen / 4 }

// addressKey is the type (address, protocol, port); it also is the layout of
// bytes that key writes and destination loads.
func (f *family) addressKey() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addrType, nftables.TypeInetProto, nftables.TypeInetService)
}

func portKey() nftables.SetDatatype {
	return nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
}

func (f *family) pairKey() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addrType, f.addrType)
}

// endpointType is (address, port), what a packet is sent on to.
func (f *family) endpointType() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addrType, nftables.TypeInetService)
}

// key encodes an element's key; each part fills whole registers.
func (e element) key() []byte {
	var key []byte
	switch e.set {
	case setHairpin:
		key = append(e.addr.AsSlice(), e.addr.AsSlice()...)
	case setVIPs, setRefusedVIPs:
		key = append(e.addr.AsSlice(), e.proto, 0, 0, 0, byte(e.port>>8), byte(e.port), 0, 0)
	default:
		key = append(key, e.proto, 0, 0, 0, byte(e.port>>8), byte(e.port), 0, 0)
	}
	return key
}

func endpointValue(ep netip.AddrPort) []byte {
	return append(ep.Addr().AsSlice(), byte(ep.Port()>>8), byte(ep.Port()), 0, 0)
}

// The expressions that rules are made of.

func (f *family) loadSource(to uint32) expr.Any {
	return &expr.Payload{DestRegister: to, Base: expr.PayloadBaseNetworkHeader, Offset: f.src, Len: f.addrLen}
}

func (f *family) loadDestination(to uint32) expr.Any {
	return &expr.Payload{DestRegister: to, Base: expr.PayloadBaseNetworkHeader, Offset: f.dst, Len: f.addrLen}
}

func loadProtocol(to uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: to} }

func loadPort(to uint32) expr.Any {
	return &expr.Payload{DestRegister: to, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func equal(register uint32, data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

func notEqual(register uint32, data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: data}
}

// within compares the address at a register with a prefix.
func within(register uint32, prefix netip.Prefix, op expr.CmpOp) []expr.Any {
	length := uint32(prefix.Addr().BitLen() / 8)
	mask := make([]byte, length)
	for i := range prefix.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: op, Register: register, Data: prefix.Masked().Addr().AsSlice()},
	}
}

func verdict(kind expr.VerdictKind, chain string) *expr.Verdict {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

// lookup in a named set; what the key leads to is carried out at once.
func lookupVerdict(set string) expr.Any {
	return &expr.Lookup{SourceRegister: reg(0), SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

// toService loads (address, protocol, port) and looks it up.
func (f *family) toService(set string) []expr.Any {
	return []expr.Any{
		f.loadDestination(reg(0)), loadProtocol(reg(f.words())), loadPort(reg(f.words() + 1)), lookupVerdict(set),
	}
}

// toNode is true for packets to the node's own addresses.
func (f *family) toNode(loopbackToo bool) []expr.Any {
	const local = 2 // RTN_LOCAL
	exprs := []expr.Any{
		&expr.Fib{Register: reg(0), FlagDADDR: true, ResultADDRTYPE: true},
		equal(reg(0), binaryutil.NativeEndian.PutUint32(local)...),
	}
	if !loopbackToo {
		exprs = append(exprs, f.loadDestination(reg(0)))
		exprs = append(exprs, within(reg(0), f.loopback, expr.CmpOpNeq)...)
	}
	return exprs
}

// toNodePort loads (protocol, port) and looks it up.
func toNodePort(set string) []expr.Any {
	return []expr.Any{loadProtocol(reg(0)), loadPort(reg(1)), lookupVerdict(set)}
}

// The mark that asks for masquerading: one bit, upstream's.
const masqueradeMark = 0x4000

func loadMark() expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg(0)} }

func storeMark() expr.Any {
	return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg(0), SourceRegister: true}
}

// bits computes reg(0) = reg(0) & mask ^ xor.
func bits(mask, xor uint32) expr.Any {
	return &expr.Bitwise{
		SourceRegister: reg(0), DestRegister: reg(0), Len: 4,
		Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: binaryutil.NativeEndian.PutUint32(xor),
	}
}
