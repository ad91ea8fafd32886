package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strake-io/strake/runtime"
)

// container is one container. Its exited channel closes when it has ended.
type container struct {
	id      string
	sandbox *sandbox
	exited  chan struct{}
	once    sync.Once
	oom     atomic.Bool // containerd said so

	// starting serialises start against removal.
	starting sync.Mutex

	// The rest is guarded by Runtime.mu, but for what belongs to the one
	// goroutine that makes or follows the container.
	record  containerRecord
	state   runtime.ContainerState
	pid     uint32
	streams *streams
	hub     *hub
}

// finish marks the end; the record has its time.
func (c *container) finish() {
	c.state = runtime.ContainerExited
	c.once.Do(func() { close(c.exited) })
}

// CreateContainer implements [runtime.Containers].
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, config runtime.ContainerConfig) (_ string, err error) {
	ctx, err = r.begin(ctx)
	if err != nil {
		return "", err
	}
	id, err := newID()
	if err != nil {
		return "", err
	}
	c := &container{id: id, exited: make(chan struct{})}
	// Put into the sandbox at once, so that the name is taken.
	c.record = containerRecord{SandboxID: sandboxID, Config: config, CreatedAt: time.Now()}
	r.mu.Lock()
	s := r.sandboxes[sandboxID]
	var ready bool
	var sandboxConfig runtime.SandboxConfig
	if s != nil {
		ready, sandboxConfig = s.ready, s.record.Config
		for _, other := range s.containers {
			if other.record.Config.Name == config.Name && other.record.Config.Attempt == config.Attempt {
				r.mu.Unlock()
				return "", fmt.Errorf("container %s attempt %d: %w", config.Name, config.Attempt, runtime.ErrExists)
			}
		}
		if ready {
			c.sandbox = s
			s.containers[id] = c
		}
	}
	r.mu.Unlock()
	switch {
	case s == nil:
		return "", fmt.Errorf("sandbox %q: %w", sandboxID, runtime.ErrNotFound)
	case !ready:
		return "", fmt.Errorf("sandbox %q is not ready: %w", sandboxID, runtime.ErrState)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("container %s: %w", config.Name, err)
			r.mu.Lock()
			delete(s.containers, id)
			r.mu.Unlock()
		}
	}()
	if err := r.store(ctx, c, sandboxConfig); err != nil {
		return "", err
	}
	r.mu.Lock()
	removed := r.sandboxes[sandboxID] != s
	if !removed {
		r.containers[id] = c
	}
	r.mu.Unlock()
	if removed {
		// Whoever removed the sandbox did not see this container yet.
		undo, cancel := detached(ctx)
		defer cancel()
		return "", errors.Join(fmt.Errorf("sandbox %q was removed: %w", sandboxID, runtime.ErrNotFound), r.discard(undo, c))
	}
	r.publish(runtime.Event{SandboxID: sandboxID, ContainerID: id})
	return id, nil
}

// store makes the container in containerd: snapshot, specification, record.
func (r *Runtime) store(ctx context.Context, c *container, sandboxConfig runtime.SandboxConfig) error {
	config := c.record.Config
	image, info, err := r.findImage(ctx, config.Image)
	if err != nil {
		return err
	}
	c.record.ImageID, c.record.ImageRef = info.ID, r.imageRef(ctx, info)
	c.record.StopSignal = info.Config.StopSignal
	if config.StopSignal != "" {
		c.record.StopSignal = config.StopSignal
	}
	if config.LogPath != "" && sandboxConfig.LogDirectory != "" {
		c.record.LogPath = filepath.Join(sandboxConfig.LogDirectory, config.LogPath)
	}
	parent := sandboxConfig.CgroupParent
	if parent == "" {
		parent = "/" + r.config.Namespace
	}
	c.record.CgroupPath = path.Join("/", parent, c.id)
	// The record must not carry what only the specification needs, and what may
	// be secret.
	c.record.Config.Command, c.record.Config.Args, c.record.Config.Env = nil, nil, nil

	input := specInput{
		ID: c.id, Container: config, Sandbox: sandboxConfig, Image: info.Config,
		SandboxDir: r.sandboxDir(c.record.SandboxID), CgroupPath: c.record.CgroupPath, Node: r.nodeFacts(),
	}
	if target := config.Namespaces.TargetID; config.Namespaces.PID == runtime.NamespaceTarget && target != "" {
		r.mu.Lock()
		if t := r.containers[target]; t != nil && t.state == runtime.ContainerRunning {
			input.TargetPID = t.pid
		}
		r.mu.Unlock()
		if input.TargetPID == 0 {
			return fmt.Errorf("target container %q does not run: %w", target, runtime.ErrState)
		}
	}
	record, err := encode(c.record)
	if err != nil {
		return err
	}
	shimOptions, err := typeurl.MarshalAny(&options.Options{
		BinaryName: r.config.Runc, Root: filepath.Join(r.config.State, "runc"),
	})
	if err != nil {
		return err
	}
	_, err = r.client.NewContainer(ctx, c.id,
		client.WithSnapshotter(r.snapshotter),
		client.WithImage(image),
		client.WithNewSnapshot(c.id, image),
		func(ctx context.Context, _ *client.Client, made *containers.Container) error {
			made.Runtime = containers.RuntimeInfo{Name: r.config.Shim, Options: shimOptions}
			made.Extensions = map[string]typeurl.Any{extension: record}
			made.Labels = map[string]string{
				"io.kubernetes.pod.name":       sandboxConfig.Pod.Name,
				"io.kubernetes.pod.namespace":  sandboxConfig.Pod.Namespace,
				"io.kubernetes.container.name": config.Name,
			}
			spec, err := r.specification(ctx, made, input)
			if err != nil {
				return err
			}
			made.Spec, err = typeurl.MarshalAny(spec)
			return err
		},
	)
	if err != nil {
		undo, cancel := detached(ctx)
		defer cancel()
		_ = r.client.SnapshotService(r.snapshotter).Remove(undo, c.id)
		return failure(err)
	}
	return nil
}

