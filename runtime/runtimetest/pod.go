package runtimetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strake-io/strake/runtime"
)

func testImages(t *testing.T, s *subject) {
	ctx := t.Context()
	if _, err := s.r.Image(ctx, s.Image); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Image before Pull: %v, want ErrNotFound", err)
	}
	id := s.image(t)
	if again := s.image(t); again != id {
		t.Errorf("Pull again: %s, want the same ID %s", again, id)
	}
	other, err := s.r.Pull(ctx, s.OtherImage, nil)
	if err != nil || other == id {
		t.Fatalf("Pull of another image: %s, %v; the first is %s", other, err, id)
	}
	for _, ref := range []string{s.Image, id} {
		image, err := s.r.Image(ctx, ref)
		if err != nil {
			t.Fatalf("Image(%s): %v", ref, err)
		}
		if image.ID != id || !slices.Contains(image.RepoTags, s.Image) || len(image.RepoDigests) != 1 || image.SizeBytes <= 0 {
			t.Errorf("Image(%s): %+v", ref, image)
		}
		if _, err := s.r.Image(ctx, image.RepoDigests[0]); err != nil {
			t.Errorf("Image by digest: %v", err)
		}
	}
	all, err := s.r.ListImages(ctx)
	if err != nil || len(all) != 2 {
		t.Errorf("ListImages: %+v, %v; want each of the two once", all, err)
	}
	if usage, err := s.r.ImageUsage(ctx); err != nil || usage.UsedBytes == 0 {
		t.Errorf("ImageUsage: %+v, %v", usage, err)
	}
	for range 2 {
		if err := s.r.RemoveImage(ctx, id); err != nil {
			t.Errorf("RemoveImage (idempotent): %v", err)
		}
	}
	if _, err := s.r.Image(ctx, s.Image); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Image after RemoveImage: %v, want ErrNotFound for every name", err)
	}
	if _, err := s.r.Image(ctx, s.OtherImage); err != nil {
		t.Errorf("the other image after RemoveImage: %v", err)
	}
}

func testPullErrors(t *testing.T, s *subject) {
	for ref, reason := range map[string]string{s.MissingImage: "ErrImagePull", "": "InvalidImageName"} {
		_, err := s.r.Pull(t.Context(), ref, nil)
		var pull *runtime.PullError
		if !errors.As(err, &pull) {
			t.Fatalf("Pull(%q): %v, want a *PullError", ref, err)
		}
		if pull.Reason != reason || pull.Ref != ref {
			t.Errorf("Pull(%q): reason %q of %q (%v), want %q", ref, pull.Reason, pull.Ref, err, reason)
		}
		if reason == "ErrImagePull" && (!strings.Contains(err.Error(), "failed to pull and unpack image") || !strings.Contains(err.Error(), "not found")) {
			t.Errorf("Pull(%q): %q does not say what failed", ref, err)
		}
	}
}

func testSandboxLife(t *testing.T, s *subject) {
	ctx := t.Context()
	id := s.sandbox(t, "one")
	second := s.sandbox(t, "two")
	got, err := s.r.Sandbox(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != runtime.SandboxReady || len(got.IPs) == 0 || got.CreatedAt.IsZero() || got.HostNetwork {
		t.Errorf("after RunSandbox: %+v, want it ready with an address", got)
	}
	want := s.config("one")
	if diff := cmp.Diff(want.Pod, got.Pod); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]map[string]string{want.Labels, want.Annotations}, []map[string]string{got.Labels, got.Annotations}); diff != "" {
		t.Errorf("labels and annotations (-want +got):\n%s", diff)
	}
	other, err := s.r.Sandbox(ctx, second)
	if err != nil || len(other.IPs) == 0 || other.IPs[0] == got.IPs[0] {
		t.Errorf("two pods have one address: %v, %v (%v)", got.IPs, other, err)
	}
	all, err := s.r.ListSandboxes(ctx)
	if err != nil || len(all) != 2 {
		t.Errorf("ListSandboxes: %d, %v; want 2", len(all), err)
	}
	for range 2 {
		if err := s.r.StopSandbox(ctx, id); err != nil {
			t.Errorf("StopSandbox (idempotent): %v", err)
		}
	}
	if got, err := s.r.Sandbox(ctx, id); err != nil || got.State != runtime.SandboxNotReady {
		t.Errorf("after StopSandbox: %+v, %v; want it listed, not ready", got, err)
	}
	for range 2 {
		if err := s.r.RemoveSandbox(ctx, id); err != nil {
			t.Errorf("RemoveSandbox (idempotent): %v", err)
		}
	}
	if _, err := s.r.Sandbox(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("after RemoveSandbox: %v, want ErrNotFound", err)
	}
	// A name is free again when its sandbox is gone.
	s.sandbox(t, "one")

	config := s.config("host")
	config.Namespaces.Network = runtime.NamespaceNode
	id, err = s.r.RunSandbox(ctx, config)
	if err != nil {
		t.Fatalf("RunSandbox with the machine's network: %v", err)
	}
	if got, err := s.r.Sandbox(ctx, id); err != nil || !got.HostNetwork || len(got.IPs) != 0 {
		t.Errorf("with the machine's network: %+v, %v", got, err)
	}
}

