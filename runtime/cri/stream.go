package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

// A CRI runtime answers a request to stream with the URL of a server of its own,
// which then speaks the protocols of kubectl.

// Exec implements [runtime.Streamer].
func (r *Runtime) Exec(ctx context.Context, id string, cmd []string, streams runtime.StreamIO) error {
	if err := r.mustRun(ctx, id); err != nil {
		return err
	}
	response, err := r.api.Exec(ctx, &api.ExecRequest{
		ContainerId: id, Cmd: cmd, Tty: streams.TTY,
		Stdin: streams.Stdin != nil, Stdout: streams.Stdout != nil, Stderr: streams.Stderr != nil && !streams.TTY,
	})
	if err != nil {
		return failure(err)
	}
	return stream(ctx, response.Url, streams)
}

// Attach implements [runtime.Streamer].
func (r *Runtime) Attach(ctx context.Context, id string, streams runtime.StreamIO) error {
	if err := r.mustRun(ctx, id); err != nil {
		return err
	}
	response, err := r.api.Attach(ctx, &api.AttachRequest{
		ContainerId: id, Tty: streams.TTY,
		Stdin: streams.Stdin != nil, Stdout: streams.Stdout != nil, Stderr: streams.Stderr != nil && !streams.TTY,
	})
	if err != nil {
		return failure(err)
	}
	return stream(ctx, response.Url, streams)
}

func stream(ctx context.Context, address string, streams runtime.StreamIO) error {
	target, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("streaming address %q: %w", address, err)
	}
	executor, err := remotecommand.NewSPDYExecutor(toServer(), http.MethodPost, target)
	if err != nil {
		return fmt.Errorf("streaming from %s: %w", target.Host, err)
	}
	options := remotecommand.StreamOptions{Stdin: streams.Stdin, Stdout: streams.Stdout, Tty: streams.TTY}
	if !streams.TTY {
		options.Stderr = streams.Stderr
	}
	if streams.Resize != nil {
		options.TerminalSizeQueue = sizes{ctx.Done(), streams.Resize}
	}
	err = executor.StreamWithContext(ctx, options)
	var code exec.CodeExitError
	if errors.As(err, &code) {
		return &runtime.ExitError{Code: int32(code.Code)}
	}
	return err
}

// toServer dials a runtime's streaming server, whose certificate, where it has one,
// is its own: the URL came over the trusted socket and holds a one-time token.
func toServer() *rest.Config {
	return &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

// sizes hands a terminal's sizes to client-go.
type sizes struct {
	done <-chan struct{}
	from <-chan runtime.TerminalSize
}

func (s sizes) Next() *remotecommand.TerminalSize {
	select {
	case size, ok := <-s.from:
		if !ok {
			return nil
		}
		return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
	case <-s.done:
		return nil
	}
}

// PortForward implements [runtime.Streamer].
func (r *Runtime) PortForward(ctx context.Context, id string, port uint16, local io.ReadWriteCloser) error {
	if _, err := r.sandboxStatus(ctx, id); err != nil {
		return err
	}
	response, err := r.api.PortForward(ctx, &api.PortForwardRequest{PodSandboxId: id, Port: []int32{int32(port)}})
	if err != nil {
		return failure(err)
	}
	target, err := url.Parse(response.Url)
	if err != nil {
		return fmt.Errorf("streaming address %q: %w", response.Url, err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(toServer())
	if err != nil {
		return fmt.Errorf("streaming from %s: %w", target.Host, err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	conn, _, err := dialer.Dial("portforward.k8s.io")
	if err != nil {
		return fmt.Errorf("streaming from %s: %w", target.Host, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); _ = local.Close() })
	defer stop()

	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	problems, err := conn.CreateStream(headers)
	if err != nil {
		return fmt.Errorf("streaming from %s: %w", target.Host, err)
	}
	_ = problems.Close() // nothing goes that way
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return fmt.Errorf("streaming from %s: %w", target.Host, err)
	}
	said := make(chan error, 1)
	go func() {
		message, err := io.ReadAll(problems)
		if err == nil && len(message) > 0 {
			err = fmt.Errorf("port %d: %s", port, message)
		}
		said <- err
	}()
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(data, local)
		_ = data.Close()
	}()
	_, err = io.Copy(local, data)
	_ = local.Close()
	<-up
	_ = data.Reset()
	if problem := <-said; problem != nil && ctx.Err() == nil {
		return problem
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = nil
	}
	return errors.Join(err, ctx.Err())
}