// specification completes the pure part by what needs the root file system: who
// the user is.
func (r *Runtime) specification(ctx context.Context, made *containers.Container, input specInput) (*specs.Spec, error) {
	mounts, err := r.client.SnapshotService(r.snapshotter).Mounts(ctx, made.SnapshotKey)
	if err != nil {
		return nil, err
	}
	user, err := userOf(ctx, mounts, input)
	if err != nil {
		return nil, err
	}
	input.User = user
	return buildSpec(ctx, made, input)
}

// discard removes a container from containerd, running or not.
func (r *Runtime) discard(ctx context.Context, c *container) error {
	if err := r.deleteTask(ctx, c.id); err != nil {
		return err
	}
	// Missed only where a start or an exit was cut short; most have none.
	if c.record.StartedAt.IsZero() || c.record.FinishedAt.IsZero() {
		if err := r.dropExit(ctx, c.id); err != nil {
			return err
		}
	}
	if err := r.client.ContainerService().Delete(ctx, c.id); err != nil && !errdefs.IsNotFound(err) {
		return failure(err)
	}
	if err := r.client.SnapshotService(r.snapshotter).Remove(ctx, c.id); err != nil && !errdefs.IsNotFound(err) {
		return failure(err)
	}
	return os.RemoveAll(r.fifoDir(c.id))
}

// RemoveContainer implements [runtime.Containers].
func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	if err := r.StopContainer(ctx, id, 0); err != nil {
		return err
	}
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	c := r.containers[id]
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	r.mu.Lock()
	running := c.state == runtime.ContainerRunning
	r.mu.Unlock()
	if running {
		return fmt.Errorf("container %s started while it was removed: %w", id, runtime.ErrState)
	}
	if err := r.discard(ctx, c); err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	if c.record.LogPath != "" {
		if err := os.Remove(c.record.LogPath); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("container %s: %w", id, err)
		}
	}
	r.mu.Lock()
	delete(r.containers, id)
	delete(c.sandbox.containers, id)
	r.mu.Unlock()
	r.publish(runtime.Event{SandboxID: c.record.SandboxID, ContainerID: id})
	return nil
}

// Container implements [runtime.Containers].
func (r *Runtime) Container(ctx context.Context, id string) (*runtime.Container, error) {
	if _, err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	out := c.report()
	return &out, nil
}

// ListContainers implements [runtime.Containers]: the oldest first.
func (r *Runtime) ListContainers(ctx context.Context) ([]runtime.Container, error) {
	if _, err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]runtime.Container, 0, len(r.containers))
	for _, c := range r.containers {
		out = append(out, c.report())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].CreatedAt.Before(out[j].CreatedAt) })
	return out, nil
}

func (c *container) report() runtime.Container {
	rec := c.record
	out := runtime.Container{
		ID: c.id, SandboxID: rec.SandboxID, Name: rec.Config.Name, Attempt: rec.Config.Attempt, State: c.state,
		Image: rec.Config.UserImage, ImageID: rec.ImageID, ImageRef: rec.ImageRef,
		CreatedAt: rec.CreatedAt, StartedAt: rec.StartedAt, FinishedAt: rec.FinishedAt,
		ExitCode: rec.ExitCode, Reason: rec.Reason, Message: rec.Message,
		Labels: maps.Clone(rec.Config.Labels), Annotations: maps.Clone(rec.Config.Annotations),
		LogPath: rec.LogPath, Mounts: slices.Clone(rec.Config.Mounts), Resources: rec.Config.Resources,
	}
	if out.Image == "" {
		out.Image = rec.Config.Image
	}
	return out
}

// find returns a container in a state.
func (r *Runtime) find(id string, want runtime.ContainerState) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
	}
	if c.state != want {
		return nil, fmt.Errorf("container %q is %s: %w", id, stateName(c.state), runtime.ErrState)
	}
	return c, nil
}

func stateName(s runtime.ContainerState) string {
	return strings.Fields("created running exited unknown")[min(int(s), 3)]
}
