package containerspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// What containers do not see, or cannot write, of the kernel's file systems
// unless they are privileged or ask for all of it.
var (
	maskedPaths = []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// FullName of a pod in messages: name_namespace(uid).
func FullName(pod *corev1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}

// RunAs is the user that a container asks for: its own, else the pod's; nil
// leaves it to the image.
func RunAs(pod *corev1.Pod, c *corev1.Container) (user, group *int64) {
	if p := pod.Spec.SecurityContext; p != nil {
		user, group = p.RunAsUser, p.RunAsGroup
	}
	if s := c.SecurityContext; s != nil {
		if s.RunAsUser != nil {
			user = s.RunAsUser
		}
		if s.RunAsGroup != nil {
			group = s.RunAsGroup
		}
	}
	return user, group
}

// VerifyNonRoot refuses a container that must not, but would, run as root.
func VerifyNonRoot(pod *corev1.Pod, c *corev1.Container, image *runtime.Image) error {
	var nonRoot *bool
	if p := pod.Spec.SecurityContext; p != nil {
		nonRoot = p.RunAsNonRoot
	}
	if s := c.SecurityContext; s != nil && s.RunAsNonRoot != nil {
		nonRoot = s.RunAsNonRoot
	}
	if nonRoot == nil || !*nonRoot {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", FullName(pod), c.Name)
	user, _ := RunAs(pod, c)
	switch {
	case user != nil && *user == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
	case user != nil || image == nil:
		return nil
	case image.UID != nil && *image.UID == 0, image.UID == nil && image.Username == "":
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case image.UID == nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Username, where)
	}
	return nil
}

func security(pod *corev1.Pod, c *corev1.Container, image *runtime.Image) runtime.SecurityContext {
	out := podSecurity(pod)
	out.RunAsUser, out.RunAsGroup = RunAs(pod, c)
	if out.RunAsUser == nil && image != nil {
		out.RunAsUser, out.RunAsUsername = image.UID, image.Username
	}
	out.MaskedPaths, out.ReadonlyPaths = maskedPaths, readonlyPaths
	s := c.SecurityContext
	if s == nil {
		return out
	}
	if s.SELinuxOptions != nil {
		out.SELinux = selinux(s.SELinuxOptions)
	}
	if s.SeccompProfile != nil {
		out.Seccomp = seccomp(s.SeccompProfile)
	}
	if s.AppArmorProfile != nil {
		out.AppArmor = appArmor(s.AppArmorProfile)
	}
	out.Privileged = s.Privileged != nil && *s.Privileged
	out.ReadonlyRootfs = s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem
	out.NoNewPrivileges = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation
	if s.Capabilities != nil {
		for _, name := range s.Capabilities.Add {
			out.AddCapabilities = append(out.AddCapabilities, string(name))
		}
		for _, name := range s.Capabilities.Drop {
			out.DropCapabilities = append(out.DropCapabilities, string(name))
		}
	}
	if out.Privileged {
		out.Seccomp, out.AppArmor = "unconfined", "unconfined"
	}
	if out.Privileged || s.ProcMount != nil && *s.ProcMount == corev1.UnmaskedProcMount {
		out.MaskedPaths, out.ReadonlyPaths = nil, nil
	}
	return out
}

// podSecurity is what the sandbox gets and containers start from. Without a
// profile there is no seccomp filter, as upstream has it.
func podSecurity(pod *corev1.Pod) runtime.SecurityContext {
	out := runtime.SecurityContext{Seccomp: "unconfined"}
	p := pod.Spec.SecurityContext
	if p == nil {
		return out
	}
	out.RunAsUser, out.RunAsGroup = p.RunAsUser, p.RunAsGroup
	out.SupplementalGroups = append(out.SupplementalGroups, p.SupplementalGroups...)
	if p.FSGroup != nil {
		out.SupplementalGroups = append(out.SupplementalGroups, *p.FSGroup)
	}
	if p.SELinuxOptions != nil {
		out.SELinux = selinux(p.SELinuxOptions)
	}
	if p.SeccompProfile != nil {
		out.Seccomp = seccomp(p.SeccompProfile)
	}
	if p.AppArmorProfile != nil {
		out.AppArmor = appArmor(p.AppArmorProfile)
	}
	return out
}

func seccomp(p *corev1.SeccompProfile) string {
	switch {
	case p.Type == corev1.SeccompProfileTypeRuntimeDefault:
		return "runtime/default"
	case p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil:
		return "localhost/" + *p.LocalhostProfile
	}
	return "unconfined"
}

func appArmor(p *corev1.AppArmorProfile) string {
	switch {
	case p.Type == corev1.AppArmorProfileTypeLocalhost && p.LocalhostProfile != nil:
		return "localhost/" + *p.LocalhostProfile
	case p.Type == corev1.AppArmorProfileTypeUnconfined:
		return "unconfined"
	}
	return "runtime/default"
}

func selinux(o *corev1.SELinuxOptions) *runtime.SELinuxOptions {
	return &runtime.SELinuxOptions{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}
