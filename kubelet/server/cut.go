package server

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// cutWriter remembers the connection that a handler takes over, so that it can be
// cut when the server stops: nothing else would wake who reads from it.
type cutWriter struct {
	http.ResponseWriter

	mu    sync.Mutex // guards all below
	conn  net.Conn
	ended bool
	// stopped says that the handler is done, timer cuts after the grace.
	stopped bool
	timer   *time.Timer
}

// Hijack implements [http.Hijacker].
func (c *cutWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		conn.Close()
		return nil, nil, net.ErrClosed
	}
	c.conn = conn
	return conn, rw, nil
}

// onEnd cuts the connection a grace after ctx has ended, in which the handler may
// tell the client how it ended, unless stop is called first.
func (c *cutWriter) onEnd(ctx context.Context, grace time.Duration) (stop func()) {
	cut := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		if c.conn != nil {
			c.conn.Close()
		}
	}
	cancel := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.stopped {
			c.timer = time.AfterFunc(grace, cut)
		}
	})
	return func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = true
		if c.timer != nil {
			c.timer.Stop()
		}
	}
}
