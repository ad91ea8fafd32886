package apiserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

// RESTConfig is a client configuration whose requests go to this server without a
// socket, TLS or credentials: they come from who, and are authorised as such. They
// wait until the server is ready, and fail once Run has ended. Watches stream, and
// connections (exec, port-forward) upgrade. It blocks only on channels and pipes,
// so that it works in a testing/synctest bubble.
func (s *Server) RESTConfig(who user.Info) *rest.Config {
	return &rest.Config{
		Host:      "http://in-process",
		Transport: &transport{server: s, user: who},
		QPS:       -1,
		ContentConfig: rest.ContentConfig{
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
			ContentType:        "application/vnd.kubernetes.protobuf",
		},
	}
}

type inProcessKey struct{}

func inProcessUser(ctx context.Context) (user.Info, bool) {
	who, ok := ctx.Value(inProcessKey{}).(user.Info)
	return who, ok
}

// ErrStopped says that the server's Run has ended.
var ErrStopped = errors.New("apiserver: the server has stopped")

// transport calls the handler in a goroutine of its own and streams its answer
// through a pipe.
type transport struct {
	server *Server
	user   user.Info
}

// call is one in-process request. The server joins its goroutine when Run ends.
type call struct {
	server *Server
	cancel context.CancelFunc

	// head is closed when the answer has begun.
	head     chan struct{}
	headOnce sync.Once
	header   http.Header
	status   int
	sent     http.Header
	body     *io.PipeReader
	pipe     *io.PipeWriter

	mu       sync.Mutex // guards hijacked
	hijacked net.Conn
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), inProcessKey{}, t.user))
	c := &call{server: t.server, cancel: cancel, head: make(chan struct{}), header: http.Header{}}
	c.body, c.pipe = io.Pipe()
	if !t.server.enter(c) {
		cancel()
		closeBody(r)
		return nil, ErrStopped
	}
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "in-process"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer t.server.leave(c)
		defer closeBody(r)
		defer c.end()
		t.server.ServeHTTP(c, in)
	}()
	select {
	case <-c.head:
	case <-r.Context().Done():
		c.abandon()
		return nil, context.Cause(r.Context())
	}
	c.mu.Lock()
	conn := c.hijacked
	c.mu.Unlock()
	if conn != nil {
		return c.upgraded(r, conn)
	}
	if c.status == 0 {
		c.abandon()
		return nil, fmt.Errorf("apiserver: the request for %s was broken off", r.URL.Path)
	}
	return &http.Response{
		Status: http.StatusText(c.status), StatusCode: c.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.sent, Body: &answer{c}, ContentLength: -1, Request: r,
	}, nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		// It was only read from.
		_ = r.Body.Close()
	}
}

func (s *Server) enter(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.calls[c] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) leave(c *call) {
	s.mu.Lock()
	delete(s.calls, c)
	s.mu.Unlock()
	s.serving.Done()
}

// answer is the response's body. Closing it ends the request, as closing the
// connection would.
type answer struct{ *call }

func (a *answer) Read(p []byte) (int, error) { return a.body.Read(p) }

func (a *answer) Close() error {
	a.abandon()
	return nil
}

func (c *call) abandon() {
	c.cancel()
	_ = c.body.CloseWithError(io.ErrClosedPipe)
}

// end closes what the handler left open, after it has returned or panicked.
func (c *call) end() {
	p := recover()
	switch {
	case p == nil && c.status == 0:
		c.WriteHeader(http.StatusOK)
		fallthrough
	case p == nil:
		_ = c.pipe.Close()
	default:
		// A handler that gives up breaks the connection off; so does this.
		_ = c.pipe.CloseWithError(io.ErrUnexpectedEOF)
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			c.server.config.Logger.Error(fmt.Errorf("%v", p), "An in-process request panicked")
		}
	}
	c.headOnce.Do(func() { close(c.head) })
	c.cancel()
}

// Header implements http.ResponseWriter.
func (c *call) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter.
func (c *call) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	c.headOnce.Do(func() {
		c.status, c.sent = status, c.header.Clone()
		close(c.head)
	})
}

// Write implements http.ResponseWriter.
func (c *call) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.pipe.Write(p)
}

// Flush implements http.Flusher: a pipe holds nothing back, but the head.
func (c *call) Flush() { c.WriteHeader(http.StatusOK) }

// Hijack implements http.Hijacker with a connection in memory.
func (c *call) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.head:
		return nil, nil, http.ErrHijacked
	default:
	}
	client, server := net.Pipe()
	c.hijacked = client
	c.status = http.StatusSwitchingProtocols
	c.headOnce.Do(func() { close(c.head) })
	return server, bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server)), nil
}

// upgraded reads the answer that the handler writes on the hijacked connection; of
// an upgrade, the connection is the body from then on.
func (c *call) upgraded(r *http.Request, conn net.Conn) (*http.Response, error) {
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, r)
	if !stop() && err == nil {
		err = context.Cause(r.Context())
	}
	if err != nil {
		_ = conn.Close()
		c.cancel()
		return nil, err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		response.Body = &upgradedBody{Conn: conn, reader: reader, cancel: c.cancel}
	}
	return response, nil
}

// upgradedBody is an upgraded connection, as net/http's transport gives it: a body
// that can be written to.
type upgradedBody struct {
	net.Conn
	reader *bufio.Reader
	cancel context.CancelFunc
}

func (u *upgradedBody) Read(p []byte) (int, error) { return u.reader.Read(p) }

func (u *upgradedBody) Close() error {
	u.cancel()
	return u.Conn.Close()
}
