package fake

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/strake-io/strake/runtime"
)

// ExecSync implements [runtime.Containers]: the commands of [Program], and cat,
// hostname and env. Others succeed at once: they are the hooks and probes of pods
// made for real containers.
func (r *Runtime) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var stdout, stderr bytes.Buffer
	code, err := r.exec(ctx, id, cmd, runtime.StreamIO{Stdout: &stdout, Stderr: &stderr})
	if errors.Is(err, errUnknownCommand) {
		err = nil
	}
	if err != nil {
		return runtime.ExecResult{}, err
	}
	return runtime.ExecResult{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: code}, nil
}

// errUnknownCommand says that the simulation has no such program.
var errUnknownCommand = errors.New("executable file not found in $PATH")

// Exec implements [runtime.Streamer]: the same commands, and a shell that reads
// lines. Others fail, as programs do that an image lacks.
func (r *Runtime) Exec(ctx context.Context, id string, cmd []string, streams runtime.StreamIO) error {
	code, err := r.exec(ctx, id, cmd, streams)
	if err != nil {
		return err
	}
	if code != 0 {
		return &runtime.ExitError{Code: code}
	}
	return nil
}

func (r *Runtime) exec(ctx context.Context, id string, cmd []string, streams runtime.StreamIO) (int32, error) {
	c, err := r.running(id)
	if err != nil {
		return 0, err
	}
	if len(cmd) == 0 {
		return 0, fmt.Errorf("exec in container %q: no command: %w", id, runtime.ErrState)
	}
	r.mu.Lock()
	ended := c.wait()
	r.mu.Unlock()
	if name := path.Base(cmd[0]); len(cmd) == 1 && (name == "sh" || name == "bash") {
		return r.shell(ctx, id, streams)
	}
	b, known := program(cmd)
	switch path.Base(cmd[0]) {
	case "cat":
		b, known = Behaviour{Ends: true}, true
		if streams.Stdin != nil && streams.Stdout != nil && len(cmd) == 1 {
			if _, err := io.Copy(streams.Stdout, streams.Stdin); err != nil {
				return 0, err
			}
		}
	case "hostname":
		b, known = Behaviour{Ends: true, Output: c.sandbox.config.Hostname + "\n"}, true
	case "env":
		var text strings.Builder
		for _, e := range c.config.Env {
			text.WriteString(e.Name + "=" + e.Value + "\n")
		}
		b, known = Behaviour{Ends: true, Output: text.String()}, true
	}
	if !known {
		return 0, fmt.Errorf("exec: %q: %w: container %q is simulated, and has echo, cat, env, sh and few more", cmd[0], errUnknownCommand, c.config.Name)
	}
	if streams.Stdout != nil {
		_, _ = io.WriteString(streams.Stdout, b.Output)
	}
	if streams.Stderr != nil {
		_, _ = io.WriteString(streams.Stderr, b.ErrorOutput)
	}
	if !b.Ends {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ended:
			return 137, nil
		}
	}
	if b.RunFor > 0 {
		timer := time.NewTimer(b.RunFor)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ended:
			return 137, nil
		}
	}
	return b.exit().code, nil
}

// shell runs the lines of stdin until it ends or a line says exit.
func (r *Runtime) shell(ctx context.Context, id string, streams runtime.StreamIO) (code int32, err error) {
	if streams.Stdin == nil {
		return 0, nil
	}
	lines := bufio.NewScanner(streams.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "exit" {
			return number(words[1:]), nil
		}
		line := runtime.StreamIO{Stdout: streams.Stdout, Stderr: streams.Stderr}
		if code, err = r.exec(ctx, id, words, line); err == nil {
			continue
		}
		if !errors.Is(err, errUnknownCommand) {
			return 0, err
		}
		code = 127
		out := streams.Stderr
		if out == nil { // a terminal has one stream
			out = streams.Stdout
		}
		if out != nil {
			_, _ = fmt.Fprintf(out, "sh: %s: not found\n", words[0])
		}
	}
	return code, lines.Err()
}

// Attach implements [runtime.Streamer]: what comes in goes out, until stdin or the
// container ends.
func (r *Runtime) Attach(ctx context.Context, id string, streams runtime.StreamIO) error {
	c, err := r.running(id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	ended := c.wait()
	r.mu.Unlock()
	if streams.Stdin != nil && streams.Stdout != nil && c.config.Stdin {
		if _, err := io.Copy(streams.Stdout, streams.Stdin); err != nil || c.config.StdinOnce {
			return err
		}
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PortForward implements [runtime.Streamer]: every port of a pod is an echo server.
func (r *Runtime) PortForward(_ context.Context, id string, _ uint16, stream io.ReadWriteCloser) error {
	s, err := r.Sandbox(context.Background(), id)
	if err != nil {
		return err
	}
	if s.State != runtime.SandboxReady {
		return fmt.Errorf("sandbox %q is not ready: %w", id, runtime.ErrState)
	}
	defer stream.Close()
	_, err = io.Copy(stream, stream)
	return err
}

// ContainerStats implements [runtime.StatsProvider]: a hundredth of a CPU and 10 MiB.
func (r *Runtime) ContainerStats(_ context.Context, id string) (*runtime.Stats, error) {
	c, err := r.running(id)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &runtime.Stats{
		Time: now, CPUNanos: uint64(now.Sub(c.started)) / 100,
		MemoryBytes: 10 << 20, WorkingSetBytes: 10 << 20,
	}, nil
}

// SandboxStats implements [runtime.StatsProvider]: the sum of its containers.
func (r *Runtime) SandboxStats(_ context.Context, id string) (*runtime.Stats, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sandboxes[id]
	if !ok {
		return nil, fmt.Errorf("sandbox %q: %w", id, runtime.ErrNotFound)
	}
	now := time.Now()
	sum := &runtime.Stats{Time: now}
	for _, c := range s.containers {
		if c.state == runtime.ContainerRunning {
			sum.CPUNanos += uint64(now.Sub(c.started)) / 100
			sum.MemoryBytes += 10 << 20
			sum.WorkingSetBytes += 10 << 20
		}
	}
	return sum, nil
}
