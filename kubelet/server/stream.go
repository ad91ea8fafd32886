package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/strake-io/strake/internal/wsbridge"
	"github.com/strake-io/strake/runtime"
)

// commandGrace is how long a command that is cut has to report its end.
const commandGrace = 2 * time.Second

// command finds out what exec, attach and run are about. It answers for the
// request where it cannot.
func (s *Server) command(w http.ResponseWriter, req *http.Request) (containerID string, ok bool) {
	pod, ok := s.pod(w, req)
	if !ok {
		return "", false
	}
	id, err := s.cfg.Host.ContainerID(req.Context(), pod, req.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return "", false
	}
	return id, true
}

func (s *Server) exec(w http.ResponseWriter, req *http.Request) {
	cmd := req.URL.Query()["command"]
	s.remoteCommand(w, req, func(ctx context.Context, id string, io runtime.StreamIO) error {
		return s.cfg.Streamer.Exec(ctx, id, cmd, io)
	}, func(id string, wanted *remotecommand.Options, r *remote) {
		remotecommand.ServeExec(r.w, req, r, "", "", id, cmd, wanted, s.cfg.StreamIdleTimeout, s.cfg.StreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	})
}

func (s *Server) attach(w http.ResponseWriter, req *http.Request) {
	s.remoteCommand(w, req, func(ctx context.Context, id string, io runtime.StreamIO) error {
		return s.cfg.Streamer.Attach(ctx, id, io)
	}, func(id string, wanted *remotecommand.Options, r *remote) {
		remotecommand.ServeAttach(r.w, req, r, "", "", id, wanted, s.cfg.StreamIdleTimeout, s.cfg.StreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	})
}

func (s *Server) remoteCommand(w http.ResponseWriter, req *http.Request,
	do func(context.Context, string, runtime.StreamIO) error,
	serve func(string, *remotecommand.Options, *remote),
) {
	if s.cfg.Streamer == nil {
		http.Error(w, "this node's runtime does not stream", http.StatusNotImplemented)
		return
	}
	wanted, err := remotecommand.NewOptions(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, ok := s.command(w, req)
	if !ok {
		return
	}
	ctx, cut := context.WithCancel(req.Context())
	defer cut()
	cw := &cutWriter{ResponseWriter: w}
	defer cw.onEnd(ctx, commandGrace)()
	if wsbridge.IsCommand(req) {
		err := wsbridge.ServeCommand(cw, req, wsbridge.Wanted{Stdin: wanted.Stdin, Stdout: wanted.Stdout, Stderr: wanted.Stderr, TTY: wanted.TTY},
			func(ctx context.Context, streams wsbridge.Streams) error {
				resize, stop := sizes(ctx, streams.Resize, func(s wsbridge.Size) runtime.TerminalSize { return runtime.TerminalSize(s) })
				defer stop()
				return commandError(do(ctx, id, runtime.StreamIO{
					Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr, TTY: wanted.TTY, Resize: resize,
				}))
			})
		if err != nil {
			s.cfg.Logger.V(1).Info("stream ended", "err", err)
		}
		return
	}
	serve(id, wanted, &remote{w: cw, ctx: ctx, do: do})
}

// commandError words how a command ended for the WebSocket side.
func commandError(err error) error {
	var exit *runtime.ExitError
	if errors.As(err, &exit) {
		return &wsbridge.ExitError{Code: int(exit.Code)}
	}
	if err != nil {
		return fmt.Errorf("error executing command in container: %w", err)
	}
	return nil
}

// remote makes a runtime.Streamer what package remotecommand calls. It lives for
// one request.
type remote struct {
	w   http.ResponseWriter
	ctx context.Context // of the request; the callbacks get another
	do  func(context.Context, string, runtime.StreamIO) error
}

// ExecInContainer implements remotecommand.Executor.
func (r *remote) ExecInContainer(_ context.Context, _, _, id string, _ []string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	failed := r.AttachContainer(r.ctx, "", "", id, in, out, err, tty, resize)
	var exit *runtime.ExitError
	if errors.As(failed, &exit) {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", exit.Code), Code: int(exit.Code)}
	}
	return failed
}

// AttachContainer implements remotecommand.Attacher.
func (r *remote) AttachContainer(_ context.Context, _, _, id string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	sizes, stop := sizes(r.ctx, resize, func(s remotecommand.TerminalSize) runtime.TerminalSize { return runtime.TerminalSize(s) })
	defer stop()
	stream := runtime.StreamIO{Stdin: in, TTY: tty, Resize: sizes}
	// A nil pointer in an interface would look like a stream.
	if out != nil {
		stream.Stdout = out
	}
	if err != nil {
		stream.Stderr = err
	}
	return r.do(r.ctx, id, stream)
}

// sizes translates a channel of terminal sizes; stop joins it.
func sizes[T any](ctx context.Context, in <-chan T, translate func(T) runtime.TerminalSize) (<-chan runtime.TerminalSize, func()) {
	if in == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan runtime.TerminalSize)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case size, ok := <-in:
				if !ok {
					return
				}
				select {
				case out <- translate(size):
				case <-ctx.Done():
					return
				}
			}
		}
	})
	return out, func() { cancel(); wg.Wait() }
}

