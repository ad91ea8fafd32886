package podspec

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/node/util/sysctl"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

const (
	sysctlSegment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
	sysctlFormat  = "(" + sysctlSegment + "[\\./])*" + sysctlSegment
	sysctlMaxLen  = 253
)

var sysctlName = regexp.MustCompile("^" + sysctlFormat + "$")

func validatePodSecurity(spec *corev1.PodSpec, pod bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.HostNetwork {
		errs = append(errs, matchingHostPorts(spec.Containers, pod, path.Child("containers"))...)
	}
	if spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace && spec.HostPID {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), *spec.ShareProcessNamespace, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	if spec.HostUsers != nil && !*spec.HostUsers {
		const not = "when `hostUsers` is false"
		if spec.HostNetwork {
			errs = append(errs, field.Forbidden(path.Child("hostNetwork"), not))
		}
		if spec.HostPID {
			errs = append(errs, field.Forbidden(path.Child("HostPID"), not))
		}
		if spec.HostIPC {
			errs = append(errs, field.Forbidden(path.Child("HostIPC"), not))
		}
		for _, c := range containersOf(spec, path) {
			if len(c.VolumeDevices) > 0 {
				errs = append(errs, field.Forbidden(c.at.Child("volumeDevices"), not))
			}
		}
	}
	s, at := spec.SecurityContext, path.Child("securityContext")
	if s == nil {
		return errs
	}
	errs = append(errs, validateID(s.RunAsUser, validation.IsValidUserID, at.Child("runAsUser"))...)
	errs = append(errs, validateID(s.RunAsGroup, validation.IsValidGroupID, at.Child("runAsGroup"))...)
	errs = append(errs, validateID(s.FSGroup, validation.IsValidGroupID, at.Child("fsGroup"))...)
	for i, g := range s.SupplementalGroups {
		errs = append(errs, rules.Matches(g, at.Child("supplementalGroups").Index(i), validation.IsValidGroupID(g))...)
	}
	if p := s.FSGroupChangePolicy; p != nil {
		errs = append(errs, rules.OneOf(*p, at.Child("fsGroupChangePolicy"), corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	if p := s.SupplementalGroupsPolicy; p != nil {
		errs = append(errs, rules.OneOf(*p, at.Child("supplementalGroupsPolicy"), corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	}
	if p := s.SELinuxChangePolicy; p != nil {
		errs = append(errs, rules.OneOf(*p, at.Child("seLinuxChangePolicy"), corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)...)
	}
	errs = append(errs, validateSysctls(s.Sysctls, spec, at.Child("sysctls"))...)
	errs = append(errs, validateSeccomp(s.SeccompProfile, at.Child("seccompProfile"))...)
	errs = append(errs, validateWindowsOptions(s.WindowsOptions, at.Child("windowsOptions"))...)
	return append(errs, validateAppArmor(s.AppArmorProfile, at.Child("appArmorProfile"))...)
}

func validateID(id *int64, check func(int64) []string, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return rules.Matches(*id, path, check(*id))
}

// matchingHostPorts checks that on the host's network a host port is the
// container's; in a template the host port may still be left to default.
func matchingHostPorts(containers []corev1.Container, pod bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort == p.ContainerPort || p.HostPort == 0 && !pod {
				continue
			}
			errs = append(errs, field.Invalid(path.Index(i).Child("ports").Index(j).Child("hostPort"),
				p.HostPort, "must match `containerPort` when `hostNetwork` is true"))
		}
	}
	return errs
}

func validateSysctls(sysctls []corev1.Sysctl, spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, s := range sysctls {
		at := path.Index(i).Child("name")
		switch {
		case s.Name == "":
			errs = append(errs, field.Required(at, ""))
		case len(s.Name) > sysctlMaxLen || !sysctlName.MatchString(s.Name):
			errs = append(errs, field.Invalid(at, s.Name, "must have at most 253 characters and match regex ^"+sysctlFormat+"$"))
		case seen.Has(s.Name):
			errs = append(errs, field.Duplicate(at, s.Name))
		}
		seen.Insert(s.Name)
		switch space, _, _ := sysctl.GetNamespace(s.Name); {
		case spec.HostNetwork && space == sysctl.NetNamespace:
			errs = append(errs, field.Invalid(at, s.Name, "may not be specified when 'hostNetwork' is true"))
		case spec.HostIPC && space == sysctl.IPCNamespace:
			errs = append(errs, field.Invalid(at, s.Name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return errs
}

func validateSeccomp(p *corev1.SeccompProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	if p.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "type is required when seccompProfile is set"))
	} else {
		errs = append(errs, rules.OneOf(p.Type, path.Child("type"), corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)...)
	}
	at := path.Child("localhostProfile")
	switch {
	case p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile == nil:
		errs = append(errs, field.Required(at, "must be set when seccomp type is Localhost"))
	case p.Type == corev1.SeccompProfileTypeLocalhost:
		errs = append(errs, localPath(*p.LocalhostProfile, at, true)...)
	case p.LocalhostProfile != nil:
		errs = append(errs, field.Invalid(at, rules.Internal(p), "can only be set when seccomp type is Localhost"))
	}
	return errs
}

// maxProfilePath is the longest path that Linux takes, in bytes.
const maxProfilePath = 4095

func validateAppArmor(p *corev1.AppArmorProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	const need = "must be set when AppArmor type is Localhost"
	at := path.Child("localhostProfile")
	switch p.Type {
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "type is required when appArmorProfile is set")}
	case corev1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil {
			return field.ErrorList{field.Required(at, need)}
		}
		var errs field.ErrorList
		if trimmed := strings.TrimSpace(*p.LocalhostProfile); trimmed != *p.LocalhostProfile {
			errs = append(errs, field.Invalid(at, *p.LocalhostProfile, "must not be padded with whitespace"))
		} else if trimmed == "" {
			errs = append(errs, field.Required(at, need))
		}
		if len(*p.LocalhostProfile) > maxProfilePath {
			errs = append(errs, field.TooLong(at, "", maxProfilePath))
		}
		return errs
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			return field.ErrorList{field.Invalid(at, *p.LocalhostProfile, "can only be set when AppArmor type is Localhost")}
		}
		return nil
	}
	return rules.OneOf(p.Type, path.Child("type"), corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
}

func validateSecurityContext(s *corev1.SecurityContext, hostUsers bool, path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := validateID(s.RunAsUser, validation.IsValidUserID, path.Child("runAsUser"))
	errs = append(errs, validateID(s.RunAsGroup, validation.IsValidGroupID, path.Child("runAsGroup"))...)
	if p := s.ProcMount; p != nil {
		errs = append(errs, rules.OneOf(*p, path.Child("procMount"), corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if hostUsers && *p == corev1.UnmaskedProcMount {
			errs = append(errs, field.Invalid(path.Child("procMount"), *p, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	errs = append(errs, validateSeccomp(s.SeccompProfile, path.Child("seccompProfile"))...)
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		if s.Privileged != nil && *s.Privileged {
			errs = append(errs, field.Invalid(path, rules.Internal(s), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if s.Capabilities != nil {
			for _, c := range s.Capabilities.Add {
				if c == "CAP_SYS_ADMIN" {
					errs = append(errs, field.Invalid(path, rules.Internal(s), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
				}
			}
		}
	}
	errs = append(errs, validateWindowsOptions(s.WindowsOptions, path.Child("windowsOptions"))...)
	return append(errs, validateAppArmor(s.AppArmorProfile, path.Child("appArmorProfile"))...)
}
