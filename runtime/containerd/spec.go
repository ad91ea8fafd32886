package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strake-io/strake/runtime"
)

// specInput is all that a container's OCI specification is made from.
type specInput struct {
	ID         string
	Container  runtime.ContainerConfig
	Sandbox    runtime.SandboxConfig
	SandboxDir string
	CgroupPath string
	Image      imagespec.ImageConfig
	User       specs.User
	TargetPID  uint32 // of the container whose PID namespace is joined; 0: none
	Node       nodeFacts
}

// nodeFacts is what specifications must know of the machine.
type nodeFacts struct {
	CgroupV2    bool
	SwapLimit   bool // the kernel accounts for swap
	HugepageCtl bool
	Capability  []string // all that the kernel knows, with CAP_
}

// buildSpec makes the OCI specification of a container. Apart from devices, which
// are read from /dev, it depends on its input alone.
func buildSpec(ctx context.Context, made *containers.Container, in specInput) (*specs.Spec, error) {
	args, err := arguments(in.Container, in.Image)
	if err != nil {
		return nil, err
	}
	s, err := oci.GenerateSpec(ctx, nil, made, oci.WithDefaultUnixDevices)
	if err != nil {
		return nil, err
	}
	security := in.Container.Security
	p := s.Process
	p.Args = args
	p.Env = environment(in)
	p.Cwd = "/"
	if dir := in.Image.WorkingDir; dir != "" {
		p.Cwd = dir
	}
	if dir := in.Container.WorkingDir; dir != "" {
		p.Cwd = dir
	}
	p.Terminal = in.Container.TTY
	p.User = in.User
	p.NoNewPrivileges = security.NoNewPrivileges
	p.Rlimits = nil // the machine's
	score := int(in.Container.Resources.OOMScoreAdj)
	p.OOMScoreAdj = &score
	caps := capabilities(security, in.Node.Capability, p.Capabilities.Bounding)
	p.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}

	s.Root.Readonly = security.ReadonlyRootfs
	s.Hostname = "" // of the UTS namespace that is joined
	s.Linux.CgroupsPath = in.CgroupPath
	s.Annotations = in.Container.Annotations
	devices := s.Linux.Resources.Devices
	s.Linux.Resources = linuxResources(in.Container.Resources, in.Node)
	s.Linux.Resources.Devices = devices
	s.Linux.Namespaces = joined(in)
	if err := mounts(s, in); err != nil {
		return nil, err
	}
	if security.MaskedPaths != nil {
		s.Linux.MaskedPaths = security.MaskedPaths
	}
	if security.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = security.ReadonlyPaths
	}
	for _, d := range in.Container.Devices {
		if err := oci.WithDevices(d.HostPath, d.ContainerPath, d.Permissions)(ctx, nil, made, s); err != nil {
			return nil, fmt.Errorf("device %s: %w", d.HostPath, err)
		}
	}
	if l := security.SELinux; l != nil {
		p.SelinuxLabel = strings.Join([]string{l.User, l.Role, l.Type, l.Level}, ":")
	}
	if profile, ok := strings.CutPrefix(security.AppArmor, "localhost/"); ok {
		p.ApparmorProfile = profile
	}
	if security.Privileged {
		for _, opt := range []oci.SpecOpts{oci.WithHostDevices, oci.WithAllDevicesAllowed, oci.WithWriteableSysfs, oci.WithWriteableCgroupfs} {
			if err := opt(ctx, nil, made, s); err != nil {
				return nil, err
			}
		}
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		p.ApparmorProfile = ""
		return s, nil
	}
	return s, withSeccomp(ctx, made, s, security.Seccomp)
}

// withSeccomp comes last: the default profile depends on the capabilities.
func withSeccomp(ctx context.Context, made *containers.Container, s *specs.Spec, profile string) error {
	switch path, local := strings.CutPrefix(profile, "localhost/"); {
	case profile == "unconfined":
		return nil
	case local:
		return seccomp.WithProfile(path)(ctx, nil, made, s)
	case profile == "" || profile == "runtime/default":
		return seccomp.WithDefaultProfile()(ctx, nil, made, s)
	}
	return fmt.Errorf("seccomp profile %q is not known", profile)
}

