package main

import (
	"context"
	"fmt"
	"time"

	"github.com/strake-io/strake/runtime"
)

// CreateContainer implements [runtime.Containers].
func (f *Functions) CreateContainer(_ context.Context, sandboxID string, config runtime.ContainerConfig) (string, error) {
	run := f.known[name(config.Image)]
	if run == nil {
		return "", fmt.Errorf("function %q: %w", name(config.Image), runtime.ErrNotFound)
	}
	env := map[string]string{}
	for _, v := range config.Env {
		env[v.Name] = v.Value
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sandboxes[sandboxID] == nil {
		return "", fmt.Errorf("sandbox %s: %w", sandboxID, runtime.ErrNotFound)
	}
	id := f.id()
	f.containers[id] = &function{
		Container: runtime.Container{
			ID: id, SandboxID: sandboxID, Name: config.Name, Attempt: config.Attempt, State: runtime.ContainerCreated,
			Image: config.UserImage, ImageID: config.Image, ImageRef: config.Image, CreatedAt: time.Now(),
			Labels: config.Labels, Annotations: config.Annotations,
		},
		run: func(ctx context.Context) error { return run(ctx, config.Args, env) },
	}
	return id, nil
}

// StartContainer implements [runtime.Containers].
func (f *Functions) StartContainer(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[id]
	switch {
	case c == nil:
		return fmt.Errorf("container %s: %w", id, runtime.ErrNotFound)
	case c.State != runtime.ContainerCreated:
		return fmt.Errorf("container %s: %w", id, runtime.ErrState)
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	c.done = make(chan struct{})
	c.State, c.StartedAt = runtime.ContainerRunning, time.Now()
	go func() {
		err := c.run(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		c.ended(err)
	}()
	return nil
}

// ended records how a function returned, the first time. Call with mu held.
func (c *function) ended(err error) {
	if c.State != runtime.ContainerRunning {
		return
	}
	c.stop()
	c.State, c.FinishedAt, c.Reason = runtime.ContainerExited, time.Now(), "Completed"
	if err != nil {
		c.ExitCode, c.Reason, c.Message = 1, "Error", err.Error()
	}
	close(c.done)
}

// StopContainer implements [runtime.Containers]. No one can kill a function: one
// that has not returned within the grace is counted as ended, and forgotten.
func (f *Functions) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	f.mu.Lock()
	c := f.containers[id]
	if c == nil || c.State != runtime.ContainerRunning {
		f.mu.Unlock()
		return nil
	}
	c.stop()
	f.mu.Unlock()
	timer := time.NewTimer(max(grace, time.Second))
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.ended(fmt.Errorf("it did not return within %v", grace))
	return nil
}

// RemoveContainer implements [runtime.Containers].
func (f *Functions) RemoveContainer(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.containers[id]; c != nil && c.State == runtime.ContainerRunning {
		return fmt.Errorf("container %s runs: %w", id, runtime.ErrState)
	}
	delete(f.containers, id)
	return nil
}

// Container implements [runtime.Containers].
func (f *Functions) Container(_ context.Context, id string) (*runtime.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[id]
	if c == nil {
		return nil, fmt.Errorf("container %s: %w", id, runtime.ErrNotFound)
	}
	found := c.Container
	return &found, nil
}

// ListContainers implements [runtime.Containers].
func (f *Functions) ListContainers(context.Context) (list []runtime.Container, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		list = append(list, c.Container)
	}
	return list, nil
}

// UpdateResources implements [runtime.Containers].
func (f *Functions) UpdateResources(context.Context, string, runtime.Resources) error {
	return runtime.ErrUnsupported
}

// ExecSync implements [runtime.Containers].
func (f *Functions) ExecSync(context.Context, string, []string, time.Duration) (runtime.ExecResult, error) {
	return runtime.ExecResult{}, runtime.ErrUnsupported
}

// ReopenLog implements [runtime.Containers]. Functions write to no log.
func (f *Functions) ReopenLog(context.Context, string) error { return nil }
