// Package nftables is the [proxy.Proxier] that programs the kernel's nftables
// over netlink, without the nft program.
//
// A packet to a service costs one look-up in one map, from (address, protocol,
// port) to the service port's chain, however many services there are. The chain
// spreads connections evenly over the endpoints by one random number and one
// look-up. An update touches only what changed: render says what one service
// adds to the table (pure), state compares that with what is there (pure), and
// transaction writes the difference, atomically.
//
// There is one table for each address family that has services, named by
// Config.Table; nothing outside of it is touched. `nft list table ip strake-proxy`
// shows it.
package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/proxy"
)

// Config of a [Proxier]. The zero value serves the network namespace of the
// process.
type Config struct {
	// Table is the name of the tables; empty means "strake-proxy". Two proxiers
	// in one network namespace need two names.
	Table string
	// LocalhostNodePorts also serves node ports on 127.0.0.1, which needs the
	// sysctl net.ipv4.conf.all.route_localnet; the proxier sets it, and drops
	// packets from the network to 127.0.0.0/8. False as in upstream's nftables
	// mode.
	LocalhostNodePorts bool
	// NetNS is a file descriptor of the network namespace to program; 0 means
	// the process's own. It stays the caller's.
	NetNS int
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Proxier programs nftables. It is used by one goroutine at a time.
type Proxier struct {
	config Config
	tables [2]*table // IPv4, IPv6
}

var _ proxy.Proxier = (*Proxier)(nil)

// table is one address family's.
type table struct {
	base
	// state is what the kernel's table holds; nil means unknown.
	state *state
	// absent says that there is no table, since the family has no services.
	absent bool
}

// New checks the configuration; it touches nothing.
func New(config Config) (*Proxier, error) {
	if config.Table == "" {
		config.Table = "strake-proxy"
	}
	if len(config.Table) > 200 {
		return nil, errors.New("nftables: Config.Table is too long")
	}
	p := &Proxier{config: config}
	for i, f := range []*family{ipv4, ipv6} {
		p.tables[i] = &table{base: base{
			family:    f,
			table:     &nftables.Table{Family: f.table, Name: config.Table},
			localhost: config.LocalhostNodePorts && !f.v6,
		}}
	}
	return p, nil
}

// Apply implements [proxy.Proxier].
func (p *Proxier) Apply(_ context.Context, update proxy.Update) error {
	var errs []error
	for _, t := range p.tables {
		known := t.state != nil
		err := p.applyTo(t, update)
		if err != nil && known && update.Full {
			// Somebody else changed the table so that it cannot be put right.
			p.config.Logger.Info("The table is made anew", "table", t.table.Name, "error", err.Error())
			t.state = nil
			err = p.applyTo(t, update)
		}
		if err != nil {
			t.state = nil
			errs = append(errs, fmt.Errorf("nftables: table %s: %w", t.table.Name, err))
		}
	}
	return errors.Join(errs...)
}

// applyTo writes an update to one table. A full one writes everything: over what
// is there, so that clients keep their endpoints, or to a new table where nothing
// is known of what is there.
func (p *Proxier) applyTo(t *table, update proxy.Update) error {
	fresh := t.state == nil
	if fresh && !update.Full {
		return errors.New("the table's state is unknown: a full update is needed")
	}
	next := t.state
	if fresh {
		next = newState()
	}
	c := newChanges()
	if update.Full {
		for name := range next.services {
			if _, stays := update.Services[name]; !stays {
				next.set(name, rendered{}, c)
			}
		}
	}
	for name, ports := range update.Services {
		next.set(name, render(name, ports, t.v6), c)
	}
	next.settle(c)
	if !update.Full && c.empty() {
		return nil
	}

	conn, err := p.connect()
	if err != nil {
		return err
	}
	anew := fresh || t.absent
	if anew && len(next.services) == 0 {
		t.state, t.absent = next, true
		return t.remove(conn)
	}
	tx := &transaction{base: &t.base, conn: conn, nextID: firstFreeID}
	switch {
	case anew:
		if err := p.begin(conn, t); err != nil {
			return err
		}
	case update.Full:
		tx.rewrite(next, c)
	}
	if err := tx.apply(c); err != nil {
		return err
	}
	t.state, t.absent = next, false
	lost := newLostFlows(c.lostEndpoints())
	if fresh {
		lost.serves = next.udpServes() // flows from before this process
	}
	if err := lost.forget(t.v6, p.config.NetNS); err != nil {
		// Old UDP flows then live until they time out; the rules are right.
		p.config.Logger.Error(err, "Could not make connection tracking forget UDP flows to endpoints that are gone")
	}
	return nil
}

// remove takes the table away, if there is one. A kernel without the address family
// has none.
func (t *table) remove(conn *nftables.Conn) error {
	conn.AddTable(t.table)
	conn.DelTable(t.table)
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
		return err
	}
	return nil
}

// begin queues a new, empty table in place of whatever stands there.
func (p *Proxier) begin(conn *nftables.Conn, t *table) error {
	conn.AddTable(t.table)
	conn.DelTable(t.table)
	conn.AddTable(t.table)
	if t.localhost {
		const routeLocalnet = "/proc/sys/net/ipv4/conf/all/route_localnet"
		if err := os.WriteFile(routeLocalnet, []byte("1"), 0o644); err != nil {
			p.config.Logger.Error(err, "Node ports are not served on 127.0.0.1")
		}
	}
	if err := t.addSets(conn); err != nil {
		return err
	}
	t.addRules(conn)
	return nil
}

// Cleanup implements [proxy.Proxier].
func (p *Proxier) Cleanup(context.Context) error {
	conn, err := p.connect()
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range p.tables {
		t.state = nil
		if err := t.remove(conn); err != nil {
			errs = append(errs, fmt.Errorf("nftables: removing table %s: %w", t.table.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Proxier) connect() (*nftables.Conn, error) {
	// The acknowledgements of a large transaction wait in the socket together.
	roomy := func(conn *netlink.Conn) error {
		const bytes = 32 << 20
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		var opts error
		err = raw.Control(func(fd uintptr) {
			opts = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bytes),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes),
			)
		})
		return errors.Join(err, opts)
	}
	options := []nftables.ConnOption{nftables.WithSockOptions(roomy)}
	if p.config.NetNS != 0 {
		options = append(options, nftables.WithNetNSFd(p.config.NetNS))
	}
	conn, err := nftables.New(options...)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return conn, nil
}
