package containerd

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/google/go-cmp/cmp"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strake-io/strake/runtime"
)

func TestArguments(t *testing.T) {
	image := imagespec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}}
	for _, test := range []struct {
		name          string
		command, args []string
		want          []string
	}{
		{"neither", nil, nil, []string{"/entry", "cmd"}},
		{"args", nil, []string{"a"}, []string{"/entry", "a"}},
		{"command", []string{"c"}, nil, []string{"c"}},
		{"both", []string{"c"}, []string{"a"}, []string{"c", "a"}},
	} {
		got, err := arguments(runtime.ContainerConfig{Command: test.command, Args: test.args}, image)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", test.name, err, diff)
		}
	}
	if _, err := arguments(runtime.ContainerConfig{}, imagespec.ImageConfig{}); err == nil {
		t.Error("nothing to run: no error")
	}
}

func TestCapabilities(t *testing.T) {
	all := []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"}
	standard := all[:2]
	for _, test := range []struct {
		name string
		in   runtime.SecurityContext
		want []string
	}{
		{"default", runtime.SecurityContext{}, []string{"CAP_CHOWN", "CAP_KILL"}},
		{"add", runtime.SecurityContext{AddCapabilities: []string{"NET_ADMIN"}}, []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"}},
		{"drop", runtime.SecurityContext{DropCapabilities: []string{"CAP_KILL"}}, []string{"CAP_CHOWN"}},
		{"drop all, add one", runtime.SecurityContext{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"KILL"}}, []string{"CAP_KILL"}},
		{"add all, drop one", runtime.SecurityContext{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"SYS_ADMIN"}}, all[:3]},
		{"privileged", runtime.SecurityContext{Privileged: true, DropCapabilities: []string{"ALL"}}, all},
	} {
		if diff := cmp.Diff(test.want, capabilities(test.in, all, standard)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestResolveUser(t *testing.T) {
	root := fstest.MapFS{
		"etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/:/bin/sh\n")},
		"etc/group":  {Data: []byte("root:x:0:root\nwheel:x:10:root\napp:x:1001:\nextra:x:2000:app\n")},
	}
	number := func(n int64) *int64 { return &n }
	for _, test := range []struct {
		name     string
		security runtime.SecurityContext
		image    string
		want     specs.User
		fails    string
	}{
		{name: "root", want: specs.User{AdditionalGids: []uint32{0, 10}}},
		{name: "image's", image: "app", want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 2000}}},
		{name: "image's with group", image: "app:wheel", want: specs.User{UID: 1000, GID: 10, AdditionalGids: []uint32{10, 2000}}},
		{name: "number that has a name", image: "1000", want: specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 2000}}},
		{name: "number without", image: "4242:4243", want: specs.User{UID: 4242, GID: 4243, AdditionalGids: []uint32{4243}}},
		{name: "pod's", security: runtime.SecurityContext{RunAsUser: number(7), RunAsGroup: number(8), SupplementalGroups: []int64{9, 8}}, image: "app",
			want: specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{8, 9}}},
		{name: "no such user", image: "ghost", fails: "unable to find user ghost"},
		{name: "no such group", image: "app:ghosts", fails: "unable to find group ghosts"},
	} {
		got, err := resolveUser(root, test.security, test.image)
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %v, want %q", test.name, err, test.fails)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
		}
	}
	if got, err := resolveUser(fstest.MapFS{}, runtime.SecurityContext{}, ""); err != nil || got.UID != 0 {
		t.Errorf("an image without files: %+v, %v", got, err)
	}
}

