package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
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
	errs := append(validatePod(pod, old), ValidateAnnotationUpdate(pod, old)...)
	if len(pod.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(path.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(pod.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(path.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	if bad, final := validateDeadlineUpdate(pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds")); len(bad) > 0 {
		if errs = append(errs, bad...); final {
			return errs
		}
	}
	errs = append(errs, onlyMoreTolerations(pod.Spec.Tolerations, old.Spec.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, onlyFewerGates(pod.Spec.SchedulingGates, old.Spec.SchedulingGates, path.Child("schedulingGates"))...)
	if apiequality.Semantic.DeepEqual(pod.Spec, old.Spec) {
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
		errs = append(errs, onlyNarrows(munged, &old.Spec, path)...)
	}
	if !apiequality.Semantic.DeepEqual(*munged, old.Spec) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("pod updates may not change fields other than %s\n%v",
			strings.Join(updatable, ","), diff.Diff(rules.Internal(old.Spec), rules.Internal(*munged)))))
	}
	return errs
}

// onlyNarrows checks that a gated pod comes to fit on fewer nodes, not on others, and
// gives munged the old node selector and node affinity.
func onlyNarrows(munged, old *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !apiequality.Semantic.DeepEqual(munged.NodeSelector, old.NodeSelector) {
		if !addsOnly(munged.NodeSelector, old.NodeSelector) {
			errs = append(errs, field.Invalid(path.Child("nodeSelector"), munged.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
		}
		munged.NodeSelector = old.NodeSelector
	}
	now, was := nodeAffinity(munged), nodeAffinity(old)
	if apiequality.Semantic.DeepEqual(now, was) {
		return errs
	}
	errs = append(errs, onlyNarrowsAffinity(now, was, path.Child("affinity", "nodeAffinity"))...)
	switch a := munged.Affinity; {
	case a == nil && was == nil:
	case a == nil:
		munged.Affinity = &corev1.Affinity{NodeAffinity: was}
	case old.Affinity == nil && a.PodAffinity == nil && a.PodAntiAffinity == nil:
		munged.Affinity = nil
	default:
		a.NodeAffinity = was
	}
	return errs
}

func nodeAffinity(spec *corev1.PodSpec) *corev1.NodeAffinity {
	if spec.Affinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity
}

// onlyNarrowsAffinity: the terms are alternatives, so none may be added, and each may
// demand more, but not less.
func onlyNarrowsAffinity(now, old *corev1.NodeAffinity, path *field.Path) field.ErrorList {
	if old == nil || old.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	before := old.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var after []corev1.NodeSelectorTerm
	if now != nil && now.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		after = now.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	at := path.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
	if len(before) > 0 && len(before) != len(after) {
		return field.ErrorList{field.Invalid(at, rules.Internal(after), "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range before {
		if !extendsTerm(&after[i], &before[i]) {
			errs = append(errs, field.Invalid(at.Index(i), rules.Internal(after[i]), "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func extendsTerm(now, before *corev1.NodeSelectorTerm) bool {
	if len(before.MatchExpressions) == 0 && len(before.MatchFields) == 0 {
		// An empty term matches nothing; it may not come to match something.
		return len(now.MatchExpressions) == 0 && len(now.MatchFields) == 0
	}
	return extends(now.MatchExpressions, before.MatchExpressions) && extends(now.MatchFields, before.MatchFields)
}

func extends(now, before []corev1.NodeSelectorRequirement) bool {
	return len(before) == 0 || len(now) >= len(before) && apiequality.Semantic.DeepEqual(now[:len(before):len(before)], before)
}

func addsOnly(now, before map[string]string) bool {
	for k, v := range before {
		if n, ok := now[k]; !ok || n != v {
			return false
		}
	}
	return true
}

// validateDeadlineUpdate: final says that nothing else is worth checking.
func validateDeadlineUpdate(now, old *int64, path *field.Path) (errs field.ErrorList, final bool) {
	if now != nil {
		if *now < 0 || *now > 1<<31-1 {
			return field.ErrorList{field.Invalid(path, *now, "must be between 0 and 2147483647, inclusive")}, true
		}
		if old != nil && *old < *now {
			return field.ErrorList{field.Invalid(path, *now, "must be less than or equal to previous value")}, true
		}
		return nil, false
	}
	if old != nil {
		return field.ErrorList{field.Invalid(path, now, "must not update from a positive integer to nil value")}, false
	}
	return nil, false
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
			errs = append(errs, field.Forbidden(path.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// ValidateEphemeralUpdate checks a change of the ephemeral containers: more may
// come, none may go or change.
func ValidateEphemeralUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec", "ephemeralContainers")
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	errs := append(validatePod(pod, old), ValidateAnnotationUpdate(pod, old)...)
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
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", o.Name, diff.Diff(rules.Internal(o), rules.Internal(n)))))
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
