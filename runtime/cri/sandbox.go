package cri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

const (
	ownerLabel = "strake.io/owner"
	// What CreateContainer must say of the sandbox again.
	logsAnnotation   = "strake.io/cri-log-directory"
	cgroupAnnotation = "strake.io/cri-cgroup-parent"
)

func (r *Runtime) owned(labels map[string]string) map[string]string {
	out := map[string]string{ownerLabel: r.config.Owner}
	maps.Copy(out, labels)
	return out
}

// plain drops what we added.
func plain(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if k != ownerLabel && k != logsAnnotation && k != cgroupAnnotation {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// RunSandbox implements [runtime.Sandboxes].
func (r *Runtime) RunSandbox(ctx context.Context, config runtime.SandboxConfig) (string, error) {
	// Runtimes differ in what they say to a name that is taken.
	present, err := r.ListSandboxes(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range present {
		if s.Pod == config.Pod {
			return "", fmt.Errorf("sandbox of pod %s/%s attempt %d: %w", config.Pod.Namespace, config.Pod.Name, config.Pod.Attempt, runtime.ErrExists)
		}
	}
	wanted := sandboxConfig(config)
	wanted.Labels = r.owned(config.Labels)
	wanted.Annotations = maps.Clone(config.Annotations)
	if wanted.Annotations == nil {
		wanted.Annotations = map[string]string{}
	}
	wanted.Annotations[logsAnnotation] = config.LogDirectory
	wanted.Annotations[cgroupAnnotation] = config.CgroupParent
	response, err := r.api.RunPodSandbox(ctx, &api.RunPodSandboxRequest{Config: wanted, RuntimeHandler: config.RuntimeHandler})
	if err != nil {
		return "", failure(err)
	}
	return response.PodSandboxId, nil
}

// StopSandbox implements [runtime.Sandboxes].
func (r *Runtime) StopSandbox(ctx context.Context, id string) error {
	_, err := r.api.StopPodSandbox(ctx, &api.StopPodSandboxRequest{PodSandboxId: id})
	return unlessAbsent(failure(err))
}

// RemoveSandbox implements [runtime.Sandboxes].
func (r *Runtime) RemoveSandbox(ctx context.Context, id string) error {
	if err := r.StopSandbox(ctx, id); err != nil {
		return err
	}
	_, err := r.api.RemovePodSandbox(ctx, &api.RemovePodSandboxRequest{PodSandboxId: id})
	return unlessAbsent(failure(err))
}

func unlessAbsent(err error) error {
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

func (r *Runtime) sandboxStatus(ctx context.Context, id string) (*api.PodSandboxStatus, error) {
	response, err := r.api.PodSandboxStatus(ctx, &api.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		return nil, failure(err)
	}
	if response.GetStatus().GetLabels()[ownerLabel] != r.config.Owner {
		return nil, fmt.Errorf("sandbox %q is not ours: %w", id, runtime.ErrNotFound)
	}
	return response.Status, nil
}

// Sandbox implements [runtime.Sandboxes].
func (r *Runtime) Sandbox(ctx context.Context, id string) (*runtime.Sandbox, error) {
	s, err := r.sandboxStatus(ctx, id)
	if err != nil {
		return nil, err
	}
	out := sandboxOf(s)
	return &out, nil
}

func sandboxOf(s *api.PodSandboxStatus) runtime.Sandbox {
	out := runtime.Sandbox{
		ID: s.Id, CreatedAt: instant(s.CreatedAt), Labels: plain(s.Labels), Annotations: plain(s.Annotations),
		Pod: runtime.PodIdentity{
			Name: s.GetMetadata().GetName(), Namespace: s.GetMetadata().GetNamespace(),
			UID: s.GetMetadata().GetUid(), Attempt: s.GetMetadata().GetAttempt(),
		},
		HostNetwork: s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == api.NamespaceMode_NODE,
	}
	if s.State == api.PodSandboxState_SANDBOX_READY {
		out.State = runtime.SandboxReady
	}
	if ip := s.GetNetwork().GetIp(); ip != "" && !out.HostNetwork {
		out.IPs = append(out.IPs, ip)
		for _, more := range s.GetNetwork().GetAdditionalIps() {
			out.IPs = append(out.IPs, more.Ip)
		}
	}
	return out
}

func instant(nanos int64) time.Time {
	if nanos <= 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

// ListSandboxes implements [runtime.Sandboxes].
func (r *Runtime) ListSandboxes(ctx context.Context) ([]runtime.Sandbox, error) {
	response, err := r.api.ListPodSandbox(ctx, &api.ListPodSandboxRequest{
		Filter: &api.PodSandboxFilter{LabelSelector: map[string]string{ownerLabel: r.config.Owner}},
	})
	if err != nil {
		return nil, failure(err)
	}
	// The list has no addresses; the status has.
	return each(ctx, response.Items, func(ctx context.Context, s *api.PodSandbox) (*runtime.Sandbox, error) {
		return r.Sandbox(ctx, s.Id)
	})
}
