package kubelet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/fake"
)

func TestLivenessRestartsAndReadinessShows(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("probed", func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 3, TimeoutSeconds: 1,
				ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"false"}}}}
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, InitialDelaySeconds: 5, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 1,
				ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
		}))
		n.wait(2 * time.Second)
		if n.pod("probed").Status.ContainerStatuses[0].Ready {
			t.Errorf("ready before its readiness was probed")
		}
		n.wait(6 * time.Second)
		if c := n.pod("probed"); !c.Status.ContainerStatuses[0].Ready || condition(c, corev1.PodReady).Status != corev1.ConditionTrue {
			t.Errorf("not ready: %+v", c.Status)
		}
		n.wait(20 * time.Second)
		if s := n.pod("probed").Status.ContainerStatuses[0]; s.RestartCount != 1 || s.State.Running == nil {
			t.Errorf("after three failures: %+v", s)
		}
		if got := n.reasons("probed"); got["Killing"] != 1 || got["Unhealthy"] < 3 {
			t.Errorf("events %v", got)
		}
	})
}

func TestGraceIsShortenedByASecondDeletion(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("slow", func(p *corev1.Pod) { p.Annotations = map[string]string{fake.AnnotationIgnoreTerm: "true"} }))
		n.wait(time.Second)
		remove := func(grace int64) {
			if err := n.client.CoreV1().Pods("default").Delete(n.t.Context(), "slow", metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
				t.Fatal(err)
			}
		}
		remove(600)
		n.wait(60 * time.Second)
		if n.pod("slow") == nil {
			t.Fatal("gone before its grace was over")
		}
		remove(5)
		n.wait(7 * time.Second)
		if pod := n.pod("slow"); pod != nil {
			t.Errorf("still there after the shorter grace: %+v", pod.Status)
		}
	})
}

func TestForcedDeletionIsCleanedUp(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("forced", nil))
		n.wait(time.Second)
		zero := int64(0)
		if err := n.client.CoreV1().Pods("default").Delete(n.t.Context(), "forced", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		// A namesake comes at once; it is another pod.
		n.create(newPod("forced", func(p *corev1.Pod) { p.UID = "second" }))
		n.wait(10 * time.Second)
		boxes, _ := n.runtime.ListSandboxes(n.t.Context())
		if len(boxes) != 1 || boxes[0].Pod.UID != "second" {
			t.Errorf("sandboxes %+v", boxes)
		}
		if s := n.pod("forced").Status; s.Phase != corev1.PodRunning {
			t.Errorf("the namesake: %+v", s)
		}
	})
}

func TestLostSandboxIsMadeAnew(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("web", nil))
		n.wait(time.Second)
		boxes, _ := n.runtime.ListSandboxes(n.t.Context())
		if err := n.runtime.StopSandbox(n.t.Context(), boxes[0].ID); err != nil {
			t.Fatal(err)
		}
		n.wait(15 * time.Second)
		pod := n.pod("web")
		if s := pod.Status.ContainerStatuses[0]; pod.Status.Phase != corev1.PodRunning || s.RestartCount != 1 || !s.Ready || pod.Status.PodIP == "" {
			t.Errorf("status %+v", pod.Status)
		}
	})
}

func TestSidecarsSurroundThePod(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		always := corev1.ContainerRestartPolicyAlways
		n.create(newPod("job", func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.InitContainers = []corev1.Container{
				{Name: "proxy", Image: "p:1", RestartPolicy: &always}, {Name: "setup", Image: "p:1", Command: []string{"sleep", "2"}}}
			p.Spec.Containers[0].Command = []string{"sleep", "5"}
		}))
		n.wait(4 * time.Second)
		pod := n.pod("job")
		if s := pod.Status.InitContainerStatuses; s[0].State.Running == nil || !s[0].Ready || s[1].State.Terminated == nil || !s[1].Ready ||
			pod.Status.Phase != corev1.PodRunning {
			t.Errorf("while it runs: %+v", pod.Status)
		}
		n.wait(10 * time.Second)
		pod = n.pod("job")
		if pod.Status.Phase != corev1.PodSucceeded || pod.Status.InitContainerStatuses[0].State.Terminated == nil {
			t.Errorf("at the end: %+v", pod.Status)
		}
	})
}

