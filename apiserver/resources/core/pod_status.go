package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validatePodStatus checks what a node agent reports.
func validatePodStatus(pod, old *corev1.Pod) field.ErrorList {
	errs := podspec.ValidateAnnotationUpdate(pod, old)
	// The path is upstream's, which is not where conditions are.
	errs = append(errs, validatePodConditions(pod.Status.Conditions, field.NewPath("metadata", "conditions"))...)
	path, s, was := field.NewPath("status"), &pod.Status, &old.Status
	if n := s.NominatedNodeName; n != "" && n != was.NominatedNodeName {
		errs = append(errs, rules.Subdomain(n, path.Child("nominatedNodeName"))...)
	}
	errs = append(errs, rules.Immutable(s.QOSClass, was.QOSClass, path.Child("qosClass"))...)
	errs = append(errs, validateTransitions(pod, was.ContainerStatuses, s.ContainerStatuses, pod.Spec.Containers, path.Child("containerStatuses"))...)
	errs = append(errs, validateTransitions(pod, was.InitContainerStatuses, s.InitContainerStatuses, pod.Spec.InitContainers, path.Child("initContainerStatuses"))...)
	errs = append(errs, validateEphemeralTransitions(was.EphemeralContainerStatuses, s.EphemeralContainerStatuses, path.Child("ephemeralContainerStatuses"))...)
	errs = append(errs, validateClaimStatuses(s.ResourceClaimStatuses, pod.Spec.ResourceClaims, path.Child("resourceClaimStatuses"))...)
	errs = append(errs, validatePodIPs(s.PodIPs, path.Child("podIPs"))...)
	return append(errs, validateHostIPs(s, path)...)
}

// keepObservedGenerations fills in what older node agents do not know of and so leave
// out.
func keepObservedGenerations(now, old *corev1.PodStatus) {
	if now.ObservedGeneration == 0 {
		now.ObservedGeneration = old.ObservedGeneration
	}
	// A type may be there more than once: each takes the next of the old ones.
	seen := map[corev1.PodConditionType][]int64{}
	for _, c := range old.Conditions {
		seen[c.Type] = append(seen[c.Type], c.ObservedGeneration)
	}
	for i := range now.Conditions {
		c := &now.Conditions[i]
		var generation int64
		if before := seen[c.Type]; len(before) > 0 {
			generation, seen[c.Type] = before[0], before[1:]
		}
		if c.ObservedGeneration == 0 {
			c.ObservedGeneration = generation
		}
	}
}

func validatePodConditions(conditions []corev1.PodCondition, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range conditions {
		switch c.Type {
		case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized:
			continue
		}
		errs = append(errs, rules.Matches(string(c.Type), path.Index(i).Child("Type"), validation.IsQualifiedName(string(c.Type)))...)
	}
	return errs
}

// validateTransitions refuses that a container which has ended for good runs
// again, which only a stale report can say.
func validateTransitions(pod *corev1.Pod, old, now []corev1.ContainerStatus, containers []corev1.Container, path *field.Path) field.ErrorList {
	if pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || restartsAll(&pod.Spec) {
		return nil
	}
	own := containersByName(containers)
	return stayEnded(old, now, path, func(s *corev1.ContainerStatus) bool {
		c := own[s.Name]
		// A container with a policy of its own goes by that.
		return c != nil && c.RestartPolicy != nil || s.State.Terminated.ExitCode != 0 && pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
	})
}

// validateEphemeralTransitions: none of these ever runs again.
func validateEphemeralTransitions(old, now []corev1.ContainerStatus, path *field.Path) field.ErrorList {
	return stayEnded(old, now, path, func(*corev1.ContainerStatus) bool { return false })
}

// stayEnded checks that containers which have ended do not run, but for those that may.
func stayEnded(old, now []corev1.ContainerStatus, path *field.Path, may func(s *corev1.ContainerStatus) bool) field.ErrorList {
	runs := sets.New[string]()
	for i := range now {
		if now[i].State.Terminated == nil {
			runs.Insert(now[i].Name)
		}
	}
	var errs field.ErrorList
	for i := range old {
		if s := &old[i]; s.State.Terminated != nil && runs.Has(s.Name) && !may(s) {
			errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
		}
	}
	return errs
}

func containersByName(containers []corev1.Container) map[string]*corev1.Container {
	out := make(map[string]*corev1.Container, len(containers))
	for i := range containers {
		out[containers[i].Name] = &containers[i]
	}
	return out
}

// restartsAll says that the exit of some container may restart all of the pod.
func restartsAll(spec *corev1.PodSpec) bool {
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			for _, r := range list[i].RestartPolicyRules {
				if r.Action == corev1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}

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
		switch {
		case s.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen.Has(s.Name):
			errs = append(errs, field.Duplicate(at.Child("name"), s.Name))
		default:
			errs = append(errs, rules.Label(s.Name, at.Child("name"))...)
			seen.Insert(s.Name)
		}
		if n := s.ResourceClaimName; n != nil {
			errs = append(errs, rules.Subdomain(*n, at.Child("name"))...)
		}
		if s.Name != "" && !known.Has(s.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		}
	}
	return errs
}

func validatePodIPs(ips []corev1.PodIP, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var text []string
	seen := sets.New[string]()
	for i, ip := range ips {
		errs = append(errs, rules.IP(ip.IP, path.Index(i))...)
		if seen.Has(ip.IP) {
			errs = append(errs, field.Duplicate(path.Index(i), ip))
		}
		seen.Insert(ip.IP)
		text = append(text, ip.IP)
	}
	if len(ips) > 1 && len(errs) == 0 {
		if dual, err := netutils.IsDualStackIPStrings(text); err != nil || !dual || len(ips) > 2 {
			errs = append(errs, field.Invalid(path, ips, "may specify no more than one IP for each IP family"))
		}
	}
	return errs
}

// validateHostIPs: the first is hostIP, and there are at most two, one of each family.
func validateHostIPs(s *corev1.PodStatus, path *field.Path) field.ErrorList {
	if len(s.HostIPs) == 0 {
		return nil
	}
	var errs field.ErrorList
	at := path.Child("hostIPs")
	if s.HostIP != s.HostIPs[0].IP {
		errs = append(errs, field.Invalid(at.Index(0).Child("ip"), s.HostIPs[0].IP, "must be equal to `hostIP`"))
	}
	var text []string
	seen := sets.New[string]()
	for i, ip := range s.HostIPs {
		errs = append(errs, rules.IP(ip.IP, at.Index(i))...)
		if seen.Has(ip.IP) {
			errs = append(errs, field.Duplicate(at.Index(i), ip))
		}
		seen.Insert(ip.IP)
		text = append(text, ip.IP)
	}
	if len(s.HostIPs) > 1 {
		dual, err := netutils.IsDualStackIPStrings(text)
		switch {
		case err != nil:
			errs = append(errs, field.InternalError(at, fmt.Errorf("failed to check for dual stack with error:%w", err)))
		case !dual || len(s.HostIPs) > 2:
			errs = append(errs, field.Invalid(at, s.HostIPs, "may specify no more than one IP for each IP family"))
		}
	}
	return errs
}
