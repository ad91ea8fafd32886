package defaults_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/defaults"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
)

// All controllers together: a deployment comes up, rests for a day, and goes
// with all that it made.
func TestAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		api.ServeBuiltIn()
		fakeapi.Start(t, controllers.Config{
			Client: api.Client, Metadata: api.Metadata(),
			Controllers: defaults.All(defaults.Config{
				RootCA: []byte("PEM"), ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
			}),
		}, func(ctx context.Context) error { return api.Kubelet(ctx, time.Second, time.Second) })
		for _, name := range []string{"node-a", "node-b", "node-c"} {
			if _, err := api.Client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		labels := map[string]string{"app": "web"}
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
			},
		}
		deployments := api.Client.AppsV1().Deployments("default")
		if _, err := deployments.Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || d.Status.AvailableReplicas != 1 {
			t.Fatalf("%+v %v", d.Status, err)
		}
		time.Sleep(24 * time.Hour)
		if err := deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		pods, _ := api.Client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		sets, _ := api.Client.AppsV1().ReplicaSets("default").List(t.Context(), metav1.ListOptions{})
		if len(pods.Items)+len(sets.Items) != 0 {
			t.Errorf("%d pods and %d replica sets outlive the deployment", len(pods.Items), len(sets.Items))
		}
	})
}
