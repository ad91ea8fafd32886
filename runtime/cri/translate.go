package cri

import (
	"fmt"
	"strings"

	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

func sandboxConfig(c runtime.SandboxConfig) *api.PodSandboxConfig {
	out := &api.PodSandboxConfig{
		Metadata: &api.PodSandboxMetadata{Name: c.Pod.Name, Namespace: c.Pod.Namespace, Uid: c.Pod.UID, Attempt: c.Pod.Attempt},
		Hostname: c.Hostname, LogDirectory: c.LogDirectory,
		Linux: &api.LinuxPodSandboxConfig{
			CgroupParent: c.CgroupParent, Sysctls: c.Sysctls,
			SecurityContext: &api.LinuxSandboxSecurityContext{
				NamespaceOptions: namespaces(c.Namespaces), Privileged: c.Security.Privileged,
				RunAsUser: boxed(c.Security.RunAsUser), RunAsGroup: boxed(c.Security.RunAsGroup),
				SupplementalGroups: c.Security.SupplementalGroups, ReadonlyRootfs: c.Security.ReadonlyRootfs,
				SelinuxOptions: selinux(c.Security.SELinux),
				Seccomp:        profile(c.Security.Seccomp), Apparmor: profile(c.Security.AppArmor),
			},
		},
	}
	if c.DNS != nil {
		out.DnsConfig = &api.DNSConfig{Servers: c.DNS.Servers, Searches: c.DNS.Searches, Options: c.DNS.Options}
	}
	for _, p := range c.Ports {
		out.PortMappings = append(out.PortMappings, &api.PortMapping{
			Protocol: api.Protocol(api.Protocol_value[strings.ToUpper(p.Protocol)]),
			HostIp:   p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort,
		})
	}
	return out
}

func namespaces(n runtime.Namespaces) *api.NamespaceOption {
	// The modes have the CRI's order.
	return &api.NamespaceOption{
		Network: api.NamespaceMode(n.Network), Pid: api.NamespaceMode(n.PID), Ipc: api.NamespaceMode(n.IPC), TargetId: n.TargetID,
	}
}

func boxed(n *int64) *api.Int64Value {
	if n == nil {
		return nil
	}
	return &api.Int64Value{Value: *n}
}

func selinux(o *runtime.SELinuxOptions) *api.SELinuxOption {
	if o == nil {
		return nil
	}
	return &api.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func profile(name string) *api.SecurityProfile {
	switch ref, local := strings.CutPrefix(name, "localhost/"); {
	case local:
		return &api.SecurityProfile{ProfileType: api.SecurityProfile_Localhost, LocalhostRef: ref}
	case name == "unconfined":
		return &api.SecurityProfile{ProfileType: api.SecurityProfile_Unconfined}
	}
	return &api.SecurityProfile{ProfileType: api.SecurityProfile_RuntimeDefault}
}

func containerConfig(c runtime.ContainerConfig) (*api.ContainerConfig, error) {
	s := c.Security
	out := &api.ContainerConfig{
		Metadata: &api.ContainerMetadata{Name: c.Name, Attempt: c.Attempt},
		Image:    &api.ImageSpec{Image: c.Image, UserSpecifiedImage: c.UserImage},
		Command:  c.Command, Args: c.Args, WorkingDir: c.WorkingDir, Annotations: c.Annotations,
		LogPath: c.LogPath, Stdin: c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
		Linux: &api.LinuxContainerConfig{
			Resources: linuxResources(c.Resources),
			SecurityContext: &api.LinuxContainerSecurityContext{
				Capabilities: &api.Capability{AddCapabilities: s.AddCapabilities, DropCapabilities: s.DropCapabilities},
				Privileged:   s.Privileged, NamespaceOptions: namespaces(c.Namespaces), SelinuxOptions: selinux(s.SELinux),
				RunAsUser: boxed(s.RunAsUser), RunAsGroup: boxed(s.RunAsGroup), RunAsUsername: s.RunAsUsername,
				ReadonlyRootfs: s.ReadonlyRootfs, SupplementalGroups: s.SupplementalGroups, NoNewPrivs: s.NoNewPrivileges,
				MaskedPaths: s.MaskedPaths, ReadonlyPaths: s.ReadonlyPaths,
				Seccomp: profile(s.Seccomp), Apparmor: profile(s.AppArmor),
			},
		},
	}
	for _, e := range c.Env {
		out.Envs = append(out.Envs, &api.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	for _, m := range c.Mounts {
		out.Mounts = append(out.Mounts, &api.Mount{
			ContainerPath: m.ContainerPath, HostPath: m.HostPath, Readonly: m.ReadOnly,
			RecursiveReadOnly: m.RecursiveReadOnly, Propagation: api.MountPropagation(m.Propagation),
		})
	}
	for _, d := range c.Devices {
		out.Devices = append(out.Devices, &api.Device{ContainerPath: d.ContainerPath, HostPath: d.HostPath, Permissions: d.Permissions})
	}
	if c.StopSignal != "" {
		number, ok := api.Signal_value["SIGNAL_"+strings.ToUpper(c.StopSignal)]
		if !ok {
			return nil, fmt.Errorf("stop signal %q is not known", c.StopSignal)
		}
		out.StopSignal = api.Signal(number)
	}
	return out, nil
}

func linuxResources(r runtime.Resources) *api.LinuxContainerResources {
	out := &api.LinuxContainerResources{
		CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota, CpuShares: r.CPUShares,
		MemoryLimitInBytes: r.MemoryLimitBytes, OomScoreAdj: r.OOMScoreAdj,
		CpusetCpus: r.CpusetCPUs, CpusetMems: r.CpusetMems, Unified: r.Unified,
		MemorySwapLimitInBytes: r.MemoryLimitBytes, // no swap on top
	}
	for size, limit := range r.HugepageLimitBytes {
		out.HugepageLimits = append(out.HugepageLimits, &api.HugepageLimit{PageSize: size, Limit: uint64(limit)})
	}
	return out
}

// containerOf reads a status; it has no sandbox.
func containerOf(s *api.ContainerStatus) runtime.Container {
	out := runtime.Container{
		ID: s.Id, Name: s.GetMetadata().GetName(), Attempt: s.GetMetadata().GetAttempt(),
		State: runtime.ContainerState(s.State), // in the CRI's order
		Image: s.GetImage().GetUserSpecifiedImage(), ImageID: s.ImageId, ImageRef: s.ImageRef,
		CreatedAt: instant(s.CreatedAt), StartedAt: instant(s.StartedAt), FinishedAt: instant(s.FinishedAt),
		ExitCode: s.ExitCode, Reason: s.Reason, Message: s.Message,
		Labels: plain(s.Labels), Annotations: plain(s.Annotations), LogPath: s.LogPath,
	}
	if out.Image == "" {
		out.Image = s.GetImage().GetImage()
	}
	for _, m := range s.Mounts {
		out.Mounts = append(out.Mounts, runtime.Mount{
			HostPath: m.HostPath, ContainerPath: m.ContainerPath, ReadOnly: m.Readonly,
			RecursiveReadOnly: m.RecursiveReadOnly, Propagation: runtime.Propagation(m.Propagation),
		})
	}
	if l := s.GetResources().GetLinux(); l != nil {
		out.Resources = runtime.Resources{
			CPUShares: l.CpuShares, CPUQuota: l.CpuQuota, CPUPeriod: l.CpuPeriod, MemoryLimitBytes: l.MemoryLimitInBytes,
			OOMScoreAdj: l.OomScoreAdj, CpusetCPUs: l.CpusetCpus, CpusetMems: l.CpusetMems, Unified: l.Unified,
		}
		for _, h := range l.HugepageLimits {
			if out.Resources.HugepageLimitBytes == nil {
				out.Resources.HugepageLimitBytes = map[string]int64{}
			}
			out.Resources.HugepageLimitBytes[h.PageSize] = int64(h.Limit)
		}
	}
	return out
}
