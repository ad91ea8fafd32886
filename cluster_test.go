package strake

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// start runs a cluster until stop is called, which waits for its end.
func start(t testing.TB, config Config) (c *Cluster, stop func()) {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, c.Run, c.Ready())
	return c, stop
}

// background runs a component until stop is called, once it is ready.
func background(t testing.TB, run func(context.Context) error, ready <-chan struct{}) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("Run ended early: %v", err)
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func webDeployment(replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
			},
		},
	}
}

// available creates a deployment and watches until all of it is available.
func available(t testing.TB, client kubernetes.Interface, replicas int32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	watch, err := client.AppsV1().Deployments("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if _, err := client.AppsV1().Deployments("default").Create(ctx, webDeployment(replicas), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range watch.ResultChan() {
		if d, ok := event.Object.(*appsv1.Deployment); ok && d.Status.AvailableReplicas == replicas {
			return
		}
	}
	t.Fatal("the watch ended before the deployment was available")
}

func TestDeploymentBecomesAvailable(t *testing.T) {
	begun := time.Now()
	c, stop := start(t, Config{FakeNodes: 1})
	defer stop()
	ready := time.Since(begun)
	available(t, c.Client(), 3)
	t.Logf("ready after %v, deployment available after %v", ready, time.Since(begun))
}

// TestDayInABubble lives through a day of lease renewals in a moment.
func TestDayInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{FakeNodes: 1})
		defer stop()
		available(t, c.Client(), 3)
		time.Sleep(24 * time.Hour)
		lease, err := c.Client().CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), "fake-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(lease.Spec.RenewTime.Time); age > time.Minute {
			t.Errorf("the lease was last renewed %v ago", age)
		}
		d, err := c.Client().AppsV1().Deployments("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || d.Status.AvailableReplicas != 3 {
			t.Errorf("after the day: %d available, %v; want 3", d.Status.AvailableReplicas, err)
		}
	})
}

// TestNodeDeathInABubble stops one of two nodes: it becomes not ready, its pods are
// evicted after their five minutes and run on the other.
func TestNodeDeathInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, err := NewControlPlane(ControlPlaneConfig{})
		if err != nil {
			t.Fatal(err)
		}
		stopPlane := background(t, plane.Run, plane.Ready())
		defer stopPlane()
		stops := map[string]func(){}
		for i := range 2 {
			config, err := fakeNode(i)
			if err != nil {
				t.Fatal(err)
			}
			config.Kubelet.Client = plane.Client()
			node, err := NewNode(config)
			if err != nil {
				t.Fatal(err)
			}
			stops[node.Name()] = background(t, node.Run, node.Ready())
		}
		client := plane.Client()
		available(t, client, 6)

		stops["fake-0"]()
		delete(stops, "fake-0")
		time.Sleep(2 * time.Minute)
		node, err := client.CoreV1().Nodes().Get(t.Context(), "fake-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := condition(node, corev1.NodeReady); got != "Unknown NodeStatusUnknown" {
			t.Errorf("Ready of the dead node: %s", got)
		}
		time.Sleep(10 * time.Minute)
		pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, pod := range pods.Items {
			if pod.Spec.NodeName == "fake-1" && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				running++
			}
		}
		if running != 6 {
			t.Errorf("%d of 6 pods run on the node that lives; all pods:\n%s", running, describe(pods.Items))
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func condition(node *corev1.Node, kind corev1.NodeConditionType) string {
	for _, c := range node.Status.Conditions {
		if c.Type == kind {
			return fmt.Sprintf("%s %s", c.Status, c.Reason)
		}
	}
	return "none"
}

func describe(pods []corev1.Pod) string {
	var b strings.Builder
	for _, p := range pods {
		fmt.Fprintf(&b, "%s on %s: %s, deleted %v\n", p.Name, p.Spec.NodeName, p.Status.Phase, p.DeletionTimestamp != nil)
	}
	return b.String()
}

// TestTwoClustersSideBySide stops one of two clusters: the other goes on, and
// nothing of the first is left.
func TestTwoClustersSideBySide(t *testing.T) {
	// What client-go and others start once per process is started before the count.
	_, stop := start(t, Config{FakeNodes: 1})
	stop()
	before := runtime.NumGoroutine()

	one, stopOne := labelled(t, "one", Config{FakeNodes: 2})
	two, stopTwo := labelled(t, "two", Config{FakeNodes: 2})
	available(t, one.Client(), 3)
	available(t, two.Client(), 3)
	stopTwo()
	settle(t, "of the stopped cluster", func() int { return strings.Count(goroutines(), `"cluster":"two"`) }, 0)
	if strings.Count(goroutines(), `"cluster":"one"`) == 0 {
		t.Error("no goroutine is known as the other cluster's: this test does not see what it looks for")
	}
	if _, err := two.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("a stopped cluster answers")
	}
	nodes, err := one.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 {
		t.Errorf("the other cluster: %d nodes, %v", len(nodes.Items), err)
	}
	stopOne()
	settle(t, "with both stopped", runtime.NumGoroutine, before)
}

// labelled starts a cluster whose goroutines are known by a label, which each
// inherits from the one that started it.
func labelled(t *testing.T, name string, config Config) (c *Cluster, stop func()) {
	pprof.Do(t.Context(), pprof.Labels("cluster", name), func(context.Context) { c, stop = start(t, config) })
	return c, stop
}

// goroutines lists all goroutines with their labels.
func goroutines() string {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		panic(err) // a strings.Builder takes everything
	}
	return b.String()
}

// settle waits a moment for goroutines that have been told to end, and have only
// to be scheduled once more to do so.
func settle(t *testing.T, what string, count func() int, most int) {
	t.Helper()
	for range 500 {
		if count() <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: %d goroutines, want at most %d:\n%s", what, count(), most, goroutines())
}
