package nftables

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// A netlink attribute holds 64 KiB: elements travel in pieces of this many.
	elementsPerMessage = 256
	// chainsPerTransaction bounds the memory of one transaction in the kernel
	// and in the socket's buffer. A larger change is applied in several, in an
	// order in which each by itself is sound.
	chainsPerTransaction = 1000
	affinitySize         = 65536
)

// transaction writes changes to one table.
type transaction struct {
	*base
	conn   *nftables.Conn
	nextID uint32
}

// apply carries the changes out. Chains come before the elements that lead to
// them, and go after.
func (t *transaction) apply(c *changes) error {
	for chunk := range slices.Chunk(sortedKeys(c.setChains), chainsPerTransaction) {
		for _, name := range chunk {
			if err := t.setChain(name, c); err != nil {
				return err
			}
		}
		if len(c.setChains) > chainsPerTransaction {
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	if err := t.changeElements(c); err != nil {
		return err
	}
	if len(c.delChains) > chainsPerTransaction {
		if err := t.flush(); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(c.delChains, chainsPerTransaction) {
		for _, name := range chunk {
			chain := &nftables.Chain{Table: t.table, Name: name}
			t.conn.FlushChain(chain)
			t.conn.DelChain(chain)
			if c.oldContent[name].affinity > 0 {
				t.conn.DelSet(&nftables.Set{Table: t.table, Name: affinityMap(name)})
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return t.flush()
}

// rewrite queues the fixed part again, and makes c write all that is in s, over
// what is there. What somebody else changed in between is so put right, in the
// same transactions, and what clients stick to stays.
func (t *transaction) rewrite(s *state, c *changes) {
	t.addRules(t.conn)
	for _, service := range s.services {
		for name, content := range service.chains {
			if _, changed := c.setChains[name]; !changed {
				c.setChains[name], c.oldContent[name] = content, content
			}
		}
	}
	c.all = map[element]string{}
	for e := range s.claims {
		c.all[e] = s.target(e)
	}
}

func (t *transaction) flush() error {
	t.nextID = firstFreeID
	return t.conn.Flush()
}

func affinityMap(chain string) string { return "affinity/" + chain }

// setChain makes or rewrites one service port's chain.
func (t *transaction) setChain(name string, c *changes) error {
	chain := &nftables.Chain{Table: t.table, Name: name}
	content := c.setChains[name]
	old, existed := c.oldContent[name]
	emptyChain(t.conn, chain)
	if existed && old.affinity > 0 && old.affinity != content.affinity {
		t.conn.DelSet(&nftables.Set{Table: t.table, Name: affinityMap(name)})
	}
	if content.affinity > 0 && (!existed || old.affinity != content.affinity) {
		if err := t.addAffinityMap(name, content.affinity); err != nil {
			return err
		}
	}

	if len(content.sources) > 0 {
		if err := t.allowSources(chain, content); err != nil {
			return err
		}
	}
	if content.masquerade {
		t.rule(t.conn, chain, []expr.Any{loadMark(), bits(^uint32(masqueradeMark), masqueradeMark), storeMark()})
	}
	if content.affinity > 0 {
		if err := t.stick(chain, content); err != nil {
			return err
		}
	}
	return t.spread(chain, content)
}

// allowSources drops what comes from elsewhere than the allowed prefixes.
func (t *transaction) allowSources(chain *nftables.Chain, content chain) error {
	set := &nftables.Set{
		Table: t.table, Name: "__set%d", ID: t.id(), Anonymous: true, Constant: true, Interval: true,
		KeyType: t.addrType,
	}
	var elements []nftables.SetElement
	for _, span := range mergePrefixes(content.sources) {
		elements = append(elements, nftables.SetElement{Key: span.first.AsSlice()})
		if span.after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: span.after.AsSlice(), IntervalEnd: true})
		}
	}
	if err := t.addConstant(set, elements); err != nil {
		return err
	}
	t.rule(t.conn, chain, []expr.Any{
		t.loadSource(reg(0)),
		&expr.Lookup{SourceRegister: reg(0), SetName: set.Name, SetID: set.ID, Invert: true},
		verdict(expr.VerdictDrop, ""),
	})
	return nil
}

// stick sends a known client to the endpoint it had, as long as that is still one
// of the service, and renews its time.
func (t *transaction) stick(chain *nftables.Chain, content chain) error {
	valid := &nftables.Set{
		Table: t.table, Name: "__set%d", ID: t.id(), Anonymous: true, Constant: true, KeyType: t.endpointType(),
	}
	var elements []nftables.SetElement
	for _, ep := range content.endpoints {
		elements = append(elements, nftables.SetElement{Key: endpointValue(ep)})
	}
	if err := t.addConstant(valid, elements); err != nil {
		return err
	}
	client, chosen := reg(0), reg(t.words())
	t.rule(t.conn, chain, []expr.Any{
		loadProtocol(client), equal(client, content.proto),
		t.loadSource(client),
		&expr.Lookup{SourceRegister: client, SetName: affinityMap(chain.Name), DestRegister: chosen, IsDestRegSet: true},
		&expr.Lookup{SourceRegister: chosen, SetName: valid.Name, SetID: valid.ID},
		t.remember(chain.Name, client, chosen),
		t.dnat(chosen),
	})
	return nil
}

// spread picks an endpoint at random, each with the same chance.
func (t *transaction) spread(chain *nftables.Chain, content chain) error {
	endpoints := &nftables.Set{
		Table: t.table, Name: "__map%d", ID: t.id(), Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInteger, DataType: t.endpointType(),
	}
	var elements []nftables.SetElement
	for i, ep := range content.endpoints {
		elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: endpointValue(ep)})
	}
	if err := t.addConstant(endpoints, elements); err != nil {
		return err
	}
	client, chosen := reg(0), reg(t.words())
	exprs := []expr.Any{
		loadProtocol(client), equal(client, content.proto),
		&expr.Numgen{Register: client, Modulus: uint32(len(content.endpoints)), Type: unix.NFT_NG_RANDOM},
		&expr.Lookup{SourceRegister: client, SetName: endpoints.Name, SetID: endpoints.ID, DestRegister: chosen, IsDestRegSet: true},
	}
	if content.affinity > 0 {
		// Updating an element renews its time and keeps its value: what stood
		// there, an endpoint that is gone, has to go first.
		exprs = append(exprs, t.loadSource(client), t.forgetClient(chain.Name, client, chosen), t.remember(chain.Name, client, chosen))
	}
	t.rule(t.conn, chain, append(exprs, t.dnat(chosen)))
	return nil
}

func (t *transaction) dnat(chosen uint32) expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: t.nat, RegAddrMin: chosen, RegProtoMin: chosen + t.words()}
}

