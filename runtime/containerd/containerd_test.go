package containerd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/testimage"
	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/containerd/embedded"
	"github.com/strake-io/strake/runtime/containerd/shim"
	"github.com/strake-io/strake/runtime/network"
	"github.com/strake-io/strake/runtime/runtimetest"
)

func TestMain(m *testing.M) {
	shim.RunIfShim()
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Println(crashingProcess(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// machine is an embedded containerd with its own network, until the test ends.
type machine struct {
	dir, shim string
	address   string
	network   network.Network
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("containers need runc on the PATH")
	}
	dir, err := os.MkdirTemp("", "strake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := embedded.New(embedded.Config{Root: dir + "/root", State: dir + "/state"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, server.Run, server.Ready()))
	installed, err := shim.Install(dir + "/bin")
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := network.NewBridge(network.BridgeConfig{
		Name: "strtest1", Subnet: netip.MustParsePrefix("10.99.8.0/24"), StateDir: dir + "/net", HostNetNS: hostNamespace(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{dir: dir, shim: installed, address: server.Address(), network: bridge}
}

// run runs a component until stop is called.
func run(t *testing.T, component func(context.Context) error, ready <-chan struct{}) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- component(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	}
	return stop
}

// hostNamespace is a network namespace that plays the machine's.
func hostNamespace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := pinNamespaces(dir, []string{"net"}, "", nil); err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := unpin(dir); err != nil {
			t.Errorf("letting go of the machine's namespace: %v", err)
		}
	})
	return dir + "/net"
}

func (m *machine) start(t *testing.T) (*Runtime, func()) {
	t.Helper()
	r, err := New(Config{Address: m.address, State: m.dir + "/pods", Shim: m.shim, Network: m.network})
	if err != nil {
		t.Fatal(err)
	}
	return r, run(t, r.Run, r.Ready())
}

func TestContract(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	registry := testimage.Serve(t)
	runtimetest.Run(t, func(t *testing.T) *runtimetest.Harness {
		m := newMachine(t)
		r, stop := m.start(t)
		t.Cleanup(func() { stop() })
		parent := "/" + filepath.Base(m.dir)
		t.Cleanup(func() { removeGroups(parent) })
		h := &runtimetest.Harness{
			Runtime: r, Image: registry.Ref("v1"), OtherImage: registry.Ref("v2"), MissingImage: registry.Ref("missing"),
			LogDirectory: m.dir + "/logs", CgroupParent: parent,
			CgroupFile: func(t *testing.T, parent, id, controller, file string) string {
				t.Helper()
				body, err := os.ReadFile(cgroupFile(controller, parent+"/"+id, file))
				if err != nil {
					t.Error(err)
				}
				return string(body)
			},
		}
		h.Reopen = func(t *testing.T) runtime.Runtime {
			t.Helper()
			stop()
			var r *Runtime
			r, stop = m.start(t)
			return r
		}
		return h
	})
}

// removeGroups removes the control groups that the kubelet would have.
func removeGroups(parent string) {
	for _, dir := range []string{cgroupRoot + parent, cgroupRoot + "/unified" + parent} {
		_ = os.Remove(dir)
	}
	controllers, err := filepath.Glob(cgroupRoot + "/*" + parent)
	if err != nil {
		return
	}
	for _, dir := range controllers {
		_ = os.Remove(dir)
	}
}

// TestPodStart shows how long the parts of a pod's start take.
func TestPodStart(t *testing.T) {
	m := newMachine(t)
	r, stop := m.start(t)
	t.Cleanup(stop)
	registry := testimage.Serve(t)
	ctx := t.Context()
	step := func(name string, began time.Time) { t.Logf("%-10s %v", name, time.Since(began)) }

	began := time.Now()
	image, err := r.Pull(ctx, registry.Ref("v1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	step("pull", began)
	for attempt := range uint32(3) {
		whole := time.Now()
		id, err := r.RunSandbox(ctx, runtime.SandboxConfig{
			Pod:          runtime.PodIdentity{Name: "web", Namespace: "default", UID: "u1", Attempt: attempt},
			Hostname:     "web",
			LogDirectory: m.dir + "/logs",
			Namespaces:   runtime.Namespaces{PID: runtime.NamespaceContainer},
		})
		if err != nil {
			t.Fatal(err)
		}
		step("sandbox", whole)
		began = time.Now()
		c, err := r.CreateContainer(ctx, id, runtime.ContainerConfig{Name: "c", Image: image, LogPath: "c/0.log"})
		if err != nil {
			t.Fatal(err)
		}
		step("create", began)
		began = time.Now()
		if err := r.StartContainer(ctx, c); err != nil {
			t.Fatal(err)
		}
		step("start", began)
		step("in all", whole)
		began = time.Now()
		result, err := r.ExecSync(ctx, c, []string{"hostname"}, 10*time.Second)
		if err != nil || string(result.Stdout) != "web\n" {
			t.Fatalf("hostname: %+v, %v", result, err)
		}
		step("exec", began)
		began = time.Now()
		if err := r.StopContainer(ctx, c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		step("stop", began)
		began = time.Now()
		if err := r.RemoveSandbox(ctx, id); err != nil {
			t.Fatal(err)
		}
		step("remove", began)
	}
}
