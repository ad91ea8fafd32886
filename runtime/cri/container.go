package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

// each asks about every item, several at a time, and leaves out those that went
// away meanwhile.
func each[T, R any](ctx context.Context, items []T, ask func(context.Context, T) (*R, error)) ([]R, error) {
	answers := make([]*R, len(items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, item := range items {
		group.Go(func() error {
			answer, err := ask(ctx, item)
			if err != nil && !errors.Is(err, runtime.ErrNotFound) {
				return err
			}
			answers[i] = answer
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := make([]R, 0, len(items))
	for _, answer := range answers {
		if answer != nil {
			out = append(out, *answer)
		}
	}
	return out, nil
}

// CreateContainer implements [runtime.Containers].
func (r *Runtime) CreateContainer(ctx context.Context, sandboxID string, config runtime.ContainerConfig) (string, error) {
	s, err := r.sandboxStatus(ctx, sandboxID)
	if err != nil {
		return "", err
	}
	if s.State != api.PodSandboxState_SANDBOX_READY {
		return "", fmt.Errorf("sandbox %q is not ready: %w", sandboxID, runtime.ErrState)
	}
	present, err := r.ListContainers(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range present {
		if c.SandboxID == sandboxID && c.Name == config.Name && c.Attempt == config.Attempt {
			return "", fmt.Errorf("container %s attempt %d: %w", config.Name, config.Attempt, runtime.ErrExists)
		}
	}
	if _, err := r.Image(ctx, config.Image); err != nil {
		return "", err
	}
	wanted, err := containerConfig(config)
	if err != nil {
		return "", fmt.Errorf("container %s: %w", config.Name, err)
	}
	wanted.Labels = r.owned(config.Labels)
	response, err := r.api.CreateContainer(ctx, &api.CreateContainerRequest{
		PodSandboxId: sandboxID, Config: wanted,
		SandboxConfig: &api.PodSandboxConfig{
			Metadata: s.Metadata, Labels: s.Labels, Annotations: s.Annotations,
			LogDirectory: s.Annotations[logsAnnotation],
			Linux: &api.LinuxPodSandboxConfig{
				CgroupParent: s.Annotations[cgroupAnnotation],
				SecurityContext: &api.LinuxSandboxSecurityContext{
					NamespaceOptions: s.GetLinux().GetNamespaces().GetOptions(),
				},
			},
		},
	})
	if err != nil {
		return "", failure(err)
	}
	return response.ContainerId, nil
}

// StartContainer implements [runtime.Containers].
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	c, err := r.Container(ctx, id)
	if err != nil {
		return err
	}
	if c.State != runtime.ContainerCreated {
		return fmt.Errorf("container %q has been started: %w", id, runtime.ErrState)
	}
	_, err = r.api.StartContainer(ctx, &api.StartContainerRequest{ContainerId: id})
	return failure(err)
}

// StopContainer implements [runtime.Containers]. The CRI counts grace in seconds:
// it is rounded up.
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	seconds := int64((grace + time.Second - 1) / time.Second)
	if _, err := r.container(ctx, id); err != nil {
		return unlessAbsent(err)
	}
	_, err := r.api.StopContainer(ctx, &api.StopContainerRequest{ContainerId: id, Timeout: seconds})
	return unlessAbsent(failure(err))
}

// RemoveContainer implements [runtime.Containers].
func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return unlessAbsent(err)
	}
	if _, err := r.api.RemoveContainer(ctx, &api.RemoveContainerRequest{ContainerId: id}); err != nil {
		if err := unlessAbsent(failure(err)); err != nil {
			return err
		}
	}
	r.mu.Lock()
	delete(r.ended, id)
	r.mu.Unlock()
	// The CRI leaves logs to its client.
	if c.LogPath != "" {
		if err := os.Remove(c.LogPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("container %s: %w", id, err)
		}
	}
	return nil
}

// container reads a status. That of a container that has ended never changes and
// is asked for once.
func (r *Runtime) container(ctx context.Context, id string) (*api.ContainerStatus, error) {
	r.mu.Lock()
	known := r.ended[id]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	response, err := r.api.ContainerStatus(ctx, &api.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, failure(err)
	}
	s := response.GetStatus()
	if s.GetLabels()[ownerLabel] != r.config.Owner {
		return nil, fmt.Errorf("container %q is not ours: %w", id, runtime.ErrNotFound)
	}
	if s.State == api.ContainerState_CONTAINER_EXITED {
		r.mu.Lock()
		r.ended[id] = s
		r.mu.Unlock()
	}
	return s, nil
}

// Container implements [runtime.Containers].
func (r *Runtime) Container(ctx context.Context, id string) (*runtime.Container, error) {
	// A status doesn't name the sandbox; the list does.
	response, err := r.api.ListContainers(ctx, &api.ListContainersRequest{Filter: &api.ContainerFilter{
		Id: id, LabelSelector: map[string]string{ownerLabel: r.config.Owner},
	}})
	if err != nil {
		return nil, failure(err)
	}
	for _, c := range response.Containers {
		if c.Id == id {
			return r.report(ctx, c)
		}
	}
	return nil, fmt.Errorf("container %q: %w", id, runtime.ErrNotFound)
}

// ListContainers implements [runtime.Containers].
func (r *Runtime) ListContainers(ctx context.Context) ([]runtime.Container, error) {
	response, err := r.api.ListContainers(ctx, &api.ListContainersRequest{Filter: &api.ContainerFilter{
		LabelSelector: map[string]string{ownerLabel: r.config.Owner},
	}})
	if err != nil {
		return nil, failure(err)
	}
	r.forget(response.Containers)
	return each(ctx, response.Containers, r.report)
}

// forget drops what is known of containers that are no more.
func (r *Runtime) forget(present []*api.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ended) <= len(present) {
		return
	}
	there := make(map[string]bool, len(present))
	for _, c := range present {
		there[c.Id] = true
	}
	for id := range r.ended {
		if !there[id] {
			delete(r.ended, id)
		}
	}
}

func (r *Runtime) report(ctx context.Context, c *api.Container) (*runtime.Container, error) {
	s, err := r.container(ctx, c.Id)
	if err != nil {
		return nil, err
	}
	out := containerOf(s)
	out.SandboxID = c.PodSandboxId
	return &out, nil
}

// UpdateResources implements [runtime.Containers].
func (r *Runtime) UpdateResources(ctx context.Context, id string, resources runtime.Resources) error {
	_, err := r.api.UpdateContainerResources(ctx, &api.UpdateContainerResourcesRequest{ContainerId: id, Linux: linuxResources(resources)})
	return failure(err)
}

// ReopenLog implements [runtime.Containers].
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	_, err := r.api.ReopenContainerLog(ctx, &api.ReopenContainerLogRequest{ContainerId: id})
	return failure(err)
}

