package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
)

// cutWriter remembers the connection that a handler takes over, so that it can be
// cut when the server stops: nothing else would wake who reads from it.
type cutWriter struct {
	http.ResponseWriter

	mu    sync.Mutex // guards all below
	conn  net.Conn
	ended bool
}

// Hijack implements [http.Hijacker].
func (c *cutWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := c.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the connection cannot be upgraded")
	}
	conn, rw, err := h.Hijack()
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

// onEnd cuts the connection once ctx ends, unless stop is called first.
func (c *cutWriter) onEnd(ctx context.Context) (stop func()) {
	cancel := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		if c.conn != nil {
			c.conn.Close()
		}
	})
	return func() { cancel() }
}
