package podspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// resizable is a burstable pod with an init container, a sidecar and a container.
func resizable() *corev1.Pod {
	pod := good()
	needs := corev1.ResourceRequirements{Requests: quantities("cpu", "100m", "memory", "64Mi"), Limits: quantities("cpu", "200m", "memory", "64Mi")}
	pod.Spec.Containers[0].Resources = *needs.DeepCopy()
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "init", Image: "i", Resources: *needs.DeepCopy()},
		{Name: "side", Image: "i", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Resources: *needs.DeepCopy()},
	}
	DefaultPod(pod)
	pod.Status.QOSClass = QOSClass(pod)
	return pod
}

func TestResize(t *testing.T) {
	type change = func(p *corev1.Pod)
	cpu := func(r *corev1.ResourceRequirements, request, limit string) {
		for name, q := range quantities("cpu", request) {
			r.Requests[name] = q
		}
		for name, q := range quantities("cpu", limit) {
			r.Limits[name] = q
		}
	}
	podLevel := func(p *corev1.Pod) {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: quantities("cpu", "1"), Limits: quantities("cpu", "2")}
		p.Status.QOSClass = QOSClass(p)
	}
	for name, test := range map[string]struct {
		old, change change
		want        []string
	}{
		"nothing":     {change: func(*corev1.Pod) {}},
		"more cpu":    {change: func(p *corev1.Pod) { cpu(&p.Spec.Containers[0].Resources, "200m", "1") }},
		"a sidecar":   {change: func(p *corev1.Pod) { cpu(&p.Spec.InitContainers[1].Resources, "200m", "1") }},
		"initial one": {change: func(p *corev1.Pod) { cpu(&p.Spec.InitContainers[0].Resources, "200m", "1") }},
		"what it may not is not taken": {change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Image, p.Labels, p.Spec.NodeName = "other", map[string]string{"a": "b"}, "n"
		}},
		"initial one that restarts": {
			old: func(p *corev1.Pod) {
				p.Spec.InitContainers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: "cpu", RestartPolicy: corev1.RestartContainer}}
			},
			change: func(p *corev1.Pod) { cpu(&p.Spec.InitContainers[0].Resources, "200m", "1") },
			want:   []string{`spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized`},
		},
		"static": {
			old:    func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} },
			change: func(*corev1.Pod) {}, want: []string{`[]: Forbidden: static pods cannot be resized`},
		},
		"windows": {
			old:    func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} },
			change: func(*corev1.Pod) {}, want: []string{`[]: Forbidden: windows pods cannot be resized`},
		},
		"another class": {
			old: func(p *corev1.Pod) { p.Spec.InitContainers = nil },
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers = nil
				cpu(&p.Spec.Containers[0].Resources, "200m", "200m")
			},
			want: []string{`spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing`},
		},
		"old node": {
			old: func(p *corev1.Pod) {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			},
			change: func(*corev1.Pod) {}, want: []string{`spec: Forbidden: Pod running on node without support for resize`},
		},
		"renamed": {
			change: func(p *corev1.Pod) { p.Spec.Containers[0].Name = "d" },
			want:   []string{`spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize`},
		},
		"added": {
			change: func(p *corev1.Pod) {
				c := *p.Spec.Containers[0].DeepCopy()
				c.Name = "d"
				p.Spec.Containers = append(p.Spec.Containers, c)
			},
			want: []string{`spec.containers: Forbidden: containers may not be added or removed on resize`},
		},
		"removed request": {
			change: func(p *corev1.Pod) {
				delete(p.Spec.Containers[0].Resources.Requests, "memory")
				delete(p.Spec.InitContainers[1].Resources.Limits, "cpu")
			},
			want: []string{
				`spec.initContainers[1].resources.limits: Forbidden: resource limits cannot be removed`,
				`spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed`,
			},
		},
		"another resource": {
			change: func(p *corev1.Pod) {
				for name, q := range quantities("ephemeral-storage", "1Gi") {
					p.Spec.Containers[0].Resources.Limits[name] = q
					p.Spec.InitContainers[1].Resources.Limits[name] = q
				}
			},
			want: []string{
				`spec: Forbidden: only cpu and memory resources are mutable`,
				`spec.initContainers[1]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable`,
			},
		},
		"pod level":          {old: podLevel, change: func(p *corev1.Pod) { podLevel(p); cpu(p.Spec.Resources, "2", "3") }},
		"pod level left out": {old: podLevel, change: func(*corev1.Pod) {}},
		"pod level lost": {
			old:    podLevel,
			change: func(p *corev1.Pod) { p.Spec.Resources = &corev1.ResourceRequirements{} },
			want: []string{
				`spec.resources.requests: Forbidden: pod-level resource requests cannot be removed`,
				`spec.resources.limits: Forbidden: pod-level resource limits cannot be removed`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := resizable()
			if test.old != nil {
				test.old(old)
			}
			pod := old.DeepCopy()
			pod.Spec.Resources = nil
			test.change(pod)
			PrepareResize(pod, old)
			var got []string
			for _, e := range ValidateResize(pod, old) {
				first, _, _ := strings.Cut(e.Error(), "\n")
				got = append(got, first)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if len(pod.Labels) > 0 || pod.Spec.Containers[0].Image != old.Spec.Containers[0].Image {
				t.Errorf("a resize changed more than resources: %+v", pod)
			}
		})
	}
}