// arguments joins command and arguments as Kubernetes documents: a command of the
// pod drops both of the image's.
func arguments(config runtime.ContainerConfig, image imagespec.ImageConfig) ([]string, error) {
	command, args := config.Command, config.Args
	if len(command) == 0 {
		// The image's arguments belong to its entry point.
		if len(args) == 0 {
			args = image.Cmd
		}
		command = image.Entrypoint
	}
	all := slices.Concat(command, args)
	if len(all) == 0 {
		return nil, errors.New("no command specified")
	}
	return all, nil
}

// environment is the image's, with the pod's over it.
func environment(in specInput) []string {
	env := slices.Clone(in.Image.Env)
	if len(env) == 0 {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	if in.Container.TTY {
		env = withDefault(env, "TERM", "xterm")
	}
	if name := in.Sandbox.Hostname; name != "" && in.Sandbox.Namespaces.Network != runtime.NamespaceNode {
		env = withDefault(env, "HOSTNAME", name)
	}
	at := map[string]int{}
	for i, v := range env {
		name, _, _ := strings.Cut(v, "=")
		at[name] = i
	}
	for _, v := range in.Container.Env {
		if i, ok := at[v.Name]; ok {
			env[i] = v.Name + "=" + v.Value
			continue
		}
		at[v.Name] = len(env)
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// withDefault adds a variable that is not there.
func withDefault(env []string, name, value string) []string {
	for _, v := range env {
		if strings.HasPrefix(v, name+"=") {
			return env
		}
	}
	return append(env, name+"="+value)
}

// capabilities starts from the runtime's default set (or all), adds, then drops.
func capabilities(security runtime.SecurityContext, all, standard []string) []string {
	if security.Privileged {
		return all
	}
	full := func(name string) string {
		name = strings.ToUpper(name)
		if strings.HasPrefix(name, "CAP_") {
			return name
		}
		return "CAP_" + name
	}
	has := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return full(s) == name })
	}
	var out []string
	for _, name := range all {
		keep := slices.Contains(standard, name) || has(security.AddCapabilities, "CAP_ALL")
		if has(security.DropCapabilities, "CAP_ALL") || has(security.DropCapabilities, name) {
			keep = false
		}
		// What is named outweighs ALL, and what is added what is dropped.
		if has(security.AddCapabilities, name) {
			keep = true
		}
		if keep {
			out = append(out, name)
		}
	}
	return out
}

// joined lists the container's namespaces: the sandbox's where it has some, the
// machine's by leaving them out, its own where no path is given.
func joined(in specInput) []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	for _, ns := range unshared {
		if slices.Contains(ownNamespaces(in.Sandbox), ns.file) {
			out = append(out, specs.LinuxNamespace{Type: ns.kind, Path: filepath.Join(in.SandboxDir, ns.file)})
		}
	}
	pid := specs.LinuxNamespace{Type: specs.PIDNamespace}
	switch {
	case in.TargetPID > 0:
		pid.Path = fmt.Sprintf("/proc/%d/ns/pid", in.TargetPID)
	case in.Sandbox.Namespaces.PID == runtime.NamespaceNode || in.Container.Namespaces.PID == runtime.NamespaceNode:
		pid.Type = ""
	case sharesPID(in.Sandbox):
		pid.Path = filepath.Join(in.SandboxDir, "pid")
	}
	if pid.Type != "" {
		out = append(out, pid)
	}
	// Without a cgroup namespace of its own a container would see the machine's
	// whole tree. Version 1 shows each container a tree of its own anyway.
	if in.Node.CgroupV2 && !in.Container.Security.Privileged {
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return out
}

