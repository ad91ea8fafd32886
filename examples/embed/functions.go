package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strake-io/strake/runtime"
)

// Function is what a container of this product is: it runs until it returns, or
// until ctx ends, which asks it to.
type Function func(ctx context.Context, args []string, env map[string]string) error

// Functions is a [runtime.Runtime] that runs the product's own functions as
// containers. The image names the function: "functions/hello" is "hello".
type Functions struct {
	known map[string]Function

	mu         sync.Mutex // guards all below, and the records that they lead to
	nextID     int
	pulled     map[string]bool // by name
	sandboxes  map[string]*runtime.Sandbox
	containers map[string]*function
}

// function is one container.
type function struct {
	runtime.Container
	run  func(ctx context.Context) error
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
}

var _ runtime.Runtime = (*Functions)(nil)

// NewFunctions makes a runtime of these functions.
func NewFunctions(known map[string]Function) *Functions {
	return &Functions{
		known: known, pulled: map[string]bool{},
		sandboxes: map[string]*runtime.Sandbox{}, containers: map[string]*function{},
	}
}

// Version implements [runtime.Runtime].
func (f *Functions) Version(context.Context) (runtime.Version, error) {
	return runtime.Version{Name: "functions", Version: "1.0.0"}, nil
}

// Status implements [runtime.Runtime].
func (f *Functions) Status(context.Context) (runtime.Status, error) {
	return runtime.Status{RuntimeReady: true, NetworkReady: true}, nil
}

// name of the function that an image reference means.
func name(ref string) string {
	name, _, _ := strings.Cut(path.Base(ref), ":")
	return name
}

// Pull implements [runtime.Images].
func (f *Functions) Pull(_ context.Context, ref string, _ *runtime.RegistryAuth) (string, error) {
	if f.known[name(ref)] == nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: fmt.Errorf("there is no function %q", name(ref))}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulled[name(ref)] = true
	return name(ref), nil
}

// Image implements [runtime.Images].
func (f *Functions) Image(_ context.Context, ref string) (*runtime.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.pulled[name(ref)] {
		return nil, fmt.Errorf("function %q: %w", name(ref), runtime.ErrNotFound)
	}
	return &runtime.Image{ID: name(ref), RepoTags: []string{"functions/" + name(ref) + ":latest"}}, nil
}

// ListImages implements [runtime.Images].
func (f *Functions) ListImages(context.Context) (images []runtime.Image, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.pulled {
		images = append(images, runtime.Image{ID: name, RepoTags: []string{"functions/" + name + ":latest"}})
	}
	return images, nil
}

// RemoveImage implements [runtime.Images].
func (f *Functions) RemoveImage(_ context.Context, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pulled, name(ref))
	return nil
}

// ImageUsage implements [runtime.Images].
func (f *Functions) ImageUsage(context.Context) (runtime.FilesystemUsage, error) {
	return runtime.FilesystemUsage{Mountpoint: "/"}, nil
}

// RunSandbox implements [runtime.Sandboxes]. A sandbox is only a record here: the
// functions share the process, and its network.
func (f *Functions) RunSandbox(_ context.Context, config runtime.SandboxConfig) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sandboxes {
		if s.Pod == config.Pod {
			return "", fmt.Errorf("pod %s/%s: %w", config.Pod.Namespace, config.Pod.Name, runtime.ErrExists)
		}
	}
	id := f.id()
	f.sandboxes[id] = &runtime.Sandbox{
		ID: id, Pod: config.Pod, State: runtime.SandboxReady, IPs: []string{"127.0.0.1"}, CreatedAt: time.Now(),
		Labels: config.Labels, Annotations: config.Annotations,
	}
	return id, nil
}

// id is a new one. Call with mu held.
func (f *Functions) id() string {
	f.nextID++
	return fmt.Sprintf("function-%d", f.nextID)
}

// StopSandbox implements [runtime.Sandboxes].
func (f *Functions) StopSandbox(ctx context.Context, id string) error {
	var errs []error
	for _, c := range f.inside(id) {
		errs = append(errs, f.StopContainer(ctx, c, 0))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sandboxes[id]; s != nil {
		s.State, s.IPs = runtime.SandboxNotReady, nil
	}
	return errors.Join(errs...)
}

// RemoveSandbox implements [runtime.Sandboxes].
func (f *Functions) RemoveSandbox(ctx context.Context, id string) error {
	if err := f.StopSandbox(ctx, id); err != nil {
		return err
	}
	for _, c := range f.inside(id) {
		if err := f.RemoveContainer(ctx, c); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sandboxes, id)
	return nil
}

// inside are the IDs of a sandbox's containers.
func (f *Functions) inside(sandbox string) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, c := range f.containers {
		if c.SandboxID == sandbox {
			ids = append(ids, id)
		}
	}
	return ids
}

// Sandbox implements [runtime.Sandboxes].
func (f *Functions) Sandbox(_ context.Context, id string) (*runtime.Sandbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sandboxes[id]
	if s == nil {
		return nil, fmt.Errorf("sandbox %s: %w", id, runtime.ErrNotFound)
	}
	found := *s
	found.IPs = slices.Clone(s.IPs)
	return &found, nil
}

// ListSandboxes implements [runtime.Sandboxes].
func (f *Functions) ListSandboxes(context.Context) (list []runtime.Sandbox, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sandboxes {
		list = append(list, *s)
	}
	return list, nil
}