func testSandboxErrors(t *testing.T, s *subject) {
	ctx := t.Context()
	id := s.sandbox(t, "one")
	if _, err := s.r.RunSandbox(ctx, s.config("one")); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("RunSandbox twice: %v, want ErrExists", err)
	}
	again := s.config("one")
	again.Pod.Attempt = 1
	if _, err := s.r.RunSandbox(ctx, again); err != nil {
		t.Errorf("RunSandbox of the next attempt: %v", err)
	}
	if err := s.r.StopSandbox(ctx, "absent"); err != nil {
		t.Errorf("StopSandbox of none: %v", err)
	}
	if err := s.r.RemoveSandbox(ctx, "absent"); err != nil {
		t.Errorf("RemoveSandbox of none: %v", err)
	}
	if _, err := s.r.Sandbox(ctx, "absent"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Sandbox of none: %v, want ErrNotFound", err)
	}
	config := runtime.ContainerConfig{Name: "c", Image: s.image(t)}
	if _, err := s.r.CreateContainer(ctx, "absent", config); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("CreateContainer in no sandbox: %v, want ErrNotFound", err)
	}
	if err := s.r.StopSandbox(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.r.CreateContainer(ctx, id, config); !errors.Is(err, runtime.ErrState) {
		t.Errorf("CreateContainer in a stopped sandbox: %v, want ErrState", err)
	}
}

func testContainerLife(t *testing.T, s *subject) {
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	config := runtime.ContainerConfig{
		Name: "web", Attempt: 2, Args: []string{"onterm", "143"},
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
		Resources: runtime.Resources{CPUShares: 102},
	}
	id := s.createFrom(t, sandbox, config)
	got := s.container(t, id)
	if got.State != runtime.ContainerCreated || got.SandboxID != sandbox || got.Name != "web" || got.Attempt != 2 ||
		got.Image != s.Image || got.ImageID == "" || got.ImageRef == "" || got.CreatedAt.IsZero() || !got.StartedAt.IsZero() {
		t.Errorf("after CreateContainer: %+v", got)
	}
	if diff := cmp.Diff([]map[string]string{config.Labels, config.Annotations}, []map[string]string{got.Labels, got.Annotations}); diff != "" {
		t.Errorf("labels and annotations (-want +got):\n%s", diff)
	}
	if err := s.r.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	got = s.container(t, id)
	if got.State != runtime.ContainerRunning || got.StartedAt.IsZero() || !got.FinishedAt.IsZero() || got.Resources.CPUShares != 102 {
		t.Errorf("after StartContainer: %+v", got)
	}
	all, err := s.r.ListContainers(ctx)
	if err != nil || len(all) != 1 {
		t.Errorf("ListContainers: %d, %v; want 1", len(all), err)
	}
	s.ready(t, id, "waiting")
	for range 2 {
		if err := s.r.StopContainer(ctx, id, patience); err != nil {
			t.Errorf("StopContainer (idempotent): %v", err)
		}
	}
	got = s.container(t, id)
	if got.State != runtime.ContainerExited || got.ExitCode != 143 || got.FinishedAt.IsZero() || got.Reason != "Error" {
		t.Errorf("after StopContainer: %+v, want it exited with 143", got)
	}
	if err := s.r.StartContainer(ctx, id); !errors.Is(err, runtime.ErrState) {
		t.Errorf("StartContainer of an ended one: %v, want ErrState", err)
	}
	for range 2 {
		if err := s.r.RemoveContainer(ctx, id); err != nil {
			t.Errorf("RemoveContainer (idempotent): %v", err)
		}
	}
	if _, err := s.r.Container(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("after RemoveContainer: %v, want ErrNotFound", err)
	}
	running := s.start(t, sandbox, "again", "sleep", "infinity")
	if err := s.r.RemoveContainer(ctx, running); err != nil {
		t.Errorf("RemoveContainer of a running one: %v", err)
	}
}

