package kubelet_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientfake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/kubelet/machine"
	"github.com/strake-io/strake/runtime/fake"
)

// node is a kubelet over the fake runtime and client-go's fake API, in a bubble.
type node struct {
	t       *testing.T
	client  *clientfake.Clientset
	runtime *fake.Runtime
	kubelet *kubelet.Kubelet
	stop    func()
}

func facts() machine.Facts {
	return machine.Facts{CPUs: 4, Memory: 8 << 30, Disk: 100 << 30, Hostname: "node1", Addresses: []string{"192.0.2.10"}}
}

// newAPI is client-go's fake with the graceful deletion of pods that a real
// server has.
func newAPI() *clientfake.Clientset {
	client := clientfake.NewSimpleClientset()
	client.PrependReactor("delete", "pods", func(action clienttesting.Action) (bool, apiruntime.Object, error) {
		del := action.(clienttesting.DeleteActionImpl)
		object, err := client.Tracker().Get(del.GetResource(), del.GetNamespace(), del.GetName())
		if err != nil {
			return true, nil, err
		}
		pod := object.(*corev1.Pod).DeepCopy()
		if p := del.DeleteOptions.Preconditions; p != nil && p.UID != nil && *p.UID != pod.UID {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, pod.Name, fmt.Errorf("the UID in the precondition does not match"))
		}
		grace := int64(30)
		if pod.Spec.TerminationGracePeriodSeconds != nil {
			grace = *pod.Spec.TerminationGracePeriodSeconds
		}
		if g := del.DeleteOptions.GracePeriodSeconds; g != nil {
			grace = *g
		}
		if grace == 0 {
			return false, nil, nil
		}
		now := metav1.Now()
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
		return true, nil, client.Tracker().Update(del.GetResource(), pod, pod.Namespace)
	})
	return client
}

func start(t *testing.T, client *clientfake.Clientset, machine *fake.Runtime, change func(*kubelet.Config)) *node {
	t.Helper()
	config := kubelet.Config{Client: client, Runtime: machine, Machine: facts()}
	if change != nil {
		change(&config)
	}
	k, err := kubelet.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	n := &node{t: t, client: client, runtime: machine, kubelet: k}
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	<-k.Ready()
	return n
}

// bubble runs f with a fresh node.
func bubble(t *testing.T, config fake.Config, f func(n *node)) {
	synctest.Test(t, func(t *testing.T) {
		machine, err := fake.New(config)
		if err != nil {
			t.Fatal(err)
		}
		n := start(t, newAPI(), machine, nil)
		defer func() { n.stop() }()
		f(n)
	})
}

func newPod(name string, change func(*corev1.Pod)) *corev1.Pod {
	grace := int64(30)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Generation: 1},
		Spec: corev1.PodSpec{NodeName: "node1", RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "main", Image: "example.com/app:1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func (n *node) create(pod *corev1.Pod) {
	n.t.Helper()
	if _, err := n.client.CoreV1().Pods(pod.Namespace).Create(n.t.Context(), pod, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) pod(name string) *corev1.Pod {
	n.t.Helper()
	pod, err := n.client.CoreV1().Pods("default").Get(n.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return pod
}

// wait lets time pass and everything settle.
func (n *node) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (n *node) reasons(name string) map[string]int {
	n.t.Helper()
	events, err := n.client.CoreV1().Events("default").List(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]int{}
	for _, e := range events.Items {
		if e.InvolvedObject.Name == name {
			out[e.Reason] += int(max(e.Count, 1))
		}
	}
	return out
}

func condition(pod *corev1.Pod, t corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestPodRunsAndIsDeleted(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("web", nil))
		n.wait(time.Second)
		pod := n.pod("web")
		if pod.Status.Phase != corev1.PodRunning || condition(pod, corev1.PodReady).Status != corev1.ConditionTrue {
			t.Fatalf("status %+v", pod.Status)
		}
		if pod.Status.PodIP == "" || pod.Status.HostIP != "192.0.2.10" || pod.Status.QOSClass != corev1.PodQOSBestEffort {
			t.Errorf("addresses and class: %+v", pod.Status)
		}
		got := n.reasons("web")
		for _, want := range []string{"Pulling", "Pulled", "Created", "Started"} {
			if got[want] != 1 {
				t.Errorf("%d events %s, want 1: %v", got[want], want, got)
			}
		}
		if err := n.client.CoreV1().Pods("default").Delete(n.t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		n.wait(2 * time.Second)
		if pod := n.pod("web"); pod != nil {
			t.Fatalf("still there: %+v", pod.Status)
		}
		n.wait(time.Second)
		if boxes, _ := n.runtime.ListSandboxes(n.t.Context()); len(boxes) != 0 {
			t.Errorf("sandboxes left: %+v", boxes)
		}
		if len(n.kubelet.Pods()) != 0 {
			t.Errorf("the kubelet still knows the pod")
		}
	})
}

func TestNodeRegistersAndReports(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.wait(time.Minute)
		node, err := n.client.CoreV1().Nodes().Get(n.t.Context(), "node1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if cpu := node.Status.Allocatable.Cpu().Value(); cpu != 4 {
			t.Errorf("cpu %d", cpu)
		}
		if node.Labels[corev1.LabelHostname] != "node1" || node.Status.NodeInfo.KubeletVersion != kubelet.Version {
			t.Errorf("labels %v, info %+v", node.Labels, node.Status.NodeInfo)
		}
		lease, err := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(n.t.Context(), "node1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(lease.Spec.RenewTime.Time); age > 11*time.Second {
			t.Errorf("lease is %v old", age)
		}
	})
}

