package wsbridge

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	gwebsocket "github.com/gorilla/websocket"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	tunnelPrefix = "SPDY/3.1+"
	tunnelSuffix = ".k8s.io"
)

// IsTunnel says whether a request wants to tunnel SPDY.
func IsTunnel(req *http.Request) bool { return wsstream.IsWebSocketRequestWithTunnelingProtocol(req) }

// TunnelProtocols are the protocols that a client wants to speak over SPDY in a
// tunnel, without the tunnel's prefix.
func TunnelProtocols(req *http.Request) []string {
	var protocols []string
	for _, p := range gwebsocket.Subprotocols(req) {
		if strings.HasPrefix(p, tunnelPrefix) && strings.HasSuffix(p, tunnelSuffix) {
			protocols = append(protocols, strings.TrimPrefix(p, tunnelPrefix))
		}
	}
	return protocols
}

// OpenTunnel upgrades the connection to a tunnel for a protocol, and returns it
// as a connection on which SPDY is spoken. An error has been answered.
func OpenTunnel(w http.ResponseWriter, req *http.Request, protocol string) (net.Conn, error) {
	upgrader := gwebsocket.Upgrader{
		HandshakeTimeout: writeTimeout,
		Subprotocols:     []string{tunnelPrefix + protocol},
		// Who may come is decided by authentication, not by origin.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	conn, err := upgrader.Upgrade(hijacker{w}, req, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrading to a tunnel: %w", err)
	}
	if conn.Subprotocol() == "" {
		conn.Close()
		return nil, fmt.Errorf("upgrading to a tunnel: the client does not offer %s", tunnelPrefix+protocol)
	}
	return portforward.NewTunnelingConnectionWithLogger(logr.Discard(), conn), nil
}

// hijacker finds the connection behind a chain of ResponseWriters, which the
// libraries do not.
type hijacker struct{ http.ResponseWriter }

// Hijack implements [http.Hijacker].
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// Hijacked is the ResponseWriter of a connection that was taken over already,
// for handlers that want to upgrade it themselves: what they write as HTTP is
// dropped, and Hijack gives them Conn.
type Hijacked struct {
	Conn   net.Conn
	header http.Header
}

// Header implements [http.ResponseWriter].
func (h *Hijacked) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}

// Write implements [http.ResponseWriter].
func (h *Hijacked) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (h *Hijacked) WriteHeader(int) {}

// Hijack implements [http.Hijacker].
func (h *Hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := h.Conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	return h.Conn, bufio.NewReadWriter(bufio.NewReader(h.Conn), bufio.NewWriter(h.Conn)), nil
}
