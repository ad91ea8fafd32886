package podspec

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"
)

// PrepareResize makes pod, as a client sent it to pods/resize, the old pod with the
// resources and resize policies of pod and nothing else of it. Where the containers
// are others, pod stays as it was sent, for [ValidateResize] to say so.
func PrepareResize(pod, old *corev1.Pod) {
	if len(pod.Spec.Containers) != len(old.Spec.Containers) || len(pod.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return
	}
	containers, initContainers := resized(pod.Spec.Containers, old.Spec.Containers), resized(pod.Spec.InitContainers, old.Spec.InitContainers)
	resources := pod.Spec.Resources
	pod.Spec = *old.Spec.DeepCopy()
	pod.Status = *old.Status.DeepCopy()
	metav1.ResetObjectMetaForStatus(&pod.ObjectMeta, &old.ObjectMeta)
	pod.Spec.Containers, pod.Spec.InitContainers, pod.Spec.Resources = containers, initContainers, resources
	KeepPodResources(pod, old)
	DefaultPodResources(pod)
}

// KeepPodResources puts back the resources of the pod as a whole, for clients that do not
// know of them and leave them out.
func KeepPodResources(pod, old *corev1.Pod) {
	if pod.Spec.Resources == nil {
		pod.Spec.Resources = old.Spec.Resources.DeepCopy()
	}
}

// resized are the old containers with the resources of the new ones; the new ones
// themselves where they go by other names.
func resized(now, old []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(old))
	for i := range old {
		if now[i].Name != old[i].Name {
			return now
		}
		out[i] = *old[i].DeepCopy()
		out[i].Resources, out[i].ResizePolicy = now[i].Resources, now[i].ResizePolicy
	}
	if len(out) == 0 {
		return now
	}
	return out
}

// ValidateResize checks a change of the resources of a pod that lives: cpu and memory
// may become more or less, but not come or go, and not change the pod's class.
func ValidateResize(pod, old *corev1.Pod) field.ErrorList {
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "windows pods cannot be resized")}
	}
	path := field.NewPath("spec")
	errs := validatePod(pod, old)
	class := old.Status.QOSClass
	if class == "" {
		class = QOSClass(old)
	}
	if class != QOSClass(pod) {
		errs = append(errs, field.Invalid(path, pod.Status.QOSClass, "Pod QOS Class may not change as a result of resizing"))
	}
	if !nodeResizes(old) {
		errs = append(errs, field.Forbidden(path, "Pod running on node without support for resize"))
	}
	munged := pod.Spec.DeepCopy()
	errs = append(errs, validatePodLevelResize(munged, pod, old, path)...)
	if bad := sameContainers(pod, old, path); len(bad) > 0 {
		return append(errs, bad...)
	}
	errs = append(errs, keepsResources(pod.Spec.InitContainers, old.Spec.InitContainers, path.Child("initContainers"))...)
	errs = append(errs, keepsResources(pod.Spec.Containers, old.Spec.Containers, path.Child("containers"))...)
	for i := range munged.Containers {
		c, was := &munged.Containers[i], &old.Spec.Containers[i]
		restoreComputing(&c.Resources, &was.Resources)
		if !apiequality.Semantic.DeepEqual(*c, *was) {
			errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable"))
		}
	}
	for i := range munged.InitContainers {
		errs = append(errs, validateInitResize(&munged.InitContainers[i], &old.Spec.InitContainers[i], path.Child("initContainers").Index(i))...)
	}
	if len(errs) > 0 {
		return errs
	}
	if !apiequality.Semantic.DeepEqual(*munged, old.Spec) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable"))
	}
	return errs
}

// validateInitResize compares one init container with its old self, and gives it
// back the old cpu and memory.
func validateInitResize(c, was *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	modified := !apiequality.Semantic.DeepEqual(*c, *was)
	restoreComputing(&c.Resources, &was.Resources)
	if !apiequality.Semantic.DeepEqual(*c, *was) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable"))
	}
	if !modified || sidecar {
		return errs
	}
	for _, p := range c.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer {
			errs = append(errs, field.Forbidden(path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"))
		}
	}
	return errs
}

// validatePodLevelResize checks the resources of the pod as a whole, and gives them
// back the old cpu and memory in munged.
func validatePodLevelResize(munged *corev1.PodSpec, pod, old *corev1.Pod, path *field.Path) field.ErrorList {
	if !resourcehelper.IsPodLevelResourcesSet(old) && !resourcehelper.IsPodLevelResourcesSet(pod) {
		return nil
	}
	at := path.Child("resources")
	now, was := pod.Spec.Resources, old.Spec.Resources
	switch {
	case now == nil && was != nil:
		return field.ErrorList{field.Forbidden(at, "pod-level resources cannot be removed")}
	case now == nil:
		return nil
	}
	var errs field.ErrorList
	if was == nil {
		was = &corev1.ResourceRequirements{}
	}
	if lost(now.Requests, was.Requests) {
		errs = append(errs, field.Forbidden(at.Child("requests"), "pod-level resource requests cannot be removed"))
	}
	if lost(now.Limits, was.Limits) {
		errs = append(errs, field.Forbidden(at.Child("limits"), "pod-level resource limits cannot be removed"))
	}
	restoreComputing(munged.Resources, was)
	if !apiequality.Semantic.DeepEqual(munged.Resources, was) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable at pod-level"))
	}
	munged.Resources = old.Spec.Resources
	return errs
}

// nodeResizes says that the node which runs the pod reports resources, as those do
// that can change them.
func nodeResizes(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true
}

func sameContainers(pod, old *corev1.Pod, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name     string
		now, was []corev1.Container
	}{{"containers", pod.Spec.Containers, old.Spec.Containers}, {"initContainers", pod.Spec.InitContainers, old.Spec.InitContainers}} {
		at := path.Child(list.name)
		if len(list.now) != len(list.was) {
			errs = append(errs, field.Forbidden(at, list.name+" may not be added or removed on resize"))
			continue
		}
		for i := range list.was {
			if list.now[i].Name != list.was[i].Name {
				errs = append(errs, field.Forbidden(at.Index(i).Child("name"), list.name+" may not be renamed or reordered on resize"))
			}
		}
	}
	return errs
}

func keepsResources(now, old []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range old {
		at := path.Index(i).Child("resources")
		if lost(now[i].Resources.Requests, old[i].Resources.Requests) {
			errs = append(errs, field.Forbidden(at.Child("requests"), "resource requests cannot be removed"))
		}
		if lost(now[i].Resources.Limits, old[i].Resources.Limits) {
			errs = append(errs, field.Forbidden(at.Child("limits"), "resource limits cannot be removed"))
		}
	}
	return errs
}

// lost says that a resource of old is in now no more.
func lost(now, old corev1.ResourceList) bool {
	for name := range old {
		if _, kept := now[name]; !kept {
			return true
		}
	}
	return false
}

// restoreComputing gives r the cpu and memory of old, and so leaves what else differs.
func restoreComputing(r, old *corev1.ResourceRequirements) {
	r.Limits = computingOf(r.Limits, old.Limits)
	r.Requests = computingOf(r.Requests, old.Requests)
}

func computingOf(list, old corev1.ResourceList) corev1.ResourceList {
	if list == nil && old == nil {
		return nil
	}
	out := list.DeepCopy()
	if out == nil {
		out = corev1.ResourceList{}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		delete(out, name)
		if q, had := old[name]; had {
			out[name] = q
		}
	}
	return out
}
