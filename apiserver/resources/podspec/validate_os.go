package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validateOS checks what a pod says of its operating system against the fields that
// another one has.
func validateOS(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	if spec.OS == nil {
		return nil
	}
	if spec.OS.Name == "" {
		return field.ErrorList{field.Required(path.Child("os", "name"), "")}
	}
	errs := rules.OneOf(spec.OS.Name, path.Child("os"), corev1.Linux, corev1.Windows)
	switch spec.OS.Name {
	case corev1.Linux:
		return append(errs, validateLinux(spec, path)...)
	case corev1.Windows:
		return append(errs, validateWindows(spec, path)...)
	}
	return errs
}

func validateLinux(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	const not = "windows options cannot be set for a linux pod"
	var errs field.ErrorList
	if spec.SecurityContext != nil && spec.SecurityContext.WindowsOptions != nil {
		errs = append(errs, field.Forbidden(path.Child("securityContext", "windowsOptions"), not))
	}
	for _, c := range containersOf(spec, path) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			errs = append(errs, field.Forbidden(c.at.Child("securityContext", "windowsOptions"), not))
		}
	}
	return errs
}

// option is a field that is set or not.
type option struct {
	set  bool
	name string
}

func validateWindows(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	forbid := func(at *field.Path, options ...option) {
		for _, o := range options {
			if o.set {
				errs = append(errs, field.Forbidden(at.Child(o.name), "cannot be set for a windows pod"))
			}
		}
	}
	forbid(path, option{spec.HostPID, "hostPID"}, option{spec.HostIPC, "hostIPC"}, option{spec.HostUsers != nil, "hostUsers"},
		option{spec.ShareProcessNamespace != nil, "shareProcessNamespace"})
	if s := spec.SecurityContext; s != nil {
		forbid(path.Child("securityContext"),
			option{s.AppArmorProfile != nil, "appArmorProfile"}, option{s.SELinuxOptions != nil, "seLinuxOptions"},
			option{s.SeccompProfile != nil, "seccompProfile"}, option{s.FSGroup != nil, "fsGroup"},
			option{s.FSGroupChangePolicy != nil, "fsGroupChangePolicy"}, option{len(s.Sysctls) > 0, "sysctls"},
			option{s.RunAsUser != nil, "runAsUser"}, option{s.RunAsGroup != nil, "runAsGroup"},
			option{s.SupplementalGroups != nil, "supplementalGroups"}, option{s.SupplementalGroupsPolicy != nil, "supplementalGroupsPolicy"},
			option{s.SELinuxChangePolicy != nil, "seLinuxChangePolicy"})
	}
	for _, c := range containersOf(spec, path) {
		s := c.SecurityContext
		if s == nil {
			continue
		}
		forbid(c.at.Child("securityContext"),
			option{s.AppArmorProfile != nil, "appArmorProfile"}, option{s.SELinuxOptions != nil, "seLinuxOptions"},
			option{s.SeccompProfile != nil, "seccompProfile"}, option{s.Capabilities != nil, "capabilities"},
			option{s.ReadOnlyRootFilesystem != nil, "readOnlyRootFilesystem"}, option{s.Privileged != nil, "privileged"},
			option{s.AllowPrivilegeEscalation != nil, "allowPrivilegeEscalation"}, option{s.ProcMount != nil, "procMount"},
			option{s.RunAsUser != nil, "runAsUser"}, option{s.RunAsGroup != nil, "runAsGroup"})
	}
	return errs
}

// validateHostProcess checks the containers of Windows that run on the host itself:
// all of a pod do, or none.
func validateHostProcess(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	ofPod := (*bool)(nil)
	if s := spec.SecurityContext; s != nil && s.WindowsOptions != nil {
		ofPod = s.WindowsOptions.HostProcess
	}
	all, host := 0, 0
	for _, c := range containersOf(spec, path) {
		all++
		own := (*bool)(nil)
		if s := c.SecurityContext; s != nil && s.WindowsOptions != nil {
			own = s.WindowsOptions.HostProcess
		}
		if ofPod != nil && own != nil && *ofPod != *own {
			errs = append(errs, field.Invalid(c.at.Child("securityContext", "windowsOptions", "hostProcess"), *own,
				fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *ofPod)))
		}
		if own != nil && *own || own == nil && ofPod != nil && *ofPod {
			host++
		}
	}
	if host == 0 {
		return errs
	}
	if host != all {
		errs = append(errs, field.Invalid(path, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !spec.HostNetwork {
		errs = append(errs, field.Invalid(path.Child("hostNetwork"), spec.HostNetwork, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return errs
}
