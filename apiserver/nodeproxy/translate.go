package nodeproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/remotecommand"
	clientspdy "k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/strake-io/strake/internal/wsbridge"
)

// pingPeriod keeps connections to kubelets alive through what lies between.
const pingPeriod = 5 * time.Second

// translate serves exec and attach of a client that speaks v5.channel.k8s.io
// over WebSocket, from a kubelet that speaks SPDY.
func (k *kubelet) translate(w http.ResponseWriter, req *http.Request) {
	q := k.to.Query
	wanted := wsbridge.Wanted{
		Stdin:  q.Get("input") == "1",
		Stdout: q.Get("output") == "1",
		Stderr: q.Get("error") == "1" && q.Get("tty") != "1",
		TTY:    q.Get("tty") == "1",
	}
	err := wsbridge.ServeCommand(w, req, wanted, func(ctx context.Context, streams wsbridge.Streams) error {
		roundTripper, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{UpgradeTransport: k.transport, PingPeriod: pingPeriod})
		if err != nil {
			return err
		}
		executor, err := remotecommand.NewSPDYExecutorRejectRedirects(roundTripper, clientspdy.NewUpgraderForStreaming(roundTripper), http.MethodPost, k.url)
		if err != nil {
			return err
		}
		options := remotecommand.StreamOptions{Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr, Tty: wanted.TTY}
		if wanted.TTY {
			options.TerminalSizeQueue = sizeQueue{ctx.Done(), streams.Resize}
		}
		err = executor.StreamWithContext(ctx, options)
		var exit utilexec.CodeExitError
		if errors.As(err, &exit) {
			return &wsbridge.ExitError{Code: exit.Code}
		}
		if dial := k.unreached.Load(); err != nil && dial != nil {
			return apierrors.NewInternalError(&wrapped{"error dialing backend: ", dial.error})
		}
		return err
	})
	if err != nil {
		k.cfg.Logger.V(1).Info("stream ended", "path", k.url.Path, "err", err)
	}
}

type sizeQueue struct {
	done  <-chan struct{}
	sizes <-chan wsbridge.Size
}

// Next implements remotecommand.TerminalSizeQueue.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	select {
	case <-q.done:
		return nil
	case size, ok := <-q.sizes:
		if !ok {
			return nil
		}
		return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
	}
}

// tunnel serves port-forward of a client that speaks SPDY inside of a WebSocket,
// from a kubelet that speaks SPDY on the connection itself.
func (k *kubelet) tunnel(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	backend, err := k.transport.DialContext(ctx, "tcp", k.url.Host)
	if err != nil {
		k.failed(w, req, err)
		return
	}
	defer backend.Close()
	stop := context.AfterFunc(ctx, func() { backend.Close() })
	defer stop()

	out, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url.String(), nil)
	if err != nil {
		k.failed(w, req, err)
		return
	}
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", spdy.HeaderSpdy31)
	for _, p := range wsbridge.TunnelProtocols(req) {
		out.Header.Add("X-Stream-Protocol-Version", p)
	}
	if err := out.Write(backend); err != nil {
		k.failed(w, req, err)
		return
	}
	buffered := bufio.NewReader(backend)
	response, err := http.ReadResponse(buffered, out)
	if err != nil {
		k.failed(w, req, err)
		return
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		defer response.Body.Close()
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		io.Copy(w, response.Body)
		return
	}
	client, err := wsbridge.OpenTunnel(w, req, response.Header.Get("X-Stream-Protocol-Version"))
	if err != nil {
		k.cfg.Logger.V(1).Info("port-forward failed", "err", err)
		return
	}
	join(client, &readAhead{Conn: backend, r: buffered})
}

// readAhead reads what was buffered before what comes.
type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (r *readAhead) Read(b []byte) (int, error) { return r.r.Read(b) }

// join copies between two connections until one ends, and closes both.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	var once sync.Once
	end := func() { once.Do(func() { a.Close(); b.Close() }) }
	wg.Go(func() { defer end(); io.Copy(a, b) })
	wg.Go(func() { defer end(); io.Copy(b, a) })
	wg.Wait()
}
