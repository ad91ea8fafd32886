package fake

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/strake-io/strake/runtime"
)

type container struct {
	id      string
	sandbox *sandbox
	config  runtime.ContainerConfig
	image   *runtime.Image
	does    Behaviour

	state                      runtime.ContainerState
	starting                   bool
	created, started, finished time.Time
	exit                       exit
	due                        *time.Timer   // its own end, or the end of its grace
	ended                      chan struct{} // closed at the exit; made when first waited for
}

// exit is how a container ended.
type exit struct {
	code            int32
	reason, message string
}

func killed() exit { return exit{code: 137, reason: "Error"} }

func (b Behaviour) exit() exit {
	switch {
	case b.OOMKilled:
		return exit{code: 137, reason: "OOMKilled"}
	case b.ExitCode != 0:
		return exit{code: b.ExitCode, reason: "Error"}
	}
	return exit{reason: "Completed"}
}

// CreateContainer implements [runtime.Containers].
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, config runtime.ContainerConfig) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sandboxes[sandboxID]
	if !ok {
		return "", fmt.Errorf("sandbox %q: %w", sandboxID, runtime.ErrNotFound)
	}
	if s.state != runtime.SandboxReady {
		return "", fmt.Errorf("sandbox %q is not ready: %w", sandboxID, runtime.ErrState)
	}
	for _, c := range s.containers {
		if c.config.Name == config.Name && c.config.Attempt == config.Attempt {
			return "", fmt.Errorf("container %s attempt %d: %w", config.Name, config.Attempt, runtime.ErrExists)
		}
	}
	image := r.lookup(config.Image)
	if image == nil {
		return "", fmt.Errorf("image %q: %w", config.Image, runtime.ErrNotFound)
	}
	c := &container{id: r.newID(), sandbox: s, config: config, image: image, created: time.Now()}
	c.config.Labels = maps.Clone(config.Labels)
	c.config.Annotations = maps.Clone(config.Annotations)
	c.does = behaviour(config, s.config.Annotations)
	if r.config.Behave != nil {
		if b, ok := r.config.Behave(s.config.Pod, config); ok {
			c.does = b
		}
	}
	r.containers[c.id] = c
	s.containers[c.id] = c
	r.publish(runtime.Event{SandboxID: s.id, ContainerID: c.id})
	return c.id, nil
}

// StartContainer implements [runtime.Containers].
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	r.mu.Lock()
	c, ok := r.containers[id]
	if !ok {
		r.mu.Unlock()
		return fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	if c.state != runtime.ContainerCreated || c.starting {
		r.mu.Unlock()
		return fmt.Errorf("container %q has been started: %w", id, runtime.ErrState)
	}
	c.starting = true
	r.mu.Unlock()

	err := sleep(ctx, r.config.StartDelay)

	r.mu.Lock()
	defer r.mu.Unlock()
	c.starting = false
	if err != nil {
		return err
	}
	if r.containers[id] != c || c.sandbox.state != runtime.SandboxReady {
		return fmt.Errorf("container %q went away while it started: %w", id, runtime.ErrNotFound)
	}
	if c.does.StartError != "" {
		c.started = time.Now()
		message := "failed to create containerd task: " + c.does.StartError
		r.end(c, exit{code: 128, reason: "StartError", message: message})
		return fmt.Errorf("%s", message)
	}
	started := time.Now()
	if r.config.WriteLogs {
		if err := c.writeLog(started); err != nil {
			return fmt.Errorf("container %q: %w", id, err)
		}
	}
	c.state, c.started = runtime.ContainerRunning, started
	r.publish(runtime.Event{SandboxID: c.sandbox.id, ContainerID: c.id})
	if c.does.Ends {
		c.due = time.AfterFunc(c.does.RunFor, func() { r.endLater(c, c.does.exit()) })
	}
	return nil
}

// endLater is what timers call.
func (r *Runtime) endLater(c *container, how exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.state == runtime.ContainerRunning {
		r.end(c, how)
	}
}

// end makes a container exited. Call with mu held.
func (r *Runtime) end(c *container, how exit) {
	if c.due != nil {
		c.due.Stop()
		c.due = nil
	}
	c.state, c.exit, c.finished = runtime.ContainerExited, how, time.Now()
	if c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
	r.publish(runtime.Event{SandboxID: c.sandbox.id, ContainerID: c.id})
}