// mounts completes the specification's mounts: the usual ones, those of the
// sandbox, then the container's own by depth of their path.
func mounts(s *specs.Spec, in specInput) error {
	own := map[string]bool{}
	for _, m := range in.Container.Mounts {
		own[filepath.Clean(m.ContainerPath)] = true
	}
	var all []specs.Mount
	for _, m := range s.Mounts {
		if m.Destination != "/run" && m.Destination != "/dev/shm" && m.Destination != "/sys/fs/cgroup" && !own[m.Destination] {
			all = append(all, m)
		}
	}
	add := func(m specs.Mount) {
		if !own[m.Destination] {
			all = append(all, m)
		}
	}
	add(specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
	shm := "/dev/shm"
	if in.Sandbox.Namespaces.IPC != runtime.NamespaceNode {
		shm = filepath.Join(in.SandboxDir, "shm")
	}
	add(specs.Mount{Destination: "/dev/shm", Type: "bind", Source: shm, Options: []string{"rbind", "rprivate", "rw"}})
	access := "rw"
	if in.Container.Security.ReadonlyRootfs {
		access = "ro"
	}
	for _, name := range []string{"resolv.conf", "hostname"} {
		add(specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(in.SandboxDir, name), Options: []string{"rbind", "rprivate", access}})
	}
	wanted := slices.Clone(in.Container.Mounts)
	sort.SliceStable(wanted, func(i, j int) bool { return depth(wanted[i].ContainerPath) < depth(wanted[j].ContainerPath) })
	for _, m := range wanted {
		made, err := bindMount(m)
		if err != nil {
			return err
		}
		switch {
		case m.Propagation == runtime.PropagationBidirectional:
			s.Linux.RootfsPropagation = "rshared"
		case m.Propagation == runtime.PropagationHostToContainer && s.Linux.RootfsPropagation == "":
			s.Linux.RootfsPropagation = "rslave"
		}
		all = append(all, made)
	}
	s.Mounts = all
	return nil
}

func depth(path string) int { return strings.Count(filepath.Clean(path), "/") }

func bindMount(m runtime.Mount) (specs.Mount, error) {
	source, err := filepath.EvalSymlinks(m.HostPath)
	if errors.Is(err, os.ErrNotExist) {
		// A missing directory is made, as with every runtime.
		source, err = m.HostPath, os.MkdirAll(m.HostPath, 0o755)
	}
	if err != nil {
		return specs.Mount{}, fmt.Errorf("mount %s: %w", m.ContainerPath, err)
	}
	options := []string{"rbind"}
	switch m.Propagation {
	case runtime.PropagationBidirectional:
		options = append(options, "rshared")
	case runtime.PropagationHostToContainer:
		options = append(options, "rslave")
	default:
		options = append(options, "rprivate")
	}
	switch {
	case m.ReadOnly && m.RecursiveReadOnly:
		options = append(options, "rro")
	case m.ReadOnly:
		options = append(options, "ro")
	default:
		options = append(options, "rw")
	}
	return specs.Mount{Destination: filepath.Clean(m.ContainerPath), Type: "bind", Source: source, Options: options}, nil
}

// linuxResources words limits as OCI does.
func linuxResources(res runtime.Resources, node nodeFacts) *specs.LinuxResources {
	out := &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: res.CpusetCPUs, Mems: res.CpusetMems}, Unified: res.Unified}
	if v := uint64(res.CPUShares); v > 0 {
		out.CPU.Shares = &v
	}
	if res.CPUQuota != 0 {
		out.CPU.Quota = &res.CPUQuota
	}
	if v := uint64(res.CPUPeriod); v > 0 {
		out.CPU.Period = &v
	}
	if v := res.MemoryLimitBytes; v > 0 {
		out.Memory = &specs.LinuxMemory{Limit: &v}
		if node.SwapLimit {
			out.Memory.Swap = &v // no swap on top
		}
	}
	if node.HugepageCtl {
		for size, limit := range res.HugepageLimitBytes {
			out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: size, Limit: uint64(limit)})
		}
		sort.Slice(out.HugepageLimits, func(i, j int) bool { return out.HugepageLimits[i].Pagesize < out.HugepageLimits[j].Pagesize })
	}
	return out
}
