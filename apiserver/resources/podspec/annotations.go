package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// Before a pod had fields for them, annotations said under which AppArmor profile its
// containers run. They still work, and the fields follow them.

const (
	appArmorPrefix     = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	appArmorDeprecated = `deprecated since v1.30; use the "appArmorProfile" field instead`

	appArmorDefault    = "runtime/default"
	appArmorUnconfined = "unconfined"
	appArmorLocal      = "localhost/"
)

// FollowAppArmor sets the AppArmor fields of a new pod's containers as its
// annotations say.
func FollowAppArmor(pod *corev1.Pod) {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return
	}
	for _, c := range containersOf(&pod.Spec, field.NewPath("spec")) {
		annotation, has := pod.Annotations[appArmorPrefix+c.Name]
		if !has || c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			continue
		}
		profile := appArmorOf(annotation)
		if profile == nil || apiequality.Semantic.DeepEqual(profile, podAppArmor(pod)) {
			continue
		}
		if c.SecurityContext == nil {
			c.SecurityContext = &corev1.SecurityContext{}
		}
		c.SecurityContext.AppArmorProfile = profile
	}
}

func podAppArmor(pod *corev1.Pod) *corev1.AppArmorProfile {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.AppArmorProfile
}

// appArmorOf is the field that an annotation means; nil where it means none.
func appArmorOf(annotation string) *corev1.AppArmorProfile {
	switch name, local := strings.CutPrefix(annotation, appArmorLocal); {
	case annotation == appArmorUnconfined:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	case annotation == appArmorDefault:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	case local:
		p := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr.To(name)}
		if len(validateAppArmor(p, nil)) == 0 {
			return p
		}
	}
	return nil
}

// appArmorWarnings of a pod whose fields have followed.
func appArmorWarnings(pod *corev1.Pod) []string {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return nil
	}
	var out []string
	for _, c := range containersOf(&pod.Spec, field.NewPath("spec")) {
		key := appArmorPrefix + c.Name
		annotation, has := pod.Annotations[key]
		if !has {
			continue
		}
		profile := appArmorOf(annotation)
		if profile == nil || !apiequality.Semantic.DeepEqual(profile, podAppArmor(pod)) {
			out = append(out, fmt.Sprintf("%s: %s", field.NewPath("metadata", "annotations").Key(key), appArmorDeprecated))
		}
	}
	return out
}

// validateAnnotations checks the annotations that mean something to the server, of a
// pod or template.
func validateAnnotations(annotations map[string]string, spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if value, mirror := annotations[corev1.MirrorPodAnnotationKey]; mirror && spec.NodeName == "" {
		errs = append(errs, field.Invalid(path.Key(corev1.MirrorPodAnnotationKey), value, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if cost, has := annotations[corev1.PodDeletionCost]; has && !deletionCost(cost) {
		errs = append(errs, field.Invalid(path.Key(corev1.PodDeletionCost), cost, "must be a 32bit integer"))
	}
	names := map[string]bool{}
	for _, c := range containersOf(spec, nil) {
		names[c.Name] = true
	}
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		container, is := strings.CutPrefix(k, appArmorPrefix)
		if !is {
			continue
		}
		p := annotations[k]
		if !names[container] {
			errs = append(errs, field.Invalid(path.Key(k), container, "container not found"))
		}
		if p != "" && p != appArmorDefault && p != appArmorUnconfined && !strings.HasPrefix(p, appArmorLocal) {
			errs = append(errs, field.Invalid(path.Key(k), p, fmt.Sprintf("invalid AppArmor profile name: %q", p)))
		}
	}
	return errs
}

// deletionCost says that text is a number as it is written: no plus, no leading zero.
func deletionCost(text string) bool {
	if text != "0" && (text == "" || text[0] == '+' || text[0] == '0') {
		return false
	}
	_, err := strconv.ParseInt(text, 10, 32)
	return err == nil
}

// validateAppArmorMatch checks that a new pod's annotations and fields say the same.
func validateAppArmorMatch(pod *corev1.Pod, path *field.Path) field.ErrorList {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return nil
	}
	var errs field.ErrorList
	for _, c := range containersOf(&pod.Spec, path) {
		annotation, has := pod.Annotations[appArmorPrefix+c.Name]
		if !has {
			continue
		}
		profile, at := podAppArmor(pod), path.Child("securityContext", "appArmorProfile")
		if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			profile, at = c.SecurityContext.AppArmorProfile, c.at.Child("securityContext", "appArmorProfile")
		}
		if profile == nil {
			continue
		}
		same := true
		switch profile.Type {
		case corev1.AppArmorProfileTypeUnconfined:
			same = annotation == appArmorUnconfined
		case corev1.AppArmorProfileTypeRuntimeDefault:
			same = annotation == appArmorDefault
		case corev1.AppArmorProfileTypeLocalhost:
			if same = strings.HasPrefix(annotation, appArmorLocal); same && appArmorLocal+ptr.Deref(profile.LocalhostProfile, "") != annotation {
				errs = append(errs, field.Forbidden(at.Child("localhostProfile"), "apparmor profile in annotation and field must match"))
			}
		}
		if !same {
			errs = append(errs, field.Forbidden(at.Child("type"), "apparmor type in annotation and field must match"))
		}
	}
	return errs
}

