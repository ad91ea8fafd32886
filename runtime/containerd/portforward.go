package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/network"
)

// PortForward implements [runtime.Streamer]. It dials the pod's own loopback, from
// inside its network namespace, so that a server on 127.0.0.1 is reached too.
func (r *Runtime) PortForward(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
	if _, err := r.begin(ctx); err != nil {
		return err
	}
	sandbox, err := r.Sandbox(ctx, id)
	if err != nil {
		return err
	}
	if sandbox.State != runtime.SandboxReady {
		return fmt.Errorf("sandbox %q is not ready: %w", id, runtime.ErrState)
	}
	namespace := ""
	if !sandbox.HostNetwork {
		namespace = filepath.Join(r.sandboxDir(id), "net")
	}
	var conn net.Conn
	err = network.Within(namespace, func() error {
		var dialer net.Dialer
		var errs []error
		for _, host := range []string{"127.0.0.1", "::1"} {
			var err error
			conn, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("failed to connect to port %d inside sandbox %q: %w", port, id, err)
	}
	defer conn.Close()
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); _ = stream.Close() })
	defer stop()

	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		// The client is done; the server may still answer.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		up <- err
	}()
	_, err = io.Copy(stream, conn)
	// The server is done: what the client still sends reaches nobody.
	_ = stream.Close()
	_ = conn.Close()
	<-up
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return ctx.Err()
	}
	return err
}
