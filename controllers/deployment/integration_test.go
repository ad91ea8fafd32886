package deployment_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/deployment"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/replicaset"
)

type cluster struct {
	t   *testing.T
	api *fakeapi.API
}

func start(t *testing.T) cluster {
	api := fakeapi.New()
	fakeapi.Start(t, controllers.Config{
		Client:      api.Client,
		Controllers: []controllers.Registration{deployment.New(), replicaset.New()},
	}, func(ctx context.Context) error { return api.Kubelet(ctx, time.Second, 2*time.Second) })
	return cluster{t, api}
}

func web(replicas int32, image string) *appsv1.Deployment {
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	limit, deadline := int32(2), int32(600)
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, RevisionHistoryLimit: &limit, ProgressDeadlineSeconds: &deadline,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
			},
		},
	}
}

func (c cluster) create(d *appsv1.Deployment) {
	c.t.Helper()
	if _, err := c.api.Client.AppsV1().Deployments("ns").Create(c.t.Context(), d, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) get() *appsv1.Deployment {
	c.t.Helper()
	d, err := c.api.Client.AppsV1().Deployments("ns").Get(c.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (c cluster) change(f func(*appsv1.Deployment)) {
	c.t.Helper()
	d := c.get()
	f(d)
	if _, err := c.api.Client.AppsV1().Deployments("ns").Update(c.t.Context(), d, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) image(name string) {
	c.change(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = name })
}

// pods counts the pods that are not on their way out, by image.
func (c cluster) pods() map[string]int {
	list, err := c.api.Client.CoreV1().Pods("ns").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	n := map[string]int{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			n[p.Spec.Containers[0].Image]++
		}
	}
	return n
}

func (c cluster) sets() []appsv1.ReplicaSet {
	list, err := c.api.Client.AppsV1().ReplicaSets("ns").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c cluster) condition(t appsv1.DeploymentConditionType) string {
	for _, cond := range c.get().Status.Conditions {
		if cond.Type == t {
			return fmt.Sprintf("%s %s %s", cond.Status, cond.Reason, cond.Message)
		}
	}
	return ""
}

func (c cluster) events() string {
	list, err := c.api.Client.CoreV1().Events("ns").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range list.Items {
		fmt.Fprintf(&b, "%s %s: %s\n", e.InvolvedObject.Kind, e.Reason, e.Message)
	}
	return b.String()
}

func TestCreateScaleRollBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		c.create(web(3, "v1"))
		time.Sleep(time.Minute)
		d := c.get()
		if s := d.Status; s.AvailableReplicas != 3 || s.UpdatedReplicas != 3 || s.ObservedGeneration != 1 || s.UnavailableReplicas != 0 {
			t.Fatalf("status %+v", s)
		}
		if got := d.Annotations[deployment.RevisionAnnotation]; got != "1" {
			t.Errorf("revision %q", got)
		}
		first := c.sets()[0].Name
		if got, want := c.condition(appsv1.DeploymentProgressing), fmt.Sprintf("True NewReplicaSetAvailable ReplicaSet %q has successfully progressed.", first); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := c.condition(appsv1.DeploymentAvailable), "True MinimumReplicasAvailable Deployment has minimum availability."; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if e := c.events(); !strings.Contains(e, "Deployment ScalingReplicaSet: Scaled up replica set "+first+" from 0 to 3") ||
			!strings.Contains(e, "ReplicaSet SuccessfulCreate: Created pod: "+first+"-") {
			t.Errorf("events:\n%s", e)
		}

		size := int32(10)
		c.change(func(d *appsv1.Deployment) { d.Spec.Replicas = &size })
		time.Sleep(time.Minute)
		if got := c.pods(); got["v1"] != 10 {
			t.Errorf("pods %v", got)
		}

		c.image("v2")
		time.Sleep(time.Minute)
		if got := c.pods(); got["v2"] != 10 || got["v1"] != 0 {
			t.Errorf("pods after the roll: %v", got)
		}
		if got := c.get().Annotations[deployment.RevisionAnnotation]; got != "2" {
			t.Errorf("revision %q", got)
		}

		// Back: the old replica set is taken again, under a new revision.
		c.image("v1")
		time.Sleep(time.Minute)
		if got := c.pods(); got["v1"] != 10 || len(c.sets()) != 2 {
			t.Errorf("pods after the roll back: %v, %d sets", got, len(c.sets()))
		}
		for _, rs := range c.sets() {
			if rs.Name == first && (rs.Annotations[deployment.RevisionAnnotation] != "3" || rs.Annotations[deployment.RevisionHistoryAnnotation] != "1") {
				t.Errorf("annotations %v", rs.Annotations)
			}
		}
		for i := range 4 {
			c.image(fmt.Sprint("w", i))
			time.Sleep(time.Minute)
		}
		if n := len(c.sets()); n != 3 {
			t.Errorf("%d replica sets with a history of 2", n)
		}

		before := len(c.api.Writes())
		time.Sleep(24 * time.Hour)
		if writes := c.api.Writes()[before:]; len(writes) != 0 {
			t.Errorf("writes at rest: %v", writes)
		}
	})
}

func TestDeadlinePauseAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		c.create(web(3, "v1"))
		time.Sleep(time.Minute)
		c.image("broken")
		time.Sleep(5 * time.Minute)
		if got := c.pods(); got["v1"] != 3 || got["broken"] != 1 {
			t.Errorf("a broken rollout has pods %v", got)
		}
		if got := c.condition(appsv1.DeploymentProgressing); !strings.HasPrefix(got, "True ReplicaSetUpdated") {
			t.Errorf("progressing: %s", got)
		}
		time.Sleep(10 * time.Minute)
		if got := c.condition(appsv1.DeploymentProgressing); !strings.HasPrefix(got, "False ProgressDeadlineExceeded") || !strings.HasSuffix(got, "has timed out progressing.") {
			t.Errorf("progressing: %s", got)
		}
		c.image("v2")
		time.Sleep(time.Minute)
		if got := c.condition(appsv1.DeploymentProgressing); !strings.HasPrefix(got, "True NewReplicaSetAvailable") {
			t.Errorf("progressing: %s", got)
		}
		c.change(func(d *appsv1.Deployment) { d.Spec.Paused = true })
		time.Sleep(time.Second)
		if got := c.condition(appsv1.DeploymentProgressing); got != "Unknown DeploymentPaused Deployment is paused" {
			t.Errorf("progressing: %s", got)
		}
		c.image("v3")
		time.Sleep(time.Hour)
		if got := c.pods(); got["v2"] != 3 {
			t.Errorf("a paused deployment went on: %v", got)
		}
		c.change(func(d *appsv1.Deployment) { d.Spec.Paused = false })
		time.Sleep(time.Minute)
		if got := c.pods(); got["v3"] != 3 {
			t.Errorf("after the pause: %v", got)
		}
	})
}

func TestRecreateNeverRunsTwoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		d := web(3, "v1")
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		c.create(d)
		time.Sleep(time.Minute)
		c.image("v2")
		for range 100 {
			list, _ := c.api.Client.CoreV1().Pods("ns").List(t.Context(), metav1.ListOptions{})
			versions := map[string]bool{}
			for _, p := range list.Items {
				versions[p.Spec.Containers[0].Image] = true // terminating pods too
			}
			if len(versions) > 1 {
				t.Fatal("two versions at once")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := c.pods(); got["v2"] != 3 {
			t.Errorf("pods %v", got)
		}
	})
}
