package qos_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/strake-io/strake/kubelet/qos"
)

func list(cpu, memory string) corev1.ResourceList {
	out := corev1.ResourceList{}
	if cpu != "" {
		out[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		out[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return out
}

func TestClassAndScore(t *testing.T) {
	const machine = 8 << 30
	for _, tt := range []struct {
		name             string
		requests, limits corev1.ResourceList
		class            corev1.PodQOSClass
		score            int64
	}{
		{"nothing asked for", nil, nil, corev1.PodQOSBestEffort, 1000},
		{"all limited", list("1", "1Gi"), list("1", "1Gi"), corev1.PodQOSGuaranteed, -997},
		{"limits above requests", list("1", "1Gi"), list("2", "2Gi"), corev1.PodQOSBurstable, 875},
		{"only CPU", list("1", ""), list("1", ""), corev1.PodQOSBurstable, 999},
		{"a little memory", nil, list("", "1Mi"), corev1.PodQOSBurstable, 999},
		{"all the memory", list("", "8Gi"), nil, corev1.PodQOSBurstable, 3},
	} {
		pod := &corev1.Pod{}
		pod.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: tt.requests, Limits: tt.limits}}}
		if got := qos.Class(pod); got != tt.class {
			t.Errorf("%s: class %s, want %s", tt.name, got, tt.class)
		}
		if got := qos.OOMScoreAdj(pod, &pod.Spec.Containers[0], machine); got != tt.score {
			t.Errorf("%s: score %d, want %d", tt.name, got, tt.score)
		}
	}
}

func TestSharesAndQuota(t *testing.T) {
	if qos.Shares(0) != 2 || qos.Shares(250) != 256 || qos.Shares(1<<40) != 262144 {
		t.Errorf("shares %d %d %d", qos.Shares(0), qos.Shares(250), qos.Shares(1<<40))
	}
	if qos.Quota(0) != 0 || qos.Quota(1) != 1000 || qos.Quota(1500) != 150000 {
		t.Errorf("quota %d %d %d", qos.Quota(0), qos.Quota(1), qos.Quota(1500))
	}
}