func TestCrashLoop(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("bad", func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"exit", "3"} }))
		n.wait(5 * time.Second)
		pod := n.pod("bad")
		s := pod.Status.ContainerStatuses[0]
		if s.RestartCount != 1 || s.State.Waiting == nil || s.State.Waiting.Reason != "CrashLoopBackOff" ||
			s.State.Waiting.Message != "back-off 10s restarting failed container=main pod=bad_default(uid-bad)" {
			t.Fatalf("container %+v", s)
		}
		if s.LastTerminationState.Terminated == nil || s.LastTerminationState.Terminated.ExitCode != 3 || pod.Status.Phase != corev1.PodRunning {
			t.Errorf("phase %s, last %+v", pod.Status.Phase, s.LastTerminationState)
		}
		n.wait(10 * time.Minute)
		// Restarts: at once, then after 10, 20, 40, 80, 160, 300 s.
		if got := n.pod("bad").Status.ContainerStatuses[0].RestartCount; got != 6 {
			t.Errorf("%d restarts after ten minutes, want 6", got)
		}
		if boxes, err := n.runtime.ListContainers(n.t.Context()); err != nil || len(boxes) != 2 {
			t.Errorf("%d containers kept, want the last two (%v)", len(boxes), err)
		}
	})
}

func TestRestartedKubeletAdopts(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("stays", nil))
		n.create(newPod("gone", nil))
		n.create(newPod("crashed", func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"sleep", "5"} }))
		n.wait(7 * time.Second)
		before := n.pod("stays").Status.ContainerStatuses[0]
		restarts := n.pod("crashed").Status.ContainerStatuses[0].RestartCount
		n.stop()
		zero := int64(0)
		if err := n.client.CoreV1().Pods("default").Delete(n.t.Context(), "gone", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		*n = *start(n.t, n.client, n.runtime, nil)
		n.wait(20 * time.Second)
		after := n.pod("stays").Status.ContainerStatuses[0]
		if after.ContainerID != before.ContainerID || after.RestartCount != 0 || !after.State.Running.StartedAt.Equal(&before.State.Running.StartedAt) {
			t.Errorf("not adopted: before %+v, after %+v", before, after)
		}
		if got := n.pod("crashed").Status.ContainerStatuses[0].RestartCount; got <= restarts {
			t.Errorf("restart count %d did not go on from %d", got, restarts)
		}
		boxes, _ := n.runtime.ListSandboxes(n.t.Context())
		for _, b := range boxes {
			if b.Pod.Name == "gone" {
				t.Errorf("the pod that was deleted meanwhile still has a sandbox")
			}
		}
	})
}

