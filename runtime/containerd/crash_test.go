package containerd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/testimage"
	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/containerd/embedded"
	"github.com/strake-io/strake/runtime/containerd/shim"
)

// crashDir, in the environment, makes the test binary the process that is killed.
const crashDir = "STRAKE_TEST_CRASH_DIR"

// node is an embedded containerd with a runtime over it.
func node(ctx context.Context, dir string) (r *Runtime, stop func() error, err error) {
	server, err := embedded.New(embedded.Config{Root: dir + "/root", State: dir + "/state"})
	if err != nil {
		return nil, nil, err
	}
	path, err := shim.Install(dir + "/bin")
	if err != nil {
		return nil, nil, err
	}
	r, err = New(Config{Address: server.Address(), State: dir + "/pods", Shim: path})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx) }()
	go func() { ended <- r.Run(ctx) }()
	stop = func() error {
		cancel()
		if err := <-ended; err != nil {
			return err
		}
		return <-ended
	}
	select {
	case <-r.Ready():
		return r, stop, nil
	case err := <-ended:
		cancel()
		return nil, nil, err
	}
}

// crashingProcess starts two containers, says so, and waits to be killed.
func crashingProcess(dir string) error {
	ctx := context.Background()
	r, _, err := node(ctx, dir)
	if err != nil {
		return err
	}
	image, err := r.Pull(ctx, os.Getenv("STRAKE_TEST_IMAGE"), nil)
	if err != nil {
		return err
	}
	sandbox, err := r.RunSandbox(ctx, runtime.SandboxConfig{
		Pod: runtime.PodIdentity{Name: "p", Namespace: "default", UID: "u"}, Hostname: "p", LogDirectory: dir + "/logs",
		Namespaces: runtime.Namespaces{PID: runtime.NamespaceContainer},
	})
	if err != nil {
		return err
	}
	for name, args := range map[string][]string{"tick": {"tick", "5ms"}, "ends": {"sh", "-c", "sleep 1; exit 5"}} {
		id, err := r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: name, Image: image, Args: args, LogPath: name + ".log"})
		if err != nil {
			return err
		}
		if err := r.StartContainer(ctx, id); err != nil {
			return err
		}
		if name == "tick" {
			go func() { _ = r.Exec(ctx, id, []string{"sh", "-c", "sleep 60"}, runtime.StreamIO{Stdout: io.Discard}) }()
		}
	}
	for len(commands(dir)) == 0 {
		time.Sleep(time.Millisecond)
	}
	memory, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(memory)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
			fmt.Print(line)
		}
	}
	fmt.Println("running")
	select {}
}

// commands are the FIFOs of commands under way.
func commands(dir string) []string {
	found, _ := filepath.Glob(dir + "/pods/io/exec-*/stdout")
	return found
}

// TestKilled: what a process leaves when it is killed, the next one adopts.
func TestKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("containers need runc on the PATH")
	}
	registry := testimage.Serve(t)
	dir, err := os.MkdirTemp("", "strake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	child := exec.CommandContext(t.Context(), "/proc/self/exe")
	child.Env = append(os.Environ(), crashDir+"="+dir, "STRAKE_TEST_IMAGE="+registry.Ref("v1"))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	running := false
	for lines := bufio.NewScanner(out); !running && lines.Scan(); {
		t.Logf("first process: %s", lines.Text())
		running = lines.Text() == "running"
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if !running {
		t.Fatal("the first process did not start its containers")
	}
	time.Sleep(10 * time.Second) // one container ends with nobody watching, on a slow machine too

	began := time.Now()
	r, stop, err := node(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("adopted after %v", time.Since(began))
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if left := commands(dir); len(left) > 0 {
		t.Errorf("left of a command: %v", left)
	}
	ctx := t.Context()
	sandboxes, err := r.ListSandboxes(ctx)
	if err != nil || len(sandboxes) != 1 || sandboxes[0].State != runtime.SandboxReady {
		t.Fatalf("sandboxes after the crash: %+v, %v; want one that is ready", sandboxes, err)
	}
	defer func() {
		if err := r.RemoveSandbox(context.Background(), sandboxes[0].ID); err != nil {
			t.Error(err)
		}
	}()
	find := func(name string) runtime.Container {
		t.Helper()
		all, err := r.ListContainers(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("container %s is not listed", name)
		return runtime.Container{}
	}
	tick := find("tick")
	if tick.State != runtime.ContainerRunning || tick.StartedAt.After(began) {
		t.Errorf("the container that ran: %+v, want it running since before", tick)
	}
	wait := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	wait("the container that ended is seen to", func() bool { return find("ends").State == runtime.ContainerExited })
	if ends := find("ends"); ends.ExitCode != 5 || ends.FinishedAt.After(began) {
		t.Errorf("the container that ended meanwhile: %+v, want exit code 5 and the time it ended", ends)
	}
	body := func() string { b, _ := os.ReadFile(dir + "/logs/tick.log"); return string(b) }
	first := len(body())
	wait("the log goes on", func() bool { return len(body()) > first+500 })
	// None came twice, and none was lost but what the process had read and not
	// written when it was killed.
	next, lost := 0, 0
	for line := range strings.Lines(body()) {
		var n int
		if at := strings.Index(line, "tick "); at < 0 {
			continue
		} else if _, err := fmt.Sscanf(line[at:], "tick %d", &n); err != nil {
			continue
		}
		if n < next {
			t.Fatalf("after tick %d comes %d", next-1, n)
		}
		lost += n - next
		next = n + 1
	}
	if lost > 2 {
		t.Errorf("the crash lost %d lines", lost)
	}
}
