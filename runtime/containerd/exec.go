package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
)

// maxExecOutput is where ExecSync cuts each output.
const maxExecOutput = 16 << 20

// quiet is how long nothing must have come of a command's output, after the command
// has ended, for it to be taken for over.
const quiet = 2 * time.Second

// ExecSync implements [runtime.Containers].
func (r *Runtime) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var stdout, stderr bounded
	code, err := r.exec(ctx, id, cmd, runtime.StreamIO{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return runtime.ExecResult{}, err
	}
	return runtime.ExecResult{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: code}, nil
}

// bounded keeps the beginning of what is written.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxExecOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Exec implements [runtime.Streamer].
func (r *Runtime) Exec(ctx context.Context, id string, cmd []string, io runtime.StreamIO) error {
	code, err := r.exec(ctx, id, cmd, io)
	if err != nil {
		return err
	}
	if code != 0 {
		return &runtime.ExitError{Code: code}
	}
	return nil
}

// exec runs a command in a container and waits for it. When ctx ends first the
// command is killed.
func (r *Runtime) exec(ctx context.Context, id string, cmd []string, io runtime.StreamIO) (_ int32, err error) {
	ctx, err = r.begin(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := r.find(id, runtime.ContainerRunning); err != nil {
		return 0, err
	}
	if len(cmd) == 0 {
		return 0, fmt.Errorf("exec in container %q: no command: %w", id, runtime.ErrState)
	}
	process, err := r.processOf(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("exec in container %q: %w", id, err)
	}
	process.Args, process.Terminal, process.ConsoleSize = cmd, io.TTY, nil
	if io.TTY {
		process.Env = withDefault(process.Env, "TERM", "xterm")
	}
	spec, err := typeurl.MarshalAnyToProto(process)
	if err != nil {
		return 0, err
	}
	execID, err := newID()
	if err != nil {
		return 0, err
	}
	fifos, err := openStreams(filepath.Join(r.config.State, "io", "exec-"+execID), io.Stdin != nil, io.TTY)
	if err != nil {
		return 0, err
	}
	defer fifos.remove()
	defer fifos.close()

	// A start that is cut off half way would leave a process that nobody kills: it
	// is always seen through, and ctx counts from then on.
	starting, cancel := detached(ctx)
	defer cancel()
	_, err = r.tasks.Exec(starting, &tasks.ExecProcessRequest{
		ContainerID: id, ExecID: execID, Terminal: io.TTY, Spec: spec,
		Stdin: fifos.path("stdin"), Stdout: fifos.path("stdout"), Stderr: fifos.path("stderr"),
	})
	if err != nil {
		return 0, fmt.Errorf("failed to exec in container: failed to create exec %q: %w", execID, failure(errgrpc.ToNative(err)))
	}
	defer func() {
		// The time for this counts from now, not from when the command began.
		undo, cancel := detached(ctx)
		defer cancel()
		_, derr := r.tasks.DeleteProcess(undo, &tasks.DeleteProcessRequest{ContainerID: id, ExecID: execID})
		if derr = errgrpc.ToNative(derr); derr != nil && !errdefs.IsNotFound(derr) {
			r.log.V(1).Info("deleting an exec", "container", id, "error", derr.Error())
		}
	}()
	if _, err := r.tasks.Start(starting, &tasks.StartRequest{ContainerID: id, ExecID: execID}); err != nil {
		return 0, fmt.Errorf("failed to exec in container: failed to start exec %q: %w", execID, failure(errgrpc.ToNative(err)))
	}

	// A hub without a log carries the output.
	h := newHub(fifos, &logFile{})
	attached, detach := context.WithCancel(context.WithoutCancel(ctx))
	var carriers sync.WaitGroup
	defer carriers.Wait()
	defer fifos.close()
	defer detach()
	out, delivered := h.join(), make(chan struct{})
	carriers.Go(func() { h.copy(attached) })
	carriers.Go(func() {
		defer close(delivered)
		defer h.leave(out)
		_ = out.deliver(attached, io) // a client that is gone needs no output
	})
	fifos.feed(io.Stdin, func() {
		closing, cancel := detached(attached)
		defer cancel()
		_, _ = r.tasks.CloseIO(closing, &tasks.CloseIORequest{ContainerID: id, ExecID: execID, Stdin: true})
		fifos.endStdin()
	})
	if io.Resize != nil && io.TTY {
		carriers.Go(func() { r.resize(attached, id, execID, io.Resize) })
	}

	code, _, err := r.awaitExit(ctx, id, execID)
	if err != nil {
		undo, cancel := detached(ctx)
		defer cancel()
		_, _ = r.tasks.Kill(undo, &tasks.KillRequest{ContainerID: id, ExecID: execID, Signal: uint32(unix.SIGKILL)})
		_, _, _ = r.awaitExit(undo, id, execID)
		if errors.Is(err, context.DeadlineExceeded) {
			return 0, fmt.Errorf("command %q timed out: %w", cmd, context.DeadlineExceeded)
		}
		return 0, err
	}
	out.drain(ctx, delivered)
	return code, nil
}

// resize passes on a terminal's sizes until there are no more.
func (r *Runtime) resize(ctx context.Context, id, execID string, sizes <-chan runtime.TerminalSize) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			_, err := r.tasks.ResizePty(ctx, &tasks.ResizePtyRequest{
				ContainerID: id, ExecID: execID, Width: uint32(size.Width), Height: uint32(size.Height),
			})
			if err != nil && ctx.Err() == nil {
				r.log.V(1).Info("resizing a terminal", "container", id, "error", err.Error())
			}
		case <-ctx.Done():
			return
		}
	}
}

// processOf reads how a container's own process is run.
func (r *Runtime) processOf(ctx context.Context, id string) (*specs.Process, error) {
	stored, err := r.client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, failure(err)
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(stored.Spec, &spec); err != nil {
		return nil, err
	}
	if spec.Process == nil {
		return nil, errors.New("its specification has no process")
	}
	return spec.Process, nil
}

// Attach implements [runtime.Streamer].
func (r *Runtime) Attach(ctx context.Context, id string, io runtime.StreamIO) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	c, err := r.find(id, runtime.ContainerRunning)
	if err != nil {
		return err
	}
	r.mu.Lock()
	h, config := c.hub, c.record.Config
	r.mu.Unlock()
	if h == nil {
		return fmt.Errorf("container %q is not attached to yet: %w", id, runtime.ErrUnavailable)
	}
	h.streams.feed(io.Stdin, func() {
		if !config.StdinOnce {
			return
		}
		closing, cancel := detached(ctx)
		defer cancel()
		_, _ = r.tasks.CloseIO(closing, &tasks.CloseIORequest{ContainerID: id, Stdin: true})
		h.streams.endStdin()
	})
	if io.Resize != nil && config.TTY {
		resizing, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.resize(resizing, id, "", io.Resize)
		}()
		defer func() { cancel(); <-done }()
	}
	return h.attach(ctx, io)
}
