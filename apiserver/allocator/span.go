package allocator

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
)

// longestHost is how many bits of an IPv6 range may be free, as upstream has it.
const longestHost = 64

// span is those addresses of a range that services may have: all but the network's
// own and, of an IPv4 range, the one for broadcasts.
type span struct {
	first, last netip.Addr
	// size counts them, as far as an int reaches.
	size uint64
	// band is how many of them, from the first on, are left to those who ask for a
	// certain one.
	band uint64
}

// spanOf fails for a range in which there are no such addresses, or too many.
func spanOf(cidr netip.Prefix) (span, error) {
	if !cidr.IsValid() {
		return span{}, fmt.Errorf("allocator: %q is no address range", cidr)
	}
	network := cidr.Masked().Addr()
	host := network.BitLen() - cidr.Bits()
	if host > longestHost {
		return span{}, fmt.Errorf("allocator: the shortest prefix of a range of cluster IPs has %d bits, %s has %d", network.BitLen()-longestHost, cidr, cidr.Bits())
	}
	// With all 64 bits free this wraps, as it should.
	ends := uint64(1)<<host - 1
	s := span{first: network.Next(), last: plus(network, ends), size: ends}
	if network.Is4() {
		s.last = s.last.Prev()
		s.size = max(s.size, 1) - 1
	}
	if s.size == 0 {
		return span{}, fmt.Errorf("allocator: the range %s is too small to allocate addresses from", cidr)
	}
	// The size of the band goes by the whole range.
	s.band = staticBand(max(ends, ends+1), 16, 256)
	s.size = min(s.size, math.MaxInt)
	return s, nil
}

// plus is the address n places behind a, which stays within the range that a is of.
func plus(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		raw := a.As4()
		binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+uint32(n))
		return netip.AddrFrom4(raw)
	}
	raw := a.As16()
	low := raw[8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)+n)
	return netip.AddrFrom16(raw)
}

func (s *span) at(n uint64) netip.Addr { return plus(s.first, n) }

func (s *span) contains(ip netip.Addr) bool {
	return ip.BitLen() == s.first.BitLen() && s.first.Compare(ip) <= 0 && ip.Compare(s.last) <= 0
}

func holder(spans []span, ip netip.Addr) bool {
	for i := range spans {
		if spans[i].contains(ip) {
			return true
		}
	}
	return false
}
