package fake_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/fake"
	"github.com/strake-io/strake/runtime/runtimetest"
)

func newFake(t testing.TB, config fake.Config) *fake.Runtime {
	t.Helper()
	r, err := fake.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContract(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) *runtimetest.Harness {
		r := newFake(t, fake.Config{WriteLogs: true})
		return &runtimetest.Harness{
			Runtime: r, Image: "registry.test/server:v1", OtherImage: "registry.test/server:v2",
			MissingImage: "fake.invalid/server:v1", LogDirectory: t.TempDir(),
			Reopen:    func(*testing.T) runtime.Runtime { return r },
			Simulated: true,
		}
	})
}

// TestBehaviour runs simulated containers over simulated hours.
func TestBehaviour(t *testing.T) {
	for _, test := range []struct {
		name        string
		command     []string
		annotations map[string]string
		after       time.Duration
		state       runtime.ContainerState
		code        int32
		reason      string
	}{
		{name: "runs for ever", after: 24 * time.Hour, state: runtime.ContainerRunning},
		{name: "sleep", command: []string{"sleep", "3600"}, after: time.Hour + time.Second, state: runtime.ContainerExited, reason: "Completed"},
		{name: "sleep not over", command: []string{"sleep", "3600"}, after: time.Hour - time.Second, state: runtime.ContainerRunning},
		{name: "script", command: []string{"sh", "-c", "sleep 5; exit 3"}, after: 6 * time.Second, state: runtime.ContainerExited, code: 3, reason: "Error"},
		{name: "annotated", annotations: map[string]string{fake.AnnotationRunFor: "1m", fake.AnnotationExitCode: "2"},
			after: 61 * time.Second, state: runtime.ContainerExited, code: 2, reason: "Error"},
		{name: "oom of another", annotations: map[string]string{fake.AnnotationRunFor + ".other": "1m"}, after: time.Hour, state: runtime.ContainerRunning},
		{name: "oom", annotations: map[string]string{fake.AnnotationRunFor + ".c": "1m", fake.AnnotationOOMKilled + ".c": "true"},
			after: time.Hour, state: runtime.ContainerExited, code: 137, reason: "OOMKilled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				r := newFake(t, fake.Config{StartDelay: 100 * time.Millisecond, PullDelay: time.Second})
				if _, err := r.Pull(ctx, "nginx", nil); err != nil {
					t.Fatal(err)
				}
				sandbox, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "p"}, Annotations: test.annotations})
				if err != nil {
					t.Fatal(err)
				}
				id, err := r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: "c", Image: "nginx", Command: test.command})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if err := r.StartContainer(ctx, id); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != 100*time.Millisecond {
					t.Errorf("the start took %v, want its delay", took)
				}
				time.Sleep(test.after)
				synctest.Wait()
				got, err := r.Container(ctx, id)
				if err != nil || got.State != test.state || got.ExitCode != test.code || got.Reason != test.reason {
					t.Errorf("after %v: %+v, %v", test.after, got, err)
				}
			})
		})
	}
}

func TestAddressesAreUsedAgain(t *testing.T) {
	ctx := t.Context()
	r := newFake(t, fake.Config{PodCIDR: netip.MustParsePrefix("10.1.1.0/29")})
	var ids []string
	for i := range 5 {
		id, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: fmt.Sprint(i)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "more"}}); err == nil {
		t.Error("a pod more than the range holds: no error")
	}
	if err := r.StopSandbox(ctx, ids[2]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "more"}}); err != nil {
		t.Errorf("after one pod stopped: %v", err)
	}
}

func TestNormalize(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx":                      "docker.io/library/nginx:latest",
		"nginx:1.27":                 "docker.io/library/nginx:1.27",
		"user/app":                   "docker.io/user/app:latest",
		"localhost:5000/app":         "localhost:5000/app:latest",
		"registry.test/a/b:v1":       "registry.test/a/b:v1",
		"docker.io/nginx":            "docker.io/library/nginx:latest",
		"registry.test/a@sha256:abc": "registry.test/a@sha256:abc",
	} {
		if got := fake.Normalize(ref); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
}

// BenchmarkPod is a whole pod's life; it shows the memory of one.
func BenchmarkPod(b *testing.B) {
	ctx := b.Context()
	r := newFake(b, fake.Config{PodCIDR: netip.MustParsePrefix("10.0.0.0/8")})
	if _, err := r.Pull(ctx, "nginx", nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sandbox, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: fmt.Sprint(i)}})
		if err != nil {
			b.Fatal(err)
		}
		id, err := r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: "c", Image: "nginx"})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.StartContainer(ctx, id); err != nil {
			b.Fatal(err)
		}
	}
}

// TestExec tells what people get who look into a simulated container, and what
// hooks and probes get.
func TestExec(t *testing.T) {
	ctx := t.Context()
	r := newFake(t, fake.Config{})
	sandbox, err := r.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pull(ctx, "nginx", nil); err != nil {
		t.Fatal(err)
	}
	id, err := r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: "c", Image: "nginx"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, stdin string
		command     []string
		out, err    string
		code        int32
	}{
		{name: "known", command: []string{"echo", "hi"}, out: "hi\n"},
		{name: "exit status", command: []string{"sh", "-c", "exit 3"}, code: 3},
		{name: "unknown", command: []string{"ls", "-l"}, err: `exec: "ls": executable file not found in $PATH`},
		{name: "shell", command: []string{"sh"}, stdin: "echo one\nls\n\necho two\nexit 4\necho three\n", out: "one\nsh: ls: not found\ntwo\n", code: 4},
		{name: "shell without input", command: []string{"sh"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			streams := runtime.StreamIO{Stdout: &out}
			if test.stdin != "" {
				streams.Stdin = strings.NewReader(test.stdin)
			}
			err := r.Exec(ctx, id, test.command, streams)
			if out.String() != test.out {
				t.Errorf("said %q, want %q", out.String(), test.out)
			}
			var exit *runtime.ExitError
			if errors.As(err, &exit) != (test.code != 0) || exit != nil && exit.Code != test.code {
				t.Errorf("ended with %v, want status %d", err, test.code)
			} else if exit != nil {
				return
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
	if result, err := r.ExecSync(ctx, id, []string{"pg_isready"}, time.Second); err != nil || result.ExitCode != 0 {
		t.Errorf("a probe's command that is not known: %+v, %v", result, err)
	}
}