func (s *Server) portForward(w http.ResponseWriter, req *http.Request) {
	if s.cfg.Streamer == nil {
		http.Error(w, "this node's runtime does not stream", http.StatusNotImplemented)
		return
	}
	pod, ok := s.pod(w, req)
	if !ok {
		return
	}
	tunnel := wsbridge.IsTunnel(req)
	var opts *portforward.V4Options
	if !tunnel {
		var err error
		if opts, err = portforward.NewV4Options(req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	id, err := s.cfg.Host.SandboxID(req.Context(), pod)
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, cancel := context.WithCancel(req.Context())
	f := &forwarder{ctx: ctx, streamer: s.cfg.Streamer, id: id, streams: map[int]io.Closer{}}
	cw := &cutWriter{ResponseWriter: w}
	stopCut := cw.onEnd(ctx, 0)
	// The connection is gone when the handler returns; so must be its streams.
	defer f.wait()
	defer cancel()
	defer stopCut()
	w = cw
	if tunnel {
		conn, err := wsbridge.OpenTunnel(w, req, portforward.ProtocolV1Name)
		if err != nil {
			s.cfg.Logger.V(1).Info("port-forward failed", "err", err)
			return
		}
		defer conn.Close()
		req = tunnelled(req)
		w = &wsbridge.Hijacked{Conn: conn}
	}
	portforward.ServePortForward(w, req, f, pod.Name, string(pod.UID), opts, s.cfg.StreamIdleTimeout, s.cfg.StreamCreationTimeout, portforward.SupportedProtocols)
}

// tunnelled is the SPDY request that a tunnel stands for.
func tunnelled(req *http.Request) *http.Request {
	protocols := wsbridge.TunnelProtocols(req)
	req = req.Clone(req.Context())
	for _, h := range []string{"Sec-Websocket-Protocol", "Sec-Websocket-Key", "Sec-Websocket-Version", "Upgrade", "Connection"} {
		req.Header.Del(h)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	req.Header["X-Stream-Protocol-Version"] = protocols
	return req
}

// forwarder forwards the connections of one request and knows which are open.
type forwarder struct {
	ctx      context.Context // of the request; the callbacks get none of use
	streamer runtime.Streamer
	id       string

	mu      sync.Mutex // guards all below
	wg      sync.WaitGroup
	closed  bool
	streams map[int]io.Closer
	next    int
}

// PortForward implements portforward.PortForwarder.
func (f *forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return net.ErrClosed
	}
	f.wg.Add(1)
	n := f.next
	f.next++
	f.streams[n] = stream
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.streams, n)
		f.mu.Unlock()
		f.wg.Done()
	}()
	return f.streamer.PortForward(f.ctx, f.id, uint16(port), stream)
}

// wait closes what is open and joins it.
func (f *forwarder) wait() {
	f.mu.Lock()
	f.closed = true
	for _, s := range f.streams {
		s.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (s *Server) run(w http.ResponseWriter, req *http.Request) {
	if s.cfg.Exec == nil {
		http.Error(w, "commands cannot be run on this node", http.StatusNotImplemented)
		return
	}
	id, ok := s.command(w, req)
	if !ok {
		return
	}
	cmd := req.FormValue("cmd")
	words := strings.Fields(cmd)
	if len(words) == 0 {
		http.Error(w, "cmd is required", http.StatusBadRequest)
		return
	}
	result, err := s.cfg.Exec.ExecSync(req.Context(), id, words, 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	output := append(result.Stdout, result.Stderr...)
	if result.ExitCode != 0 {
		http.Error(w, fmt.Sprintf("command %q exited with %d: %s", cmd, result.ExitCode, output), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Write(output)
}
