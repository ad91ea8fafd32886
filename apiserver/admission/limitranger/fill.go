package limitranger

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// annotation tells which resources a pod has from a LimitRange.
const annotation = "kubernetes.io/limit-ranger"

// fill gives the containers of a pod the default resources of a LimitRange.
func fill(pod *corev1.Pod, r *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, limit := range r.Spec.Limits {
		if limit.Type == corev1.LimitTypeContainer {
			add(requests, limit.DefaultRequest)
			add(limits, limit.Default)
		}
	}
	var notes []string
	each := func(kind string, containers []corev1.Container) {
		for i := range containers {
			c := &containers[i]
			notes = note(notes, fillIn(&c.Resources.Requests, requests), "request for "+kind+" "+c.Name)
			notes = note(notes, fillIn(&c.Resources.Limits, limits), "limit for "+kind+" "+c.Name)
		}
	}
	each("container", pod.Spec.Containers)
	each("init container", pod.Spec.InitContainers)
	if len(notes) == 0 {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
}

// add puts copies of what from has into list; of two limits of one type the last
// counts.
func add(list, from corev1.ResourceList) {
	for name, quantity := range from {
		list[name] = quantity.DeepCopy()
	}
}

// fillIn adds to list what it lacks of the defaults, and returns the names of that.
func fillIn(list *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var added []string
	for name, quantity := range defaults {
		if _, has := (*list)[name]; has {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = quantity.DeepCopy()
		added = append(added, string(name))
	}
	slices.Sort(added)
	return added
}

func note(notes, added []string, what string) []string {
	if len(added) == 0 {
		return notes
	}
	return append(notes, strings.Join(added, ", ")+" "+what)
}