func TestHooks(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("hooked", func(p *corev1.Pod) {
			p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 10}}}
		}))
		n.create(newPod("unstartable", func(p *corev1.Pod) {
			p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"false"}}}}
		}))
		n.wait(5 * time.Second)
		if got := n.reasons("unstartable"); got["FailedPostStartHook"] < 1 || got["Killing"] < 1 {
			t.Errorf("post-start: %v", got)
		}
		if err := n.client.CoreV1().Pods("default").Delete(n.t.Context(), "hooked", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		n.wait(9 * time.Second)
		if n.pod("hooked") == nil {
			t.Fatal("gone before its hook was done")
		}
		n.wait(3 * time.Second)
		if n.pod("hooked") != nil {
			t.Error("still there")
		}
	})
}

func TestMissingConfigMapHoldsThePodUp(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("web", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "conf", VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "conf", MountPath: "/etc/conf"}}
		}))
		n.wait(5 * time.Second)
		if s := n.pod("web").Status.ContainerStatuses[0].State.Waiting; s == nil || s.Reason != "ContainerCreating" || n.reasons("web")["FailedMount"] == 0 {
			t.Errorf("state %+v, events %v", s, n.reasons("web"))
		}
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf", Namespace: "default"}, Data: map[string]string{"k": "v"}}
		if _, err := n.client.CoreV1().ConfigMaps("default").Create(n.t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		n.wait(10 * time.Second)
		if s := n.pod("web").Status; s.Phase != corev1.PodRunning {
			t.Errorf("status %+v, events %v", s, n.reasons("web"))
		}
	})
}

func TestEnvironmentReachesTheContainer(t *testing.T) {
	var got runtime.ContainerConfig
	behave := func(_ runtime.PodIdentity, c runtime.ContainerConfig) (fake.Behaviour, bool) {
		got = c
		return fake.Behaviour{}, true
	}
	bubble(t, fake.Config{Behave: behave}, func(n *node) {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: "default"},
			Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}}
		if _, err := n.client.CoreV1().Services("default").Create(n.t.Context(), service, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		n.wait(time.Second)
		n.create(newPod("env", func(p *corev1.Pod) {
			p.Spec.Containers[0].Args = []string{"$(NODE)/$(MISSING)/$$(NODE)"}
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}}
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: quantity("500m"), corev1.ResourceMemory: quantity("128Mi")}
		}))
		n.wait(time.Second)
		env := map[string]string{}
		for _, e := range got.Env {
			env[e.Name] = e.Value
		}
		if env["NODE"] != "node1" || env["KUBERNETES_SERVICE_HOST"] != "10.96.0.1" || env["KUBERNETES_PORT"] != "tcp://10.96.0.1:443" {
			t.Errorf("environment %v", env)
		}
		if strings.Join(got.Args, " ") != "node1/$(MISSING)/$(NODE)" {
			t.Errorf("arguments %q", got.Args)
		}
		if r := got.Resources; r.CPUQuota != 50000 || r.CPUPeriod != 100000 || r.CPUShares != 512 || r.MemoryLimitBytes != 128<<20 {
			t.Errorf("resources %+v", r)
		}
	})
}

// TestForeignContainersStay: what the runtime holds and no pod's labels are on is
// not the kubelet's.
func TestForeignContainersStay(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		id, err := n.runtime.RunSandbox(context.Background(), runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "other", Namespace: "tool"}})
		if err != nil {
			t.Fatal(err)
		}
		n.wait(time.Minute)
		if b, err := n.runtime.Sandbox(context.Background(), id); err != nil || b.State != runtime.SandboxReady {
			t.Errorf("sandbox %+v, %v", b, err)
		}
	})
}