// ExecSync implements [runtime.Containers].
func (r *Runtime) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error) {
	if err := r.mustRun(ctx, id); err != nil {
		return runtime.ExecResult{}, err
	}
	request := &api.ExecSyncRequest{ContainerId: id, Cmd: cmd}
	if timeout > 0 {
		// The CRI counts in seconds; ours is the finer clock.
		request.Timeout = int64((timeout + time.Second - 1) / time.Second)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	response, err := r.api.ExecSync(ctx, request)
	if err != nil {
		return runtime.ExecResult{}, failure(err)
	}
	return runtime.ExecResult{Stdout: response.Stdout, Stderr: response.Stderr, ExitCode: response.ExitCode}, nil
}

func (r *Runtime) mustRun(ctx context.Context, id string) error {
	s, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if s.State != api.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("container %q does not run: %w", id, runtime.ErrState)
	}
	return nil
}

// ContainerStats implements [runtime.StatsProvider].
func (r *Runtime) ContainerStats(ctx context.Context, id string) (*runtime.Stats, error) {
	response, err := r.api.ContainerStats(ctx, &api.ContainerStatsRequest{ContainerId: id})
	if err != nil {
		return nil, failure(err)
	}
	s := response.GetStats()
	return &runtime.Stats{
		Time:            instant(s.GetCpu().GetTimestamp()),
		CPUNanos:        s.GetCpu().GetUsageCoreNanoSeconds().GetValue(),
		MemoryBytes:     s.GetMemory().GetUsageBytes().GetValue(),
		WorkingSetBytes: s.GetMemory().GetWorkingSetBytes().GetValue(),
		WritableBytes:   s.GetWritableLayer().GetUsedBytes().GetValue(),
	}, nil
}

// SandboxStats implements [runtime.StatsProvider].
func (r *Runtime) SandboxStats(ctx context.Context, id string) (*runtime.Stats, error) {
	response, err := r.api.PodSandboxStats(ctx, &api.PodSandboxStatsRequest{PodSandboxId: id})
	if err != nil {
		return nil, failure(err)
	}
	s := response.GetStats().GetLinux()
	return &runtime.Stats{
		Time:            instant(s.GetCpu().GetTimestamp()),
		CPUNanos:        s.GetCpu().GetUsageCoreNanoSeconds().GetValue(),
		MemoryBytes:     s.GetMemory().GetUsageBytes().GetValue(),
		WorkingSetBytes: s.GetMemory().GetWorkingSetBytes().GetValue(),
		RxBytes:         s.GetNetwork().GetDefaultInterface().GetRxBytes().GetValue(),
		TxBytes:         s.GetNetwork().GetDefaultInterface().GetTxBytes().GetValue(),
	}, nil
}
