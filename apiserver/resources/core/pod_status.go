package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validatePodStatus checks what a node agent reports.
func validatePodStatus(pod, old *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status")
	if n := pod.Status.NominatedNodeName; n != "" {
		errs = append(errs, rules.Subdomain(n, path.Child("nominatedNodeName"))...)
	}
	errs = append(errs, validateTransitions(pod, old.Status.ContainerStatuses, pod.Status.ContainerStatuses, pod.Spec.Containers, path.Child("containerStatuses"))...)
	errs = append(errs, validateTransitions(pod, old.Status.InitContainerStatuses, pod.Status.InitContainerStatuses, pod.Spec.InitContainers, path.Child("initContainerStatuses"))...)
	errs = append(errs, validatePodIPs(pod.Status.PodIPs, path.Child("podIPs"))...)
	return errs
}

// validateTransitions refuses that a container which has ended for good runs
// again, which only a stale report can say.
func validateTransitions(pod *corev1.Pod, old, now []corev1.ContainerStatus, containers []corev1.Container, path *field.Path) field.ErrorList {
	if pod.Spec.RestartPolicy == corev1.RestartPolicyAlways {
		return nil
	}
	own := map[string]bool{}
	for i := range containers {
		own[containers[i].Name] = containers[i].RestartPolicy != nil
	}
	ended := sets.New[string]()
	for _, s := range old {
		t := s.State.Terminated
		if t == nil || own[s.Name] || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && t.ExitCode != 0 {
			continue
		}
		ended.Insert(s.Name)
	}
	var errs field.ErrorList
	for i, s := range now {
		if s.State.Terminated == nil && ended.Has(s.Name) {
			errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
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
