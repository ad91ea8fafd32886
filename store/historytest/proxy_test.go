package historytest_test

import (
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to an address, until it cuts them.
type proxy struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[net.Conn]bool
	held   chan struct{} // closed when bytes flow again; nil while they do
	closed bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, open: map[net.Conn]bool{}}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.release()
		p.cut(true)
		p.group.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		closed := p.closed
		p.mu.Unlock()
		if closed {
			client.Close()
			server.Close()
		}
		p.group.Go(func() { p.pass(client, server) })
		p.group.Go(func() { p.pass(server, client) })
	}
}

// pass bytes in one direction.
func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			held := p.held
			p.mu.Unlock()
			if held != nil {
				<-held
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	delete(p.open, from)
	p.mu.Unlock()
}

// cut all connections.
func (p *proxy) cut(forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || forGood
	for c := range p.open {
		c.Close()
	}
}

// hold all bytes until release.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}
