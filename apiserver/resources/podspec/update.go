package podspec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// updatable are the fields of a pod that live on may change, as the message
// names them.
var updatable = []string{
	"`spec.containers[*].image`",
	"`spec.initContainers[*].image`",
	"`spec.activeDeadlineSeconds`",
	"`spec.tolerations` (only additions to existing tolerations)",
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
}

// ValidatePodUpdate checks that a change of a pod touches only what may change
// once it exists: images, the deadline (downwards), tolerations (more of them),
// and, before it is scheduled, its gates and where it may go.
func ValidatePodUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if len(pod.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(path.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(pod.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(path.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	errs = append(errs, validateDeadlineUpdate(pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds"))...)
	errs = append(errs, onlyMoreTolerations(pod.Spec.Tolerations, old.Spec.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, onlyFewerGates(pod.Spec.SchedulingGates, old.Spec.SchedulingGates, path.Child("schedulingGates"))...)
	if len(errs) > 0 {
		return errs
	}
	// What may change is made equal; whatever differs then may not.
	munged := pod.Spec.DeepCopy()
	for i := range munged.Containers {
		munged.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range munged.InitContainers {
		munged.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	munged.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	munged.Tolerations = old.Spec.Tolerations
	munged.SchedulingGates = old.Spec.SchedulingGates
	if o, n := old.Spec.TerminationGracePeriodSeconds, munged.TerminationGracePeriodSeconds; o != nil && *o < 0 && n != nil && *n == 1 {
		munged.TerminationGracePeriodSeconds = o
	}
	if len(old.Spec.SchedulingGates) > 0 {
		if !addsOnly(munged.NodeSelector, old.Spec.NodeSelector) {
			return field.ErrorList{field.Invalid(path.Child("nodeSelector"), munged.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")}
		}
		munged.NodeSelector = old.Spec.NodeSelector
		if narrows(munged.Affinity, old.Spec.Affinity) {
			munged.Affinity = old.Spec.Affinity
		}
	}
	if !apiequality.Semantic.DeepEqual(*munged, old.Spec) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("pod updates may not change fields other than %s\n%v",
			strings.Join(updatable, ","), cmp.Diff(old.Spec, *munged))))
	}
	return errs
}

// narrows says that a gated pod's affinity changed only in its node affinity,
// where there was none that it must keep.
func narrows(a, old *corev1.Affinity) bool {
	if a == nil || a.NodeAffinity == nil {
		return apiequality.Semantic.DeepEqual(a, old)
	}
	var was corev1.Affinity
	if old != nil {
		was = *old
	}
	if !apiequality.Semantic.DeepEqual(a.PodAffinity, was.PodAffinity) || !apiequality.Semantic.DeepEqual(a.PodAntiAffinity, was.PodAntiAffinity) {
		return false
	}
	if was.NodeAffinity == nil || was.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	before, now := was.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if now == nil || len(now.NodeSelectorTerms) != len(before.NodeSelectorTerms) {
		return false
	}
	// The terms are alternatives: each may demand more, none may demand less.
	for i := range before.NodeSelectorTerms {
		b, n := before.NodeSelectorTerms[i], now.NodeSelectorTerms[i]
		if len(b.MatchExpressions) == 0 && len(b.MatchFields) == 0 {
			// An empty term matches nothing; it may not come to match something.
			if len(n.MatchExpressions) > 0 || len(n.MatchFields) > 0 {
				return false
			}
			continue
		}
		if !extends(n.MatchExpressions, b.MatchExpressions) || !extends(n.MatchFields, b.MatchFields) {
			return false
		}
	}
	return true
}

func extends(now, before []corev1.NodeSelectorRequirement) bool {
	return len(now) >= len(before) && apiequality.Semantic.DeepEqual(now[:len(before):len(before)], before) || len(before) == 0
}

func addsOnly(now, before map[string]string) bool {
	for k, v := range before {
		if n, ok := now[k]; !ok || n != v {
			return false
		}
	}
	return true
}

func validateDeadlineUpdate(now, old *int64, path *field.Path) field.ErrorList {
	if now != nil {
		if *now < 0 || *now > 1<<31-1 {
			return field.ErrorList{field.Invalid(path, *now, "must be between 0 and 2147483647, inclusive")}
		}
		if old != nil && *old < *now {
			return field.ErrorList{field.Invalid(path, *now, "must be less than or equal to previous value")}
		}
		return nil
	}
	if old != nil {
		return field.ErrorList{field.Invalid(path, now, "must not update from a positive integer to nil value")}
	}
	return nil
}

// onlyMoreTolerations: each old one is still there, at most with other seconds.
func onlyMoreTolerations(now, old []corev1.Toleration, path *field.Path) field.ErrorList {
	for _, o := range old {
		o.TolerationSeconds = nil
		kept := slices.ContainsFunc(now, func(n corev1.Toleration) bool {
			n.TolerationSeconds = nil
			return n == o
		})
		if !kept {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func onlyFewerGates(now, old []corev1.PodSchedulingGate, path *field.Path) field.ErrorList {
	had := map[string]bool{}
	for _, g := range old {
		had[g.Name] = true
	}
	var errs field.ErrorList
	for i, g := range now {
		if !had[g.Name] {
			errs = append(errs, field.Forbidden(path.Index(i), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// ValidateEphemeralUpdate checks a change of the ephemeral containers: more may
// come, none may go or change.
func ValidateEphemeralUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec", "ephemeralContainers")
	errs := ValidateSpec(&pod.Spec, true, field.NewPath("spec"))
	now := map[string]*corev1.EphemeralContainer{}
	for i := range pod.Spec.EphemeralContainers {
		now[pod.Spec.EphemeralContainers[i].Name] = &pod.Spec.EphemeralContainers[i]
	}
	for i := range old.Spec.EphemeralContainers {
		o := &old.Spec.EphemeralContainers[i]
		n, ok := now[o.Name]
		switch {
		case !ok:
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", o.Name)))
		case !apiequality.Semantic.DeepEqual(n, o):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", o.Name, cmp.Diff(o, n))))
		}
	}
	return errs
}

// KeepServerChoices copies into an update what the server chose when the pod was
// made and a client that sends the manifest it began with leaves out.
func KeepServerChoices(pod, old *corev1.Pod) {
	if pod.Spec.Priority == nil && pod.Spec.PriorityClassName == "" {
		pod.Spec.PriorityClassName = old.Spec.PriorityClassName
		if old.Spec.Priority != nil {
			pod.Spec.Priority = ptr.To(*old.Spec.Priority)
		}
	}
	if pod.Spec.PreemptionPolicy == nil && old.Spec.PreemptionPolicy != nil {
		pod.Spec.PreemptionPolicy = ptr.To(*old.Spec.PreemptionPolicy)
	}
}