// wait returns a channel that closes when c has ended. Call with mu held.
func (c *container) wait() <-chan struct{} {
	if c.state != runtime.ContainerRunning {
		done := make(chan struct{})
		close(done)
		return done
	}
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	return c.ended
}

// StopContainer implements [runtime.Containers]. A container that doesn't ignore
// SIGTERM ends at once.
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	r.mu.Lock()
	c, ok := r.containers[id]
	if !ok || c.state != runtime.ContainerRunning {
		r.mu.Unlock()
		return nil
	}
	switch {
	case grace <= 0:
		r.end(c, killed())
	case !c.does.IgnoreTerm:
		how := c.does.exit()
		if c.does.Ends || c.does.OOMKilled {
			how = exit{code: 143, reason: "Error"}
		}
		r.end(c, how)
	default:
		ended := c.wait()
		r.mu.Unlock()
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-ended:
			return nil
		case <-timer.C:
			r.endLater(c, killed())
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Unlock()
	return nil
}

// RemoveContainer implements [runtime.Containers].
func (r *Runtime) RemoveContainer(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.containers[id]
	if !ok {
		return nil
	}
	if c.state == runtime.ContainerRunning {
		r.end(c, killed())
	}
	delete(r.containers, id)
	delete(c.sandbox.containers, id)
	if path := c.logPath(); r.config.WriteLogs && path != "" {
		_ = os.Remove(path)
	}
	r.publish(runtime.Event{SandboxID: c.sandbox.id, ContainerID: id})
	return nil
}

// Container implements [runtime.Containers].
func (r *Runtime) Container(_ context.Context, id string) (*runtime.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.containers[id]
	if !ok {
		return nil, fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	out := c.report()
	return &out, nil
}

// ListContainers implements [runtime.Containers]: the oldest first.
func (r *Runtime) ListContainers(context.Context) ([]runtime.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]runtime.Container, 0, len(r.containers))
	for _, c := range r.containers {
		out = append(out, c.report())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

func (c *container) report() runtime.Container {
	out := runtime.Container{
		ID: c.id, SandboxID: c.sandbox.id, Name: c.config.Name, Attempt: c.config.Attempt, State: c.state,
		Image: c.config.UserImage, ImageID: c.image.ID, CreatedAt: c.created, StartedAt: c.started,
		FinishedAt: c.finished, ExitCode: c.exit.code, Reason: c.exit.reason, Message: c.exit.message,
		Labels: maps.Clone(c.config.Labels), Annotations: maps.Clone(c.config.Annotations),
		LogPath: c.logPath(), Mounts: slices.Clone(c.config.Mounts), Resources: c.config.Resources,
	}
	if out.Image == "" {
		out.Image = c.config.Image
	}
	if len(c.image.RepoDigests) > 0 {
		out.ImageRef = c.image.RepoDigests[0]
	}
	return out
}

func (c *container) logPath() string {
	if c.config.LogPath == "" || c.sandbox.config.LogDirectory == "" {
		return ""
	}
	return filepath.Join(c.sandbox.config.LogDirectory, c.config.LogPath)
}

// writeLog writes what the container prints, in the CRI's format.
func (c *container) writeLog(at time.Time) error {
	path := c.logPath()
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var text strings.Builder
	for _, stream := range []struct{ name, text string }{{"stdout", c.does.Output}, {"stderr", c.does.ErrorOutput}} {
		for line := range strings.Lines(stream.text) {
			fmt.Fprintf(&text, "%s %s F %s\n", at.UTC().Format(time.RFC3339Nano), stream.name, strings.TrimSuffix(line, "\n"))
		}
	}
	return os.WriteFile(path, []byte(text.String()), 0o640)
}

// UpdateResources implements [runtime.Containers].
func (r *Runtime) UpdateResources(_ context.Context, id string, resources runtime.Resources) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.containers[id]
	if !ok {
		return fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	if c.state == runtime.ContainerExited {
		return fmt.Errorf("container %q has exited: %w", id, runtime.ErrState)
	}
	c.config.Resources = resources
	return nil
}

// ReopenLog implements [runtime.Containers].
func (r *Runtime) ReopenLog(_ context.Context, id string) error {
	_, err := r.running(id)
	return err
}

// running finds a container that runs.
func (r *Runtime) running(id string) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.containers[id]
	if !ok {
		return nil, fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	if c.state != runtime.ContainerRunning {
		return nil, fmt.Errorf("container %q does not run: %w", id, runtime.ErrState)
	}
	return c, nil
}
