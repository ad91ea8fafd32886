package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validatePodStatus checks what a node agent reports.
func validatePodStatus(pod, old *corev1.Pod) field.ErrorList {
	errs := podspec.ValidateAnnotationUpdate(pod, old)
	path, s, was := field.NewPath("status"), &pod.Status, &old.Status
	errs = append(errs, validatePodConditions(pod.Status.Conditions, path.Child("conditions"))...)
	if n := s.NominatedNodeName; n != "" && n != was.NominatedNodeName {
		errs = append(errs, rules.Subdomain(n, path.Child("nominatedNodeName"))...)
		if old.Spec.NodeName != "" {
			errs = append(errs, field.Forbidden(path.Child("nominatedNodeName"), "may not be set on pods that are already bound to a node"))
		}
	}
	if s.ObservedGeneration < 0 {
		errs = append(errs, field.Invalid(path.Child("observedGeneration"), s.ObservedGeneration, "must be a non-negative integer"))
	}
	errs = append(errs, rules.Immutable(s.QOSClass, was.QOSClass, path.Child("qosClass"))...)
	errs = append(errs, validateTransitions(pod, was.ContainerStatuses, s.ContainerStatuses, pod.Spec.Containers, path.Child("containerStatuses"))...)
	errs = append(errs, validateTransitions(pod, was.InitContainerStatuses, s.InitContainerStatuses, pod.Spec.InitContainers, path.Child("initContainerStatuses"))...)
	errs = append(errs, validateEphemeralTransitions(was.EphemeralContainerStatuses, s.EphemeralContainerStatuses, path.Child("ephemeralContainerStatuses"))...)
	errs = append(errs, validateClaimStatuses(s.ResourceClaimStatuses, pod.Spec.ResourceClaims, path.Child("resourceClaimStatuses"))...)
	errs = append(errs, validateExtendedClaim(s.ExtendedResourceClaimStatus, &pod.Spec, path.Child("extendedResourceClaimStatus"))...)
	errs = append(errs, validateVolumeHealth(s.VolumeHealth, &pod.Spec, path.Child("volumeHealth"))...)
	errs = append(errs, validatePodIPs(s, was, path.Child("podIPs"))...)
	errs = append(errs, validateHostIPs(s, was, path.Child("hostIPs"))...)
	return append(errs, validateContainerReports(pod, path)...)
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
		if c.ObservedGeneration < 0 {
			errs = append(errs, field.Invalid(path.Index(i).Child("observedGeneration"), c.ObservedGeneration, "must be a non-negative integer"))
		}
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
	if restartsAll(&pod.Spec) {
		return nil
	}
	return stayEnded(old, now, path, true, func(s *corev1.ContainerStatus) bool {
		for i := range containers {
			if containers[i].Name == s.Name {
				return restarts(&containers[i], pod.Spec.RestartPolicy, s.State.Terminated.ExitCode)
			}
		}
		return false
	})
}

// validateEphemeralTransitions: none of these ever runs again.
func validateEphemeralTransitions(old, now []corev1.ContainerStatus, path *field.Path) field.ErrorList {
	return stayEnded(old, now, path, false, func(*corev1.ContainerStatus) bool { return false })
}

// stayEnded checks that containers which have ended do not run, but for those that may.
// A name may be reported twice; first says that then only the first counts.
func stayEnded(old, now []corev1.ContainerStatus, path *field.Path, first bool, may func(s *corev1.ContainerStatus) bool) field.ErrorList {
	var errs field.ErrorList
	for i := range old {
		s := &old[i]
		if s.State.Terminated == nil {
			continue
		}
		for j := range now {
			if now[j].Name != s.Name || now[j].State.Terminated != nil {
				continue
			}
			if !may(s) {
				errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
			if first {
				break
			}
		}
	}
	return errs
}

// restarts says that a container which ended with code is started again: by its own
// rules, its own policy, or the pod's.
func restarts(c *corev1.Container, ofPod corev1.RestartPolicy, code int32) bool {
	policy := string(ofPod)
	if c.RestartPolicy != nil {
		for _, r := range c.RestartPolicyRules {
			if r.ExitCodes == nil {
				continue
			}
			is := slices.Contains(r.ExitCodes.Values, code)
			if is == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
				return true
			}
		}
		policy = string(*c.RestartPolicy)
	}
	switch policy {
	case string(corev1.RestartPolicyNever):
		return false
	case string(corev1.RestartPolicyOnFailure):
		return code != 0
	}
	return true
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

// dropDisabledStatus clears what v1.37 does not serve of a status by default:
// ImageVolumeWithDigest, DRANodeAllocatableResources and CSIVolumeHealth are off. What is
// there already may stay.
func dropDisabledStatus(now, old *corev1.PodStatus) {
	if len(old.NodeAllocatableResourceClaimStatuses) == 0 {
		now.NodeAllocatableResourceClaimStatuses = nil
	}
	if len(old.VolumeHealth) == 0 {
		now.VolumeHealth = nil
	}
	if !volumeStatuses(old, false) {
		volumeStatuses(now, true)
	}
}

// volumeStatuses says that a mount tells which image it has, and with drop clears that.
func volumeStatuses(s *corev1.PodStatus, drop bool) bool {
	used := false
	for _, list := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for j := range list[i].VolumeMounts {
				m := &list[i].VolumeMounts[j]
				used = used || m.VolumeStatus != nil
				if drop {
					m.VolumeStatus = nil
				}
			}
		}
	}
	return used
}
