package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strake-io/strake/internal/testimage"
	"github.com/strake-io/strake/internal/testnet"
	"github.com/strake-io/strake/runtime/containerd/shim"
)

// asProgram makes this test binary be the program, so that the race detector
// watches what the tests drive.
const asProgram = "STRAKE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	shim.RunIfShim()
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		main()
		return
	}
	os.Exit(m.Run())
}

// cluster is a running standalone program on a machine of its own: a network
// namespace with one address. Its images come from a registry in there.
type cluster struct {
	t          testing.TB
	machine    testnet.Host
	dir        string // data directory
	kubeconfig string
	args       []string
	registry   *testimage.Registry

	process *exec.Cmd
	output  *screen
	exited  chan error
}

var machineAddr = netip.MustParseAddr("192.168.78.10")

// newCluster starts the program with real containers, or skips the test where the
// privilege for them is missing. All that it made goes when the test ends.
func newCluster(t testing.TB, args ...string) *cluster {
	t.Helper()
	for _, program := range []string{"kubectl", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("this test needs %s on the PATH; `make test` installs it", program)
		}
	}
	machine := testnet.Machine(t, machineAddr)
	// Unix sockets want short paths.
	dir, err := os.MkdirTemp("", "strake")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, machine: machine, dir: filepath.Join(dir, "data"), args: args}
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	if err := machine.In(func() (err error) {
		c.registry, err = testimage.Start(context.Background(), dir, nil)
		return err
	}); err != nil {
		t.Fatalf("serving test images: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() && c.output != nil {
			t.Logf("the program said:\n%s", c.output)
		}
		c.registry.Close()
		if c.process != nil {
			c.kill()
		}
		c.purge()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("left behind: %v", err)
		}
	})
	c.start()
	return c
}

// start starts the program and waits until it is ready.
func (c *cluster) start(more ...string) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	args := append([]string{"--data-dir", c.dir, "--kubeconfig", c.kubeconfig}, c.args...)
	c.process = exec.Command(self, append(args, more...)...)
	c.process.Env = append(os.Environ(), asProgram+"=1")
	c.output = &screen{}
	ready := make(chan struct{})
	out := &watchFor{buf: c.output, text: "Now type", found: ready}
	c.process.Stdout, c.process.Stderr = out, out
	if err := c.machine.In(c.process.Start); err != nil {
		c.t.Fatal(err)
	}
	c.exited = make(chan error, 1)
	go func(p *exec.Cmd, exited chan error) { exited <- p.Wait() }(c.process, c.exited)
	select {
	case <-ready:
	case err := <-c.exited:
		c.process = nil
		c.t.Fatalf("the program ended: %v\n%s", err, c.output)
	case <-time.After(time.Minute):
		c.t.Fatalf("the program is not ready after a minute")
	}
}

// kill ends the program at once, as a crash does. Its containers run on.
func (c *cluster) kill() {
	_ = c.process.Process.Kill()
	<-c.exited
	c.process = nil
}

// stop ends the program as a user does, and returns what it said.
func (c *cluster) stop() string {
	c.t.Helper()
	if err := c.process.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.exited:
		if err != nil {
			c.t.Errorf("the program failed: %v\n%s", err, c.output)
		}
	case <-time.After(time.Minute):
		c.t.Fatal("the program does not stop")
	}
	c.process = nil
	return c.output.String()
}

// purge removes every container, by the program's own means.
func (c *cluster) purge() {
	c.start("--purge")
	c.stop()
}

// image names the test image with a tag.
func (c *cluster) image(tag string) string { return c.registry.Ref(tag) }

// command is a kubectl command line in the cluster's network.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	return cmd
}

// try runs kubectl and returns its output, both streams together.
func (c *cluster) try(args ...string) (string, error) { return c.feed("", args...) }

// feed runs kubectl with standard input.
func (c *cluster) feed(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := c.command(ctx, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := c.machine.In(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimSpace(withoutNotices(out.String())), err
}

// withoutNotices drops what kubectl says beside its answer: of every server newer
// than itself, and of Endpoints, which are deprecated.
func withoutNotices(out string) string {
	var kept []string
	for _, line := range strings.SplitAfter(out, "\n") {
		if !strings.HasPrefix(line, "WARNING: version difference") && !strings.HasPrefix(line, "Warning: v1 Endpoints is deprecated") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// kubectl runs kubectl and fails the test where that fails.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// apply applies a manifest.
func (c *cluster) apply(manifest string) string {
	c.t.Helper()
	out, err := c.feed(manifest, "apply", "-f", "-")
	if err != nil {
		c.t.Fatalf("kubectl apply: %v\n%s\n%s", err, out, manifest)
	}
	return out
}

// refuses runs kubectl, wants it to fail, and to say want.
func (c *cluster) refuses(want string, stdin string, args ...string) {
	c.t.Helper()
	out, err := c.feed(stdin, args...)
	if err == nil || !strings.Contains(out, want) {
		c.t.Errorf("kubectl %s: %v, and said\n%s\nwant a failure with\n%s", strings.Join(args, " "), err, out, want)
	}
}

// eventually asks again and again until check returns nil, for a minute.
func (c *cluster) eventually(what string, check func() error) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s: not within a minute: %v", what, err)
}

// says waits until kubectl's output contains want.
func (c *cluster) says(want string, args ...string) {
	c.t.Helper()
	c.eventually("kubectl "+strings.Join(args, " "), func() error {
		out, err := c.try(args...)
		if err != nil || !strings.Contains(out, want) {
			return fmt.Errorf("%v: %q, want %q", err, out, want)
		}
		return nil
	})
}

// client is a client-go client of the cluster's API.
func (c *cluster) client() (*kubernetes.Clientset, *rest.Config) {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		c.t.Fatal(err)
	}
	config.QPS = -1
	config.Dial = c.machine.Dial
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		c.t.Fatal(err)
	}
	return client, config
}

// watchFor keeps what is written and tells when a text has appeared.
type watchFor struct {
	buf   *screen
	text  string
	found chan struct{}
	told  bool
}

func (w *watchFor) Write(p []byte) (int, error) {
	w.buf.Write(p)
	if !w.told && strings.Contains(w.buf.String(), w.text) {
		w.told = true
		close(w.found)
	}
	return len(p), nil
}
