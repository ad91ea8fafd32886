package nodeproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// pipeBuffer is how much may be on its way in each direction. Both ends of a
// SPDY connection may write at the same time, so a pipe without a buffer could
// lock up.
const pipeBuffer = 64 << 10

// cutAfter is how long handlers have to return once their context has ended.
const cutAfter = 3 * time.Second

// Pipes connects the API server with kubelets of the same process, without
// sockets. The zero value is ready. Safe for concurrent use; it works inside of
// a testing/synctest bubble.
type Pipes struct {
	mu        sync.Mutex // guards listeners
	listeners map[string]*memoryListener
}

// Serve serves a node's handler until ctx ends, then ends the handlers by
// their contexts, cuts connections that are left, and returns once all is done. A name that is being served already is
// an error.
func (p *Pipes) Serve(ctx context.Context, nodeName string, handler http.Handler) error {
	listener := newMemoryListener()
	p.mu.Lock()
	if p.listeners[nodeName] != nil {
		p.mu.Unlock()
		listener.Close()
		return fmt.Errorf("nodeproxy: node %q is served already", nodeName)
	}
	if p.listeners == nil {
		p.listeners = map[string]*memoryListener{}
	}
	p.listeners[nodeName] = listener
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.listeners, nodeName)
		p.mu.Unlock()
	}()

	// http.Server.Close waits for nobody and forgets connections that were
	// taken over; both are counted here.
	var wg sync.WaitGroup
	accepted := &acceptedConns{Listener: listener, open: map[*acceptedConn]bool{}}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			wg.Add(1)
			defer wg.Done()
			handler.ServeHTTP(w, req)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				wg.Add(1)
			case http.StateClosed, http.StateHijacked:
				wg.Done()
			}
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(accepted) }()
	var err error
	select {
	case <-ctx.Done():
		server.Close()
		<-served
	case err = <-served:
		server.Close()
	}
	// Handlers may still tell their clients how it ended; connections of those
	// that do not return by themselves are cut.
	timer := time.AfterFunc(cutAfter, accepted.closeAll)
	wg.Wait()
	timer.Stop()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// Dial is a [DialFunc] to the nodes that are served.
func (p *Pipes) Dial(ctx context.Context, node *corev1.Node) (net.Conn, error) {
	p.mu.Lock()
	listener := p.listeners[node.Name]
	p.mu.Unlock()
	if listener == nil {
		return nil, fmt.Errorf("dial node %s: %w", node.Name, errNotServed)
	}
	return listener.dial(ctx)
}

var errNotServed = errors.New("it is not served in this process")

// Or dials nodes that are not served here by another way.
func (p *Pipes) Or(otherwise DialFunc) DialFunc {
	return func(ctx context.Context, node *corev1.Node) (net.Conn, error) {
		conn, err := p.Dial(ctx, node)
		if errors.Is(err, errNotServed) {
			return otherwise(ctx, node)
		}
		return conn, err
	}
}

// acceptedConns remembers the connections that a listener gave out.
type acceptedConns struct {
	net.Listener
	mu     sync.Mutex // guards all below
	open   map[*acceptedConn]bool
	closed bool
}

// Accept implements [net.Listener].
func (a *acceptedConns) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &acceptedConn{Conn: conn, of: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	a.open[c] = true
	return c, nil
}

func (a *acceptedConns) closeAll() {
	a.mu.Lock()
	a.closed = true
	open := a.open
	a.open = nil
	a.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
}

type acceptedConn struct {
	net.Conn
	of *acceptedConns
}

// Close implements [net.Conn].
func (c *acceptedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
