package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/containerd/pause"
	"github.com/strake-io/strake/runtime/network"
)

// sandbox is one pod's environment. Its directory holds:
//
//	net ipc uts pid   its own namespaces, pinned
//	shm               the tmpfs at /dev/shm of all its containers
//	resolv.conf hostname
type sandbox struct {
	id string
	// The rest is guarded by Runtime.mu.
	record     sandboxRecord
	ready      bool
	containers map[string]*container
}

// shmSize is what Kubernetes users know: 64 MiB.
const shmSize = "size=65536k"

func identity(pod runtime.PodIdentity) string {
	return fmt.Sprintf("%s/%s/%s/%d", pod.Namespace, pod.Name, pod.UID, pod.Attempt)
}

// ownNamespaces lists the files of the namespaces that a sandbox has of its own,
// but the PID namespace.
func ownNamespaces(config runtime.SandboxConfig) []string {
	var files []string
	if config.Namespaces.Network != runtime.NamespaceNode {
		// The host's name goes with the host's network.
		files = append(files, "net", "uts")
	}
	if config.Namespaces.IPC != runtime.NamespaceNode {
		files = append(files, "ipc")
	}
	return files
}

func sharesPID(config runtime.SandboxConfig) bool {
	return config.Namespaces.PID == runtime.NamespacePod
}

// namespacesAlive says whether the sandbox outlived whatever happened.
func (s *sandbox) namespacesAlive(dir string) bool {
	files := ownNamespaces(s.record.Config)
	if sharesPID(s.record.Config) {
		files = append(files, "pid")
		if unix.Kill(s.record.PausePID, 0) != nil {
			return false
		}
	}
	for _, f := range files {
		if !alive(filepath.Join(dir, f)) {
			return false
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "hostname")); err != nil {
		return false
	}
	return true
}

// RunSandbox implements [runtime.Sandboxes].
func (r *Runtime) RunSandbox(ctx context.Context, config runtime.SandboxConfig) (_ string, err error) {
	ctx, err = r.begin(ctx)
	if err != nil {
		return "", err
	}
	name := identity(config.Pod)
	if config.RuntimeHandler != "" {
		return "", fmt.Errorf("sandbox %s: runtime handler %q: %w", name, config.RuntimeHandler, runtime.ErrUnsupported)
	}
	r.mu.Lock()
	_, taken := r.names[name]
	r.names[name] = struct{}{}
	r.mu.Unlock()
	if taken {
		return "", fmt.Errorf("sandbox %s: %w", name, runtime.ErrExists)
	}
	id, err := newID()
	if err != nil {
		return "", err
	}
	s := &sandbox{
		id: id, containers: map[string]*container{},
		record: sandboxRecord{Config: config, CreatedAt: time.Now()},
	}
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("sandbox %s: %w", name, err)
		ctx, cancel := detached(ctx)
		defer cancel()
		if undo := r.dismantle(ctx, s); undo != nil {
			// It stays in the lists, not ready, for the kubelet to remove.
			r.log.Error(undo, "clearing up a sandbox that failed", "sandbox", id)
			r.mu.Lock()
			r.sandboxes[id] = s
			r.mu.Unlock()
			return
		}
		_ = r.client.SandboxStore().Delete(ctx, id)
		r.mu.Lock()
		delete(r.names, name)
		r.mu.Unlock()
	}()
	// The record comes first: whatever a crash leaves, it says what to clear.
	if err := r.saveSandbox(ctx, id, s.record, true); err != nil {
		return "", err
	}
	if err := r.build(ctx, s); err != nil {
		return "", err
	}
	s.record.Ready, s.ready = true, true
	if err := r.saveSandbox(ctx, id, s.record, false); err != nil {
		return "", err
	}
	r.mu.Lock()
	r.sandboxes[id] = s
	r.mu.Unlock()
	r.publish(runtime.Event{SandboxID: id})
	return id, nil
}

// build makes the sandbox's namespaces, files and network.
func (r *Runtime) build(ctx context.Context, s *sandbox) error {
	config, dir := s.record.Config, r.sandboxDir(s.id)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if files := ownNamespaces(config); len(files) > 0 {
		if err := pinNamespaces(dir, files, config.Hostname, config.Sysctls); err != nil {
			return err
		}
	}
	if sharesPID(config) {
		pid, err := pause.Start()
		if err != nil {
			return err
		}
		s.record.PausePID = pid
		if err := bind(fmt.Sprintf("/proc/%d/ns/pid", pid), filepath.Join(dir, "pid")); err != nil {
			return errors.Join(err, unix.Kill(pid, unix.SIGKILL))
		}
		if err := r.saveSandbox(ctx, s.id, s.record, false); err != nil {
			return err
		}
	}
	if config.Namespaces.IPC != runtime.NamespaceNode {
		shm := filepath.Join(dir, "shm")
		if err := os.MkdirAll(shm, 0o1777); err != nil {
			return err
		}
		if err := unix.Mount("shm", shm, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,"+shmSize); err != nil {
			return fmt.Errorf("mounting /dev/shm: %w", err)
		}
	}
	hostname := config.Hostname
	if config.Namespaces.Network == runtime.NamespaceNode || hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		hostname = name
	}
	resolv, err := r.resolvConf(config.DNS)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), resolv, 0o644); err != nil {
		return err
	}
	if config.Namespaces.Network != runtime.NamespaceNode && r.config.Network != nil {
		result, err := r.config.Network.Setup(ctx, r.networkPod(s))
		if err != nil {
			return fmt.Errorf("setting up the network: %w", err)
		}
		for _, ip := range result.IPs {
			s.record.IPs = append(s.record.IPs, ip.String())
		}
	}
	return os.WriteFile(filepath.Join(dir, "hostname"), []byte(hostname+"\n"), 0o644)
}