func TestStopSignal(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"": 15, "SIGTERM": 15, "TERM": 15, "sigquit": 3, "9": 9, "nonsense": 15, "SIGRTMIN+3": 37, "999": 15,
	} {
		if got := stopSignal(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

func TestExitReason(t *testing.T) {
	for want, in := range map[string]struct {
		code int32
		oom  bool
	}{"Completed": {0, true}, "Error": {1, false}, "OOMKilled": {137, true}} {
		if got := exitReason(in.code, in.oom); got != want {
			t.Errorf("%+v: %q, want %q", in, got, want)
		}
	}
}

// TestBuildSpec looks at what the contract's tests can't see from inside.
func TestBuildSpec(t *testing.T) {
	ctx := namespaces.WithNamespace(t.Context(), "test")
	dir := t.TempDir()
	spec, err := buildSpec(ctx, &containers.Container{ID: "c"}, specInput{
		ID: "c", SandboxDir: "/sandbox", CgroupPath: "/kubepods/pod1/c", Node: nodeFacts{SwapLimit: true},
		Image: imagespec.ImageConfig{Entrypoint: []string{"/entry"}, Env: []string{"A=image", "B=image"}},
		Container: runtime.ContainerConfig{
			Env: []runtime.EnvVar{{Name: "B", Value: "pod"}},
			Mounts: []runtime.Mount{
				{HostPath: dir, ContainerPath: "/a/b", ReadOnly: true, Propagation: runtime.PropagationHostToContainer},
				{HostPath: dir, ContainerPath: "/a"},
				{HostPath: dir, ContainerPath: "/etc/hostname"},
			},
			Resources: runtime.Resources{MemoryLimitBytes: 1 << 20, CPUShares: 2},
		},
		Sandbox: runtime.SandboxConfig{Namespaces: runtime.Namespaces{PID: runtime.NamespaceNode, IPC: runtime.NamespaceNode}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=image", "B=pod"}, spec.Process.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	want := []specs.LinuxNamespace{
		{Type: specs.MountNamespace},
		{Type: specs.NetworkNamespace, Path: "/sandbox/net"},
		{Type: specs.UTSNamespace, Path: "/sandbox/uts"},
	}
	if diff := cmp.Diff(want, spec.Linux.Namespaces); diff != "" {
		t.Errorf("namespaces, with the machine's PID and IPC (-want +got):\n%s", diff)
	}
	if spec.Linux.CgroupsPath != "/kubepods/pod1/c" || *spec.Linux.Resources.Memory.Swap != 1<<20 || *spec.Linux.Resources.CPU.Shares != 2 {
		t.Errorf("limits: %s %+v", spec.Linux.CgroupsPath, spec.Linux.Resources)
	}
	at := map[string]int{}
	for i, m := range spec.Mounts {
		if _, twice := at[m.Destination]; twice {
			t.Errorf("two mounts at %s", m.Destination)
		}
		at[m.Destination] = i
	}
	if at["/a"] > at["/a/b"] {
		t.Error("/a would hide /a/b")
	}
	if m := spec.Mounts[at["/dev/shm"]]; m.Source != "/dev/shm" {
		t.Errorf("with the machine's IPC, /dev/shm is %s", m.Source)
	}
	if diff := cmp.Diff([]string{"rbind", "rslave", "ro"}, spec.Mounts[at["/a/b"]].Options); diff != "" || spec.Linux.RootfsPropagation != "rslave" {
		t.Errorf("propagation %q (-want +got):\n%s", spec.Linux.RootfsPropagation, diff)
	}
}

func TestSetSysctlKeepsToThePod(t *testing.T) {
	for _, name := range []string{"vm.swappiness", "kernel.panic", "net/../vm/swappiness", "fs.file-max"} {
		if err := setSysctl(name, "0"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzLines: whatever the pieces a stream comes in, the log's lines put together
// are what was printed, and no line is longer than the format allows.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nno end"), 3)
	f.Add(bytes.Repeat([]byte("x"), 3*maxLogLine+1), 1000)
	f.Add([]byte("\n\n\n"), 1)
	f.Fuzz(func(t *testing.T, printed []byte, piece int) {
		if piece <= 0 {
			piece = 1
		}
		s := lines{stream: "stdout"}
		now := time.Unix(0, 5).UTC()
		var log []byte
		for rest := printed; len(rest) > 0; {
			n := min(piece, len(rest))
			log = append(log, s.add(now, rest[:n])...)
			rest = rest[n:]
		}
		log = append(log, s.end(now)...)
		var got []byte
		for _, line := range bytes.SplitAfter(log, []byte("\n")) {
			if len(line) == 0 {
				continue
			}
			body, ok := bytes.CutPrefix(line, []byte("1970-01-01T00:00:00.000000005Z stdout "))
			if !ok || len(body) < 3 {
				t.Fatalf("a log line is %q", line)
			}
			tag, text := body[0], body[2:len(body)-1]
			if len(text) > maxLogLine {
				t.Fatalf("a log line has %d bytes", len(text))
			}
			got = append(got, text...)
			if tag == 'F' {
				got = append(got, '\n')
			}
		}
		if !bytes.Equal(got, printed) {
			t.Fatalf("printed %q, logged %q", printed, got)
		}
	})
}