// ValidateAnnotationUpdate checks the annotations of a pod that exists, as an update
// of any of its endpoints leaves them.
func ValidateAnnotationUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("metadata", "annotations")
	return append(validateAnnotationChange(pod.Annotations, old.Annotations, path), validateAnnotations(pod.Annotations, &pod.Spec, path)...)
}

// validateAnnotationChange checks that those annotations stay which say how a pod was
// made.
func validateAnnotationChange(now, old map[string]string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, k := range slices.Sorted(maps.Keys(old)) {
		if value, kept := now[k]; kept && value == old[k] {
			continue
		}
		if strings.HasPrefix(k, appArmorPrefix) {
			errs = append(errs, field.Forbidden(path.Key(k), "may not remove or update AppArmor annotations"))
		}
		if k == corev1.MirrorPodAnnotationKey {
			errs = append(errs, field.Forbidden(path.Key(k), "may not remove or update mirror pod annotation"))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if _, had := old[k]; had {
			continue
		}
		if strings.HasPrefix(k, appArmorPrefix) {
			errs = append(errs, field.Forbidden(path.Key(k), "may not add AppArmor annotations"))
		}
		if k == corev1.MirrorPodAnnotationKey {
			errs = append(errs, field.Forbidden(path.Key(k), "may not add mirror pod annotation"))
		}
	}
	return errs
}

// validateSeccompMatch checks that the annotations of before there were seccomp fields,
// which mean nothing any more, do not say otherwise than the fields of a new pod.
func validateSeccompMatch(pod *corev1.Pod, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	match := func(key string, p *corev1.SeccompProfile, at *field.Path) {
		said, has := pod.Annotations[key]
		if !has || p == nil {
			return
		}
		same := true
		switch p.Type {
		case corev1.SeccompProfileTypeUnconfined:
			same = said == corev1.SeccompProfileNameUnconfined
		case corev1.SeccompProfileTypeRuntimeDefault:
			same = said == corev1.SeccompProfileRuntimeDefault || said == corev1.DeprecatedSeccompProfileDockerDefault
		case corev1.SeccompProfileTypeLocalhost:
			if same = strings.HasPrefix(said, corev1.SeccompLocalhostProfileNamePrefix); same &&
				(p.LocalhostProfile == nil || corev1.SeccompLocalhostProfileNamePrefix+*p.LocalhostProfile != said) {
				errs = append(errs, field.Forbidden(at.Child("localhostProfile"), "seccomp profile in annotation and field must match"))
			}
		}
		if !same {
			errs = append(errs, field.Forbidden(at.Child("type"), "seccomp type in annotation and field must match"))
		}
	}
	if s := pod.Spec.SecurityContext; s != nil {
		match(corev1.SeccompPodAnnotationKey, s.SeccompProfile, path.Child("securityContext", "seccompProfile"))
	}
	for _, c := range containersOf(&pod.Spec, path) {
		if c.SecurityContext != nil {
			match(corev1.SeccompContainerAnnotationKeyPrefix+c.Name, c.SecurityContext.SeccompProfile, c.at.Child("securityContext", "seccompProfile"))
		}
	}
	return errs
}
