// Package runtimetest is the contract of [runtime.Runtime] as code: [Run] checks an
// implementation, and names the rule that it broke.
package runtimetest

import (
	"context"
	"testing"
	"time"

	"github.com/strake-io/strake/runtime"
)

// Harness is an implementation under test.
type Harness struct {
	// Runtime is empty and ready.
	Runtime runtime.Runtime
	// Image is the reference of package testimage's v1 image, which can be
	// pulled; OtherImage that of v2; MissingImage can't be pulled.
	Image, OtherImage, MissingImage string
	// LogDirectory of all sandboxes; empty where the runtime writes no logs.
	LogDirectory string
	// CgroupParent of all sandboxes; empty lets the runtime choose.
	CgroupParent string
	// CgroupFile reads a file of a container's control group ("memory",
	// "memory.limit_in_bytes"); nil where there are none.
	CgroupFile func(t *testing.T, cgroupParent, containerID, controller, file string) string
	// Reopen ends the runtime and starts one anew over the same state; nil where
	// nothing survives.
	Reopen func(t *testing.T) runtime.Runtime
	// Simulated says that no process runs: what needs a real one is left out.
	Simulated bool
}

// Factory makes a harness for one test.
type Factory func(t *testing.T) *Harness

// patience is how long something may take that needs no time. It bounds the wait
// for a failure only.
const patience = 30 * time.Second

// Run checks an implementation.
func Run(t *testing.T, factory Factory) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *subject)
	}{
		{"Images", testImages},
		{"PullErrors", testPullErrors},
		{"SandboxLife", testSandboxLife},
		{"SandboxErrors", testSandboxErrors},
		{"ContainerLife", testContainerLife},
		{"ContainerErrors", testContainerErrors},
		{"ExitCodes", testExitCodes},
		{"StartError", testStartError},
		{"StopWithGrace", testStopWithGrace},
		{"StopSandboxStopsContainers", testStopSandbox},
		{"ExecSync", testExecSync},
		{"Exec", testExec},
		{"ExecTTY", testExecTTY},
		{"Attach", testAttach},
		{"PortForward", testPortForward},
		{"Logs", testLogs},
		{"Specification", testSpecification},
		{"SharedPID", testSharedPID},
		{"Resources", testResources},
		{"OOMKilled", testOOM},
		{"Stats", testStats},
		{"Events", testEvents},
		{"Reopen", testReopen},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := factory(t)
			s := &subject{Harness: h, r: h.Runtime}
			t.Cleanup(func() { s.clear(t) })
			test.run(t, s)
		})
	}
}

// subject is a runtime under test with what tests do over and over.
type subject struct {
	*Harness
	r runtime.Runtime
}

// clear removes all pods, so that the machine is as before.
func (s *subject) clear(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.r.ListSandboxes(ctx)
	if err != nil {
		t.Errorf("ListSandboxes: %v", err)
	}
	for _, sb := range all {
		if err := s.r.RemoveSandbox(ctx, sb.ID); err != nil {
			t.Errorf("RemoveSandbox: %v", err)
		}
	}
	left, err := s.r.ListContainers(ctx)
	if err != nil || len(left) > 0 {
		t.Errorf("after all sandboxes were removed there are containers: %v, %v", left, err)
	}
}

func (s *subject) config(name string) runtime.SandboxConfig {
	return runtime.SandboxConfig{
		Pod:          runtime.PodIdentity{Name: name, Namespace: "default", UID: "uid-" + name},
		Hostname:     name,
		LogDirectory: s.LogDirectory,
		CgroupParent: s.CgroupParent,
		Labels:       map[string]string{"app": name},
		Annotations:  map[string]string{"note": name},
		Namespaces:   runtime.Namespaces{PID: runtime.NamespaceContainer},
	}
}

// sandbox makes one.
func (s *subject) sandbox(t *testing.T, name string) string {
	t.Helper()
	id, err := s.r.RunSandbox(t.Context(), s.config(name))
	if err != nil {
		t.Fatalf("RunSandbox: %v", err)
	}
	return id
}

// image pulls the image and returns its ID.
func (s *subject) image(t *testing.T) string {
	t.Helper()
	id, err := s.r.Pull(t.Context(), s.Image, nil)
	if err != nil {
		t.Fatalf("Pull(%s): %v", s.Image, err)
	}
	return id
}

// create makes a container of the test image.
func (s *subject) create(t *testing.T, sandbox, name string, args ...string) string {
	t.Helper()
	return s.createFrom(t, sandbox, runtime.ContainerConfig{Name: name, Args: args})
}

func (s *subject) createFrom(t *testing.T, sandbox string, config runtime.ContainerConfig) string {
	t.Helper()
	config.Image, config.UserImage = s.image(t), s.Image
	if s.LogDirectory != "" && config.LogPath == "" {
		config.LogPath = config.Name + "/0.log"
	}
	id, err := s.r.CreateContainer(t.Context(), sandbox, config)
	if err != nil {
		t.Fatalf("CreateContainer: %v", err)
	}
	return id
}

// start makes and starts a container.
func (s *subject) start(t *testing.T, sandbox, name string, args ...string) string {
	t.Helper()
	id := s.create(t, sandbox, name, args...)
	if err := s.r.StartContainer(t.Context(), id); err != nil {
		t.Fatalf("StartContainer(%v): %v", args, err)
	}
	return id
}

func (s *subject) container(t *testing.T, id string) runtime.Container {
	t.Helper()
	c, err := s.r.Container(t.Context(), id)
	if err != nil {
		t.Fatalf("Container: %v", err)
	}
	return *c
}

// exit waits until a container has ended.
func (s *subject) exit(t *testing.T, id string) runtime.Container {
	t.Helper()
	var last runtime.Container
	s.eventually(t, "the container ends", func() bool {
		last = s.container(t, id)
		return last.State == runtime.ContainerExited
	})
	return last
}

// eventually waits for a condition.
func (s *subject) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