func testContainerErrors(t *testing.T, s *subject) {
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	id := s.create(t, sandbox, "c", "sleep", "infinity")
	if _, err := s.r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: "c", Image: s.image(t)}); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("CreateContainer twice: %v, want ErrExists", err)
	}
	if _, err := s.r.CreateContainer(ctx, sandbox, runtime.ContainerConfig{Name: "d", Image: s.MissingImage}); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("CreateContainer of an image that is not here: %v, want ErrNotFound", err)
	}
	if err := s.r.StartContainer(ctx, "absent"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("StartContainer of none: %v, want ErrNotFound", err)
	}
	if err := s.r.StopContainer(ctx, "absent", 0); err != nil {
		t.Errorf("StopContainer of none: %v", err)
	}
	if err := s.r.RemoveContainer(ctx, "absent"); err != nil {
		t.Errorf("RemoveContainer of none: %v", err)
	}
	if _, err := s.r.ExecSync(ctx, id, []string{"true"}, 0); !errors.Is(err, runtime.ErrState) {
		t.Errorf("ExecSync before the start: %v, want ErrState", err)
	}
	if _, err := s.r.ExecSync(ctx, "absent", []string{"true"}, 0); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("ExecSync in none: %v, want ErrNotFound", err)
	}
	if err := s.r.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.r.StartContainer(ctx, id); !errors.Is(err, runtime.ErrState) {
		t.Errorf("StartContainer twice: %v, want ErrState", err)
	}
}

func testExitCodes(t *testing.T, s *subject) {
	sandbox := s.sandbox(t, "pod")
	for _, test := range []struct {
		name   string
		args   []string
		code   int32
		reason string
	}{
		{"zero", []string{"true"}, 0, "Completed"},
		{"three", []string{"exit", "3"}, 3, "Error"},
		{"shell", []string{"sh", "-c", "echo one; exit 42"}, 42, "Error"},
	} {
		got := s.exit(t, s.start(t, sandbox, test.name, test.args...))
		if got.ExitCode != test.code || got.Reason != test.reason || got.FinishedAt.Before(got.StartedAt) {
			t.Errorf("%v: ended with %d %q (%v to %v), want %d %q", test.args, got.ExitCode, got.Reason,
				got.StartedAt, got.FinishedAt, test.code, test.reason)
		}
	}
}

func testStartError(t *testing.T, s *subject) {
	if s.Simulated {
		t.Skip("commands are simulated")
	}
	sandbox := s.sandbox(t, "pod")
	id := s.createFrom(t, sandbox, runtime.ContainerConfig{Name: "c", Command: []string{"no-such-program"}})
	err := s.r.StartContainer(t.Context(), id)
	if err == nil || !strings.Contains(err.Error(), `exec: "no-such-program": executable file not found in $PATH`) {
		t.Errorf("StartContainer: %v, want the program's name and why", err)
	}
	got := s.container(t, id)
	if got.State != runtime.ContainerExited || got.ExitCode != 128 || got.Reason != "StartError" || !strings.Contains(got.Message, "no-such-program") {
		t.Errorf("after a failed start: %+v, want StartError with 128", got)
	}
}

func testStopWithGrace(t *testing.T, s *subject) {
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	stubborn := s.start(t, sandbox, "stubborn", "ignoreterm")
	polite := s.start(t, sandbox, "polite", "onterm", "7")
	s.ready(t, stubborn, "ignoring")
	s.ready(t, polite, "waiting")
	if err := s.r.StopContainer(ctx, polite, patience); err != nil {
		t.Fatal(err)
	}
	if got := s.container(t, polite); got.ExitCode != 7 {
		t.Errorf("a container that handles SIGTERM: exit code %d, want its own 7", got.ExitCode)
	}
	began := time.Now()
	if err := s.r.StopContainer(ctx, stubborn, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got := s.container(t, stubborn); got.ExitCode != 137 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("a container that ignores SIGTERM: exit code %d after %v, want 137 after its grace", got.ExitCode, time.Since(began))
	}
	third := s.start(t, sandbox, "third", "ignoreterm")
	ending, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.r.StopContainer(ending, third, patience); err == nil {
		t.Error("StopContainer when its context has ended: no error, and the container runs")
	}
	if err := s.r.StopContainer(ctx, third, 0); err != nil {
		t.Errorf("StopContainer without grace: %v", err)
	}
}

// ready waits until a container has printed a word; without logs, or where nothing
// runs, it is ready.
func (s *subject) ready(t *testing.T, id, word string) {
	t.Helper()
	if s.LogDirectory == "" || s.Simulated {
		return
	}
	s.eventually(t, "the log says "+word, func() bool { return strings.Contains(readLog(s.container(t, id).LogPath), word) })
}

func testStopSandbox(t *testing.T, s *subject) {
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	running := s.start(t, sandbox, "running", "ignoreterm")
	created := s.create(t, sandbox, "created", "true")
	if err := s.r.StopSandbox(ctx, sandbox); err != nil {
		t.Fatal(err)
	}
	if got := s.container(t, running); got.State != runtime.ContainerExited || got.ExitCode != 137 {
		t.Errorf("a container of a stopped sandbox: %+v, want it killed", got)
	}
	if err := s.r.StartContainer(ctx, created); err == nil {
		t.Error("StartContainer in a stopped sandbox: no error")
	}
	if err := s.r.RemoveSandbox(ctx, sandbox); err != nil {
		t.Fatal(err)
	}
	if _, err := s.r.Container(ctx, running); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("a container of a removed sandbox: %v, want ErrNotFound", err)
	}
}