func TestJobPodCompletes(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("job", func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "a:1", Command: []string{"sleep", "3"}}}
			p.Spec.Containers[0].Command = []string{"sleep", "5"}
		}))
		n.wait(time.Second)
		pod := n.pod("job")
		if c := condition(pod, corev1.PodInitialized); pod.Status.Phase != corev1.PodPending || c.Message != "containers with incomplete status: [init]" ||
			pod.Status.ContainerStatuses[0].State.Waiting.Reason != "PodInitializing" {
			t.Errorf("while the init container runs: %+v", pod.Status)
		}
		n.wait(20 * time.Second)
		pod = n.pod("job")
		if pod.Status.Phase != corev1.PodSucceeded || condition(pod, corev1.PodReady).Reason != "PodCompleted" {
			t.Errorf("at the end: %+v", pod.Status)
		}
		if s := pod.Status.ContainerStatuses[0].State.Terminated; s == nil || s.Reason != "Completed" {
			t.Errorf("container: %+v", pod.Status.ContainerStatuses[0])
		}
	})
}

func TestPullFailures(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("nopull", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "fake.invalid/x:1" }))
		n.wait(time.Second)
		if s := n.pod("nopull").Status.ContainerStatuses[0]; s.State.Waiting == nil || s.State.Waiting.Reason != "ErrImagePull" {
			t.Errorf("first: %+v", s)
		}
		n.wait(5 * time.Second)
		if s := n.pod("nopull").Status.ContainerStatuses[0]; s.State.Waiting == nil || s.State.Waiting.Reason != "ImagePullBackOff" {
			t.Errorf("then: %+v", s)
		}
		n.create(newPod("never", func(p *corev1.Pod) {
			p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "example.com/absent:1", corev1.PullNever
		}))
		n.create(newPod("noname", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "a b" }))
		n.create(newPod("noconfig", func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{
				ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "absent"}, Key: "k"}}}}
		}))
		n.wait(time.Second)
		for name, want := range map[string][2]string{
			"never":    {"ErrImageNeverPull", `Container image "example.com/absent:1" is not present with pull policy of Never`},
			"noname":   {"InvalidImageName", `Failed to apply default image tag "a b": couldn't parse image name "a b": invalid reference format`},
			"noconfig": {"CreateContainerConfigError", `configmap "absent" not found`},
		} {
			s := n.pod(name).Status.ContainerStatuses[0].State.Waiting
			if s == nil || s.Reason != want[0] || s.Message != want[1] {
				t.Errorf("%s: %+v, want %v", name, s, want)
			}
		}
	})
}

func TestRejection(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("huge", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: quantity("5")}
		}))
		n.create(newPod("elsewhere", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }))
		n.wait(time.Second)
		for name, want := range map[string][2]string{
			"huge":      {"OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu, requested: 5000, used: 0, capacity: 4000"},
			"elsewhere": {"NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		} {
			s := n.pod(name).Status
			if s.Phase != corev1.PodFailed || s.Reason != want[0] || s.Message != want[1] {
				t.Errorf("%s: %s %s %s", name, s.Phase, s.Reason, s.Message)
			}
		}
	})
}

// TestAdmissionKnowsNewLabels takes a pod that the scheduler sent at once when the
// node got the label it waited for.
func TestAdmissionKnowsNewLabels(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		node, err := n.client.CoreV1().Nodes().Get(t.Context(), "node1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.Labels["disk"] = "ssd"
		if _, err := n.client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		n.create(newPod("picky", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }))
		n.wait(time.Second)
		if s := n.pod("picky").Status; s.Phase != corev1.PodRunning {
			t.Errorf("the pod is %s: %s", s.Phase, s.Message)
		}
	})
}

func TestActiveDeadline(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.create(newPod("late", func(p *corev1.Pod) { seconds := int64(30); p.Spec.ActiveDeadlineSeconds = &seconds }))
		n.wait(29 * time.Second)
		if s := n.pod("late").Status; s.Phase != corev1.PodRunning {
			t.Fatalf("before: %+v", s)
		}
		n.wait(5 * time.Second)
		if s := n.pod("late").Status; s.Phase != corev1.PodFailed || s.Reason != "DeadlineExceeded" {
			t.Errorf("after: %+v", s)
		}
	})
}
func quantity(s string) resource.Quantity { return resource.MustParse(s) }

func deleteNow() *metav1.DeleteOptions {
	grace := int64(1)
	return &metav1.DeleteOptions{GracePeriodSeconds: &grace}
}