func (t *transaction) remember(chain string, client, chosen uint32) expr.Any {
	return &expr.Dynset{SrcRegKey: client, SrcRegData: chosen, SetName: affinityMap(chain), Operation: uint32(unix.NFT_DYNSET_OP_UPDATE)}
}

func (t *transaction) forgetClient(chain string, client, chosen uint32) expr.Any {
	const opDelete = 2 // NFT_DYNSET_OP_DELETE; the kernel wants a value, and does not read it
	return &expr.Dynset{SrcRegKey: client, SrcRegData: chosen, SetName: affinityMap(chain), Operation: opDelete}
}

func (t *transaction) addAffinityMap(chain string, timeout time.Duration) error {
	return t.conn.AddSet(&nftables.Set{
		Table: t.table, Name: affinityMap(chain), ID: t.id(), IsMap: true, Dynamic: true, HasTimeout: true, Timeout: timeout,
		Size: affinitySize, KeyType: t.addrType, DataType: t.endpointType(), KeyByteOrder: binaryutil.BigEndian,
	}, nil)
}

// addConstant adds an anonymous set whose elements may need several messages.
func (t *transaction) addConstant(set *nftables.Set, elements []nftables.SetElement) error {
	set.Size = uint32(len(elements))
	head := elements[:min(len(elements), elementsPerMessage)]
	if err := t.conn.AddSet(set, head); err != nil {
		return err
	}
	// The library lets nobody add to an anonymous set. The kernel does, until
	// a rule refers to it, and finds it by its number in the transaction.
	open := *set
	open.Anonymous = false
	for chunk := range slices.Chunk(elements[len(head):], elementsPerMessage) {
		if err := t.conn.SetAddElements(&open, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) changeElements(c *changes) error {
	if c.all != nil {
		for _, name := range fixedSets {
			t.conn.FlushSet(t.named(name))
		}
		return t.addElements(c.all)
	}
	for set, elements := range groupBySet(c.delElems) {
		for chunk := range slices.Chunk(elements, elementsPerMessage) {
			if err := t.conn.SetDeleteElements(t.named(set), t.encode(chunk, nil)); err != nil {
				return err
			}
		}
	}
	return t.addElements(c.addElems)
}

func (t *transaction) addElements(targets map[element]string) error {
	for set, elements := range groupBySet(sortedElements(targets)) {
		for chunk := range slices.Chunk(elements, elementsPerMessage) {
			if err := t.conn.SetAddElements(t.named(set), t.encode(chunk, targets)); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode writes elements for the kernel, with the verdicts that targets gives.
func (t *transaction) encode(elements []element, targets map[element]string) []nftables.SetElement {
	encoded := make([]nftables.SetElement, len(elements))
	for i, e := range elements {
		encoded[i].Key = e.key()
		switch target := targets[e]; {
		case e.set == setHairpin || targets == nil:
		case target == targetDrop:
			encoded[i].VerdictData = verdict(expr.VerdictDrop, "")
		default:
			encoded[i].VerdictData = verdict(expr.VerdictGoto, target)
		}
	}
	return encoded
}

func (t *transaction) id() uint32 {
	t.nextID++
	return t.nextID
}

// span is a run of addresses: from first to the one before after; an invalid
// after is the end of the address space.
type span struct{ first, after netip.Addr }

// mergePrefixes turns prefixes into disjoint spans in order, as an interval set
// needs them.
func mergePrefixes(prefixes []netip.Prefix) []span {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	var spans []span
	for _, p := range sorted {
		next := span{p.Masked().Addr(), lastOf(p).Next()}
		if n := len(spans); n > 0 && (!spans[n-1].after.IsValid() || next.first.Compare(spans[n-1].after) <= 0) {
			if spans[n-1].after.IsValid() && (!next.after.IsValid() || spans[n-1].after.Less(next.after)) {
				spans[n-1].after = next.after
			}
			continue
		}
		spans = append(spans, next)
	}
	return spans
}

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}