// resolvConf is the text of a pod's /etc/resolv.conf.
func (r *Runtime) resolvConf(dns *runtime.DNSConfig) ([]byte, error) {
	if dns == nil {
		body, err := os.ReadFile(r.config.ResolvConf)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return body, err
	}
	var b strings.Builder
	if len(dns.Searches) > 0 {
		b.WriteString("search " + strings.Join(dns.Searches, " ") + "\n")
	}
	for _, server := range dns.Servers {
		b.WriteString("nameserver " + server + "\n")
	}
	if len(dns.Options) > 0 {
		b.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
	}
	return []byte(b.String()), nil
}

func (r *Runtime) networkPod(s *sandbox) network.Pod {
	pod := s.record.Config.Pod
	return network.Pod{
		SandboxID: s.id, NetNS: filepath.Join(r.sandboxDir(s.id), "net"),
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, Ports: s.record.Config.Ports,
	}
}

// dismantle undoes build. Idempotent.
func (r *Runtime) dismantle(ctx context.Context, s *sandbox) error {
	dir := r.sandboxDir(s.id)
	if s.record.Config.Namespaces.Network != runtime.NamespaceNode && r.config.Network != nil {
		if err := r.config.Network.Teardown(ctx, r.networkPod(s)); err != nil {
			return fmt.Errorf("taking down the network: %w", err)
		}
	}
	if s.record.PausePID > 0 {
		if err := pause.Kill(s.record.PausePID, filepath.Join(dir, "pid")); err != nil {
			return err
		}
	}
	return unpin(dir)
}

// StopSandbox implements [runtime.Sandboxes].
func (r *Runtime) StopSandbox(ctx context.Context, id string) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	s := r.sandboxes[id]
	var inside []*container
	if s != nil {
		for _, c := range s.containers {
			inside = append(inside, c)
		}
	}
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	group, gctx := errgroup.WithContext(ctx)
	for _, c := range inside {
		group.Go(func() error { return r.StopContainer(gctx, c.id, 0) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("sandbox %s: stopping its containers: %w", id, err)
	}
	r.mu.Lock()
	was := s.ready
	s.ready = false
	r.mu.Unlock()
	if err := r.dismantle(ctx, s); err != nil {
		return fmt.Errorf("sandbox %s: %w", id, err)
	}
	r.mu.Lock()
	save := s.record.Ready
	s.record.Ready, s.record.IPs = false, nil
	record := s.record
	r.mu.Unlock()
	if save {
		if err := r.saveSandbox(ctx, id, record, false); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			return fmt.Errorf("sandbox %s: %w", id, err)
		}
	}
	if was {
		r.publish(runtime.Event{SandboxID: id})
	}
	return nil
}

// RemoveSandbox implements [runtime.Sandboxes].
func (r *Runtime) RemoveSandbox(ctx context.Context, id string) error {
	if err := r.StopSandbox(ctx, id); err != nil {
		return err
	}
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	s := r.sandboxes[id]
	var inside []string
	if s != nil {
		inside = slices.Collect(maps.Keys(s.containers))
	}
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	for _, c := range inside {
		if err := r.RemoveContainer(ctx, c); err != nil {
			return err
		}
	}
	if err := r.client.SandboxStore().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("sandbox %s: %w", id, failure(err))
	}
	r.mu.Lock()
	delete(r.sandboxes, id)
	delete(r.names, identity(s.record.Config.Pod))
	r.mu.Unlock()
	r.publish(runtime.Event{SandboxID: id})
	return nil
}

// Sandbox implements [runtime.Sandboxes].
func (r *Runtime) Sandbox(ctx context.Context, id string) (*runtime.Sandbox, error) {
	if _, err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil, fmt.Errorf("sandbox %q: %w", id, runtime.ErrNotFound)
	}
	out := r.reportSandbox(s)
	return &out, nil
}

// ListSandboxes implements [runtime.Sandboxes]: the oldest first.
func (r *Runtime) ListSandboxes(ctx context.Context) ([]runtime.Sandbox, error) {
	if _, err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]runtime.Sandbox, 0, len(r.sandboxes))
	for _, s := range r.sandboxes {
		out = append(out, r.reportSandbox(s))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].CreatedAt.Before(out[j].CreatedAt) })
	return out, nil
}

// reportSandbox is called with mu held.
func (r *Runtime) reportSandbox(s *sandbox) runtime.Sandbox {
	config := s.record.Config
	out := runtime.Sandbox{
		ID: s.id, Pod: config.Pod, CreatedAt: s.record.CreatedAt, IPs: slices.Clone(s.record.IPs),
		Labels: maps.Clone(config.Labels), Annotations: maps.Clone(config.Annotations),
		HostNetwork: config.Namespaces.Network == runtime.NamespaceNode,
	}
	if s.ready {
		out.State = runtime.SandboxReady
		if !out.HostNetwork {
			out.NetworkNamespace = filepath.Join(r.sandboxDir(s.id), "net")
		}
	}
	return out
}
