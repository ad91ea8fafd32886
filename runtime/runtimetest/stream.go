package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strake-io/strake/runtime"
)

func (s *subject) streamer(t *testing.T) runtime.Streamer {
	t.Helper()
	streamer, ok := s.r.(runtime.Streamer)
	if !ok {
		t.Skip("no Streamer")
	}
	return streamer
}

// output is a buffer that can be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func testExecSync(t *testing.T, s *subject) {
	ctx := t.Context()
	id := s.start(t, s.sandbox(t, "pod"), "c", "sleep", "infinity")
	result, err := s.r.ExecSync(ctx, id, []string{"write", "to stdout", "to stderr"}, patience)
	if err != nil || string(result.Stdout) != "to stdout\n" || string(result.Stderr) != "to stderr\n" || result.ExitCode != 0 {
		t.Errorf("ExecSync: %q, %q, %d, %v", result.Stdout, result.Stderr, result.ExitCode, err)
	}
	if result, err := s.r.ExecSync(ctx, id, []string{"sh", "-c", "exit 5"}, patience); err != nil || result.ExitCode != 5 {
		t.Errorf("ExecSync of a command that fails: %+v, %v; want its status and no error", result, err)
	}
	began := time.Now()
	if _, err := s.r.ExecSync(ctx, id, []string{"sleep", "60"}, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ExecSync over its time: %v, want DeadlineExceeded", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("ExecSync over its time took %v", took)
	}
	if s.Simulated {
		return
	}
	if result, err := s.r.ExecSync(ctx, id, []string{"pids"}, patience); err != nil || strings.Contains(string(result.Stdout), "sleep 60") || strings.Count(string(result.Stdout), "\n") > 2 {
		t.Errorf("after ExecSync timed out there run: %q, %v; want its command killed", result.Stdout, err)
	}
	if _, err := s.r.ExecSync(ctx, id, []string{"no-such-program"}, patience); err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("ExecSync of no program: %v", err)
	}
}

func testExec(t *testing.T, s *subject) {
	streamer := s.streamer(t)
	ctx := t.Context()
	id := s.start(t, s.sandbox(t, "pod"), "c", "sleep", "infinity")
	var stdout, stderr output
	err := streamer.Exec(ctx, id, []string{"cat"}, runtime.StreamIO{Stdin: strings.NewReader("through\nand through"), Stdout: &stdout, Stderr: &stderr})
	if err != nil || stdout.String() != "through\nand through" {
		t.Errorf("Exec with stdin: %q, %q, %v; the end of stdin must reach the command", stdout.String(), stderr.String(), err)
	}
	err = streamer.Exec(ctx, id, []string{"sh", "-c", "exit 9"}, runtime.StreamIO{Stdout: io.Discard})
	var exit *runtime.ExitError
	if !errors.As(err, &exit) || exit.Code != 9 {
		t.Errorf("Exec of a command that fails: %v, want an ExitError of 9", err)
	}
	ending, cancel := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := streamer.Exec(ending, id, []string{"sleep", "60"}, runtime.StreamIO{Stdout: io.Discard}); !errors.Is(err, context.Canceled) {
		t.Errorf("Exec whose context ends: %v, want Canceled", err)
	}
}

func testExecTTY(t *testing.T, s *subject) {
	streamer := s.streamer(t)
	if s.Simulated {
		t.Skip("there are no terminals")
	}
	id := s.start(t, s.sandbox(t, "pod"), "c", "sleep", "infinity")
	sizes := make(chan runtime.TerminalSize, 1)
	sizes <- runtime.TerminalSize{Width: 123, Height: 45}
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	var screen output
	done := make(chan error, 1)
	go func() {
		done <- streamer.Exec(t.Context(), id, []string{"sh"}, runtime.StreamIO{Stdin: in, Stdout: &screen, TTY: true, Resize: sizes})
	}()
	s.eventually(t, "the terminal has its size", func() bool {
		if _, err := io.WriteString(keyboard, "tty\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(screen.String(), "123x45")
	})
	if _, err := io.WriteString(keyboard, "exit 4\n"); err != nil {
		t.Fatal(err)
	}
	var exit *runtime.ExitError
	if err := <-done; !errors.As(err, &exit) || exit.Code != 4 {
		t.Errorf("Exec of a shell that said exit 4: %v", err)
	}
}

func testAttach(t *testing.T, s *subject) {
	streamer := s.streamer(t)
	sandbox := s.sandbox(t, "pod")
	id := s.createFrom(t, sandbox, runtime.ContainerConfig{Name: "c", Args: []string{"cat"}, Stdin: true, StdinOnce: true})
	if err := s.r.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	in, keyboard := io.Pipe()
	var screen output
	done := make(chan error, 1)
	s.eventually(t, "the container can be attached to", func() bool { return s.container(t, id).State == runtime.ContainerRunning })
	go func() { done <- streamer.Attach(t.Context(), id, runtime.StreamIO{Stdin: in, Stdout: &screen}) }()
	if _, err := io.WriteString(keyboard, "hello\n"); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the container echoes", func() bool { return strings.Contains(screen.String(), "hello") })
	if err := keyboard.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Attach after stdin ended: %v", err)
	}
	if s.Simulated {
		return
	}
	if got := s.exit(t, id); got.ExitCode != 0 {
		t.Errorf("cat whose stdin ended: exit code %d", got.ExitCode)
	}
	if log := readLog(s.container(t, id).LogPath); s.LogDirectory != "" && !strings.Contains(log, " stdout F hello\n") {
		t.Errorf("what an attached client saw is not in the log: %q", log)
	}
}

func testPortForward(t *testing.T, s *subject) {
	streamer := s.streamer(t)
	sandbox := s.sandbox(t, "pod")
	id := s.start(t, sandbox, "c", "serve", "-tcp", "7")
	s.ready(t, id, "serving")
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- streamer.PortForward(t.Context(), sandbox, 7, server) }()
	if _, err := io.WriteString(client, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "ping" {
		t.Errorf("through the port came %q, %v", got, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("PortForward: %v", err)
	}
	if !s.Simulated {
		_, server := net.Pipe()
		if err := streamer.PortForward(t.Context(), sandbox, 9, server); err == nil {
			t.Error("PortForward to a port where nobody listens: no error")
		}
	}
}

func readLog(path string) string {
	body, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(body)
}
