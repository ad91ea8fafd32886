package core

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validateClaimStatuses checks the names of the claims that were made for a pod.
func validateClaimStatuses(statuses []corev1.PodResourceClaimStatus, claims []corev1.PodResourceClaim, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	known := sets.New[string]()
	for _, c := range claims {
		known.Insert(c.Name)
	}
	seen := sets.New[string]()
	for i, s := range statuses {
		at := path.Index(i)
		if !known.Has(s.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		}
		if seen.Has(s.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), s.Name))
		}
		seen.Insert(s.Name)
		if n := s.ResourceClaimName; n != nil {
			errs = append(errs, rules.Subdomain(*n, at.Child("resourceClaimName"))...)
		}
	}
	return errs
}

// validateExtendedClaim checks which requests of a claim stand for which devices that
// containers ask for as resources.
func validateExtendedClaim(s *corev1.PodExtendedResourceClaimStatus, spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	mappings := path.Child("requestMappings")
	if len(s.RequestMappings) == 0 {
		errs = append(errs, field.Required(mappings, "at least one request mapping is required"))
	}
	containers := map[string]*corev1.Container{}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			containers[list[i].Name] = &list[i]
		}
	}
	seen := sets.New[corev1.ContainerExtendedResourceRequest]()
	for i, m := range s.RequestMappings {
		at := mappings.Index(i)
		if c := containers[m.ContainerName]; c == nil {
			errs = append(errs, field.Invalid(at.Child("containerName"), m.ContainerName, "must match the name of an entry in spec.initContainers.name or spec.containers.name"))
		} else if _, ok := c.Resources.Requests[corev1.ResourceName(m.ResourceName)]; !ok {
			errs = append(errs, field.Invalid(at.Child("resourceName"), m.ResourceName,
				"must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests"))
		}
		errs = append(errs, rules.Label(m.RequestName, path.Child("requestName"))...)
		if seen.Has(m) {
			errs = append(errs, field.Duplicate(at.Child("containerName"), m.ContainerName),
				field.Duplicate(at.Child("resourceName"), m.ResourceName), field.Duplicate(at.Child("requestName"), m.RequestName))
		}
		seen.Insert(m)
	}
	if s.ResourceClaimName == "" {
		return append(errs, field.Required(path.Child("resourceClaimName"), ""))
	}
	return append(errs, rules.Subdomain(s.ResourceClaimName, path.Child("resourceClaimName"))...)
}

func validateVolumeHealth(health []corev1.PodVolumeHealth, spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	if len(health) == 0 {
		return nil
	}
	var errs field.ErrorList
	known := sets.New[string]()
	for i := range spec.Volumes {
		known.Insert(spec.Volumes[i].Name)
	}
	for i := range health {
		h, at := &health[i], path.Index(i)
		if h.Name != "" && !known.Has(h.Name) {
			errs = append(errs, field.NotFound(at.Child("name"), h.Name))
		}
		for j, c := range h.HealthConditions {
			if c.Reason != "" {
				errs = append(errs, rules.Matches(c.Reason, at.Child("healthConditions").Index(j).Child("reason"), metav1validation.IsValidConditionReason(c.Reason))...)
			}
		}
	}
	return errs
}

// validatePodIPs: at most two, one of each family, and podIP is the first. An address
// that was there may be written as it was.
func validatePodIPs(s, was *corev1.PodStatus, path *field.Path) field.ErrorList {
	held := make([]string, len(was.PodIPs))
	for i, ip := range was.PodIPs {
		held[i] = ip.IP
	}
	ips := make([]string, len(s.PodIPs))
	for i, ip := range s.PodIPs {
		ips[i] = ip.IP
	}
	errs := families(ips, held, s.PodIPs, path)
	switch {
	case (s.PodIP == "") != (len(ips) == 0):
		errs = append(errs, field.Invalid(path, rules.Internal(s.PodIPs), "podIP and podIPs must either both be set or both be unset"))
	case len(ips) > 0 && s.PodIP != ips[0]:
		errs = append(errs, field.Invalid(path.Index(0).Child("ip"), ips[0], "must be equal to `podIP`"))
	}
	return errs
}

// validateHostIPs: as those of the pod.
func validateHostIPs(s, was *corev1.PodStatus, path *field.Path) field.ErrorList {
	if len(s.HostIPs) == 0 {
		return nil
	}
	held := make([]string, len(was.HostIPs))
	for i, ip := range was.HostIPs {
		held[i] = ip.IP
	}
	ips := make([]string, len(s.HostIPs))
	for i, ip := range s.HostIPs {
		ips[i] = ip.IP
	}
	var errs field.ErrorList
	if s.HostIP != ips[0] {
		errs = append(errs, field.Invalid(path.Index(0).Child("ip"), ips[0], "must be equal to `hostIP`"))
	}
	return append(errs, families(ips, held, s.HostIPs, path)...)
}

// families checks addresses, of which there may be one of each family; shown is what an
// error shows of all.
func families(ips, held []string, shown any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range ips {
		errs = append(errs, rules.NewIP(ip, held, path.Index(i))...)
	}
	if len(ips) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		errs = append(errs, field.InternalError(path, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(ips) > 2 {
		errs = append(errs, field.Invalid(path, rules.Internal(shown), "may specify no more than one IP for each IP family"))
	}
	return errs
}

// validateContainerReports checks who runs the containers, and how their devices are.
func validateContainerReports(pod *corev1.Pod, path *field.Path) field.ErrorList {
	s := &pod.Status
	var errs field.ErrorList
	for _, list := range []struct {
		name     string
		statuses []corev1.ContainerStatus
	}{{"containerStatuses", s.ContainerStatuses}, {"initContainerStatuses", s.InitContainerStatuses}, {"ephemeralContainerStatuses", s.EphemeralContainerStatuses}} {
		for i := range list.statuses {
			errs = append(errs, validateUser(list.statuses[i].User, pod.Spec.OS, path.Child(list.name).Index(i).Child("user", "linux"))...)
		}
	}
	errs = append(errs, validateDeviceHealth(s.ContainerStatuses, pod.Spec.Containers, s, path.Child("containerStatuses"))...)
	errs = append(errs, validateDeviceHealth(s.InitContainerStatuses, pod.Spec.InitContainers, s, path.Child("initContainerStatuses"))...)
	for i := range s.EphemeralContainerStatuses {
		if len(s.EphemeralContainerStatuses[i].AllocatedResourcesStatus) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ephemeralContainerStatuses").Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status"))
		}
	}
	return errs
}

func validateUser(user *corev1.ContainerUser, os *corev1.PodOS, path *field.Path) field.ErrorList {
	if user == nil || user.Linux == nil {
		return nil
	}
	name, u := corev1.Linux, user.Linux
	if os != nil {
		name = os.Name
	}
	switch name {
	case corev1.Windows:
		return field.ErrorList{field.Forbidden(path, "cannot be set for a windows pod")}
	case corev1.Linux:
	default:
		return nil
	}
	var errs field.ErrorList
	if u.UID < 0 || u.UID > math.MaxUint32 {
		errs = append(errs, field.Invalid(path.Child("uid"), u.UID, validation.InclusiveRangeError(0, math.MaxUint32)))
	}
	errs = append(errs, rules.Matches(u.GID, path.Child("gid"), validation.IsValidGroupID(u.GID))...)
	for i, g := range u.SupplementalGroups {
		errs = append(errs, rules.Matches(g, path.Child("supplementalGroups").Index(i), validation.IsValidGroupID(g))...)
	}
	return errs
}
