package strake

import (
	"context"
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
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	select {
	case <-c.Ready():
	case err := <-done:
		t.Fatalf("Run ended early: %v", err)
	}
	return c, stop
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
	ctx := t.Context()
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

func TestDayInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{FakeNodes: 2})
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
	})
}
