package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sort"
	"time"

	"github.com/strake-io/strake/runtime"
)

type sandbox struct {
	id         string
	config     runtime.SandboxConfig
	state      runtime.SandboxState
	addr       netip.Addr // invalid with the machine's network, or given back
	created    time.Time
	containers map[string]*container
}

func identity(pod runtime.PodIdentity) string {
	return fmt.Sprintf("%s/%s/%s/%d", pod.Namespace, pod.Name, pod.UID, pod.Attempt)
}

// RunSandbox implements [runtime.Sandboxes].
func (r *Runtime) RunSandbox(ctx context.Context, config runtime.SandboxConfig) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := identity(config.Pod)
	if _, ok := r.sandboxName[name]; ok {
		return "", fmt.Errorf("sandbox %s: %w", name, runtime.ErrExists)
	}
	s := &sandbox{
		id: r.newID(), config: config, state: runtime.SandboxReady,
		created: time.Now(), containers: map[string]*container{},
	}
	s.config.Labels = maps.Clone(config.Labels)
	s.config.Annotations = maps.Clone(config.Annotations)
	if config.Namespaces.Network != runtime.NamespaceNode {
		addr, err := r.addresses.take()
		if err != nil {
			return "", fmt.Errorf("sandbox %s: %w", name, err)
		}
		s.addr = addr
	}
	r.sandboxes[s.id] = s
	r.sandboxName[name] = s.id
	r.publish(runtime.Event{SandboxID: s.id})
	return s.id, nil
}

// StopSandbox implements [runtime.Sandboxes].
func (r *Runtime) StopSandbox(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.sandboxes[id]; ok {
		r.stopSandbox(s)
	}
	return nil
}

func (r *Runtime) stopSandbox(s *sandbox) {
	for _, c := range s.containers {
		if c.state == runtime.ContainerRunning {
			r.end(c, killed())
		}
	}
	if s.state == runtime.SandboxNotReady {
		return
	}
	s.state = runtime.SandboxNotReady
	if s.addr.IsValid() {
		r.addresses.give(s.addr)
		s.addr = netip.Addr{}
	}
	r.publish(runtime.Event{SandboxID: s.id})
}

// RemoveSandbox implements [runtime.Sandboxes].
func (r *Runtime) RemoveSandbox(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sandboxes[id]
	if !ok {
		return nil
	}
	r.stopSandbox(s)
	for cid := range s.containers {
		delete(r.containers, cid)
	}
	delete(r.sandboxes, id)
	delete(r.sandboxName, identity(s.config.Pod))
	r.publish(runtime.Event{SandboxID: id})
	return nil
}

// Sandbox implements [runtime.Sandboxes].
func (r *Runtime) Sandbox(_ context.Context, id string) (*runtime.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sandboxes[id]
	if !ok {
		return nil, fmt.Errorf("sandbox %q: %w", id, runtime.ErrNotFound)
	}
	out := s.report()
	return &out, nil
}

// ListSandboxes implements [runtime.Sandboxes]: the oldest first.
func (r *Runtime) ListSandboxes(context.Context) ([]runtime.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]runtime.Sandbox, 0, len(r.sandboxes))
	for _, s := range r.sandboxes {
		out = append(out, s.report())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

func (s *sandbox) report() runtime.Sandbox {
	out := runtime.Sandbox{
		ID: s.id, Pod: s.config.Pod, State: s.state, CreatedAt: s.created,
		Labels: maps.Clone(s.config.Labels), Annotations: maps.Clone(s.config.Annotations),
		HostNetwork: s.config.Namespaces.Network == runtime.NamespaceNode,
	}
	if s.addr.IsValid() {
		out.IPs = []string{s.addr.String()}
	}
	return out
}
