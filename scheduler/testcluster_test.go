package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/strake-io/strake/scheduler"
)

// testCluster is a fake API server with the binding sub-resource, in a bubble.
type testCluster struct {
	t      *testing.T
	ctx    context.Context
	client *fake.Clientset

	mu       sync.Mutex
	bound    []string // "pod node" in the order of the bindings
	bindings int      // requests
	// answer, if set, replaces the answer to a binding that was carried out.
	answer func(pod string) error
	// refuse, if set, may refuse a binding.
	refuse func(pod string) error
}

// inCluster runs f against a scheduler in a synctest bubble, stops the scheduler,
// and fails where anything it started goes on.
func inCluster(t *testing.T, config scheduler.Config, objects []runtime.Object, f func(c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &testCluster{t: t, ctx: ctx, client: fake.NewClientset(objects...)}
		c.client.PrependReactor("create", "pods", c.bind)
		config.Client = c.client
		if config.Rand == nil {
			config.Rand = rand.NewPCG(1, 2)
		}
		s, err := scheduler.New(config)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		f(c)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (c *testCluster) bind(action clienttesting.Action) (bool, runtime.Object, error) {
	create, ok := action.(clienttesting.CreateAction)
	if !ok || action.GetSubresource() != "binding" {
		return false, nil, nil
	}
	b := create.GetObject().(*corev1.Binding)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bindings++
	if c.refuse != nil {
		if err := c.refuse(b.Name); err != nil {
			return true, nil, err
		}
	}
	gvr := corev1.SchemeGroupVersion.WithResource("pods")
	obj, err := c.client.Tracker().Get(gvr, b.Namespace, b.Name)
	if err != nil {
		return true, nil, err
	}
	pod := obj.(*corev1.Pod).DeepCopy()
	if pod.UID != b.UID || pod.Spec.NodeName != "" {
		return true, nil, apierrors.NewConflict(corev1.Resource("pods/binding"), b.Name,
			fmt.Errorf("pod %s is already assigned to node %q", b.Name, pod.Spec.NodeName))
	}
	pod.Spec.NodeName = b.Target.Name
	if err := c.client.Tracker().Update(gvr, pod, b.Namespace); err != nil {
		return true, nil, err
	}
	c.bound = append(c.bound, b.Name+" "+b.Target.Name)
	if c.answer != nil {
		if err := c.answer(b.Name); err != nil {
			return true, nil, err
		}
	}
	return true, b, nil
}

func (c *testCluster) create(objects ...runtime.Object) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.client.Tracker().Add(o); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *testCluster) pod(name string) *corev1.Pod {
	c.t.Helper()
	p, err := c.client.CoreV1().Pods("default").Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *testCluster) update(o runtime.Object) {
	c.t.Helper()
	resource, namespace := "pods", "default"
	if _, ok := o.(*corev1.Node); ok {
		resource, namespace = "nodes", ""
	}
	if err := c.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource(resource), o, namespace); err != nil {
		c.t.Fatal(err)
	}
}

func (c *testCluster) deletePod(name string) {
	c.t.Helper()
	if err := c.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "default", name); err != nil {
		c.t.Fatal(err)
	}
}

// events are the messages of the events about a pod, with their reason.
func (c *testCluster) events(pod string) []string {
	c.t.Helper()
	list, err := c.client.CoreV1().Events("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.Name == pod {
			out = append(out, e.Type+" "+e.Reason+": "+e.Message)
		}
	}
	return out
}

// settle lets the scheduler finish what it can do now.
func settle() { synctest.Wait() }

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func node(name, cpu, memory string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse(cpu),
			corev1.ResourceMemory: resource.MustParse(memory),
			corev1.ResourcePods:   resource.MustParse("110"),
		}},
	}
	for _, f := range change {
		f(n)
	}
	return n
}

func pod(name, cpu, memory string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), Generation: 1},
		Spec: corev1.PodSpec{
			SchedulerName: "default-scheduler",
			Containers:    []corev1.Container{{Name: "main", Image: "example.com/app:1"}},
		},
	}
	requests := corev1.ResourceList{}
	if cpu != "" {
		requests[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		requests[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	p.Spec.Containers[0].Resources.Requests = requests
	for _, f := range change {
		f(p)
	}
	return p
}

func taint(key, value string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
}

func onNode(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeName = name }
}

func priority(v int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Priority = &v }
}

func label(key, value string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels[key] = value }
}

func (c *testCluster) eventObjects(pod string) []corev1.Event {
	c.t.Helper()
	list, err := c.client.CoreV1().Events("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var out []corev1.Event
	for _, e := range list.Items {
		if e.InvolvedObject.Name == pod {
			out = append(out, e)
		}
	}
	return out
}

func resourceOne() *resource.Quantity { return resource.NewQuantity(1, resource.DecimalSI) }

// requests is how many bindings were asked for.
func (c *testCluster) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bindings
}

// placements are the bindings carried out, "pod node" each.
func (c *testCluster) placements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.bound...)
}
