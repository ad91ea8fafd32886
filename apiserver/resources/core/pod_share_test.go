package core

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

// replica is the i-th pod of a template, defaulted.
func replica(i int, image string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i), Namespace: "default", Labels: map[string]string{"app": "web"}}}
	pod.Spec.NodeName = fmt.Sprintf("node-%d", i)
	container := corev1.Container{
		Name: "main", Image: image,
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}},
		VolumeMounts:   []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
	}
	for n := range 10 {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", n), Value: fmt.Sprintf("the value %d of %s", n, image)})
	}
	pod.Spec.Containers = []corev1.Container{container}
	token := corev1.ServiceAccountTokenProjection{ExpirationSeconds: ptr.To(int64(3607)), Path: "token"}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: fmt.Sprintf("kube-api-access-%d", i), VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &token}},
		}}},
	}
	pods(nil).Default(pod)
	return pod
}

func TestReplicasShareTheirTemplate(t *testing.T) {
	var seen resource.Shared
	one, two, other := replica(1, "web:v1"), replica(2, "web:v1"), replica(3, "web:v2")
	for _, pod := range []*corev1.Pod{one, two, other} {
		want := pod.DeepCopy()
		sharePod(pod, &seen)
		if diff := cmp.Diff(want, pod); diff != "" {
			t.Errorf("%s became another:\n%s", pod.Name, diff)
		}
	}
	a, b, c := &one.Spec.Containers[0], &two.Spec.Containers[0], &other.Spec.Containers[0]
	if &a.Env[0] != &b.Env[0] || a.ReadinessProbe != b.ReadinessProbe || one.Spec.Volumes[1].Projected != two.Spec.Volumes[1].Projected {
		t.Error("equal parts are not one")
	}
	if &a.Env[0] == &c.Env[0] || a.ReadinessProbe != c.ReadinessProbe {
		t.Error("different parts are one, or equal ones are not")
	}
	// Whoever adds to a list has one of its own.
	if longer := append(b.Env, corev1.EnvVar{Name: "MORE"}); &longer[0] == &a.Env[0] {
		t.Error("adding to a list reaches those that share it")
	}
	// An empty list of one kind and no list are not mixed up with others.
	bare := &corev1.Pod{}
	sharePod(bare, &seen)
	if bare.Spec.Containers != nil || bare.Spec.Volumes != nil {
		t.Errorf("%+v", bare.Spec)
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 200 {
				image := fmt.Sprintf("web:%d", (i+worker)%7)
				pod := replica(i, image)
				want := pod.Spec.Containers[0].Env[0].Value
				if sharePod(pod, &seen); pod.Spec.Containers[0].Env[0].Value != want {
					t.Errorf("%s, want %s", pod.Spec.Containers[0].Env[0].Value, want)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkSharePod says what sharing costs, and what a replica takes in memory with it,
// and without (x-apart is the ratio).
func BenchmarkSharePod(b *testing.B) {
	const n = 2000
	each := func(seen *resource.Shared) float64 {
		var before, after runtime.MemStats
		all := make([]*corev1.Pod, n)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range all {
			all[i] = replica(i, "web:v1").DeepCopy()
			if seen != nil {
				sharePod(all[i], seen)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(all)
		return float64(after.HeapAlloc-before.HeapAlloc) / n
	}
	apart, shared := each(nil), each(&resource.Shared{})
	var seen resource.Shared
	pod := replica(0, "web:v1")
	b.ReportAllocs()
	for b.Loop() {
		sharePod(pod, &seen)
	}
	b.ReportMetric(shared, "B/pod")
	b.ReportMetric(shared/apart, "x-apart")
}
