package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/replication"
)

func three() *corev1.ReplicationController {
	replicas := int32(3)
	return &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
		Spec: corev1.ReplicationControllerSpec{
			Replicas: &replicas, Selector: map[string]string{"app": "web"}, MinReadySeconds: 10,
			Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}},
		},
	}
}

func get(t *testing.T, api *fakeapi.API) *corev1.ReplicationController {
	t.Helper()
	rc, err := api.Client.CoreV1().ReplicationControllers("ns").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

func TestPodsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "orphan", Labels: map[string]string{"app": "web"}}}
		api := fakeapi.New(three(), orphan)
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{replication.New()}},
			func(ctx context.Context) error { return api.Kubelet(ctx, time.Second, time.Second) })
		time.Sleep(5 * time.Second)
		if s := get(t, api).Status; s.Replicas != 3 || s.ReadyReplicas != 3 || s.AvailableReplicas != 0 || s.FullyLabeledReplicas != 3 {
			t.Errorf("ready, and not yet for long enough: %+v", s)
		}
		time.Sleep(10 * time.Second) // nothing happens but time
		if s := get(t, api).Status; s.AvailableReplicas != 3 || s.ObservedGeneration != get(t, api).Generation {
			t.Errorf("ready for long enough: %+v", s)
		}
		adopted, err := api.Client.CoreV1().Pods("ns").Get(t.Context(), "orphan", metav1.GetOptions{})
		if err != nil || !metav1.IsControlledBy(adopted, get(t, api)) {
			t.Errorf("the orphan was not adopted: %v %v", adopted, err)
		}

		one, rc := int32(1), get(t, api)
		rc.Spec.Replicas = &one
		if _, err := api.Client.CoreV1().ReplicationControllers("ns").Update(t.Context(), rc, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		pods, err := api.Client.CoreV1().Pods("ns").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(pods.Items) != 1 || get(t, api).Status.Replicas != 1 {
			t.Errorf("%d pods, status %+v, %v", len(pods.Items), get(t, api).Status, err)
		}
		if events := strings.Join(api.Events("ns"), "\n"); !strings.Contains(events, "SuccessfulCreate") || !strings.Contains(events, "SuccessfulDelete") {
			t.Errorf("events: %s", events)
		}
	})
}

func TestAFailureShowsInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(three())
		refuse := make(chan struct{})
		api.Deny = func(verb string, gvr schema.GroupVersionResource, _ runtime.Object) error {
			select {
			case <-refuse:
				return nil
			default:
			}
			if verb == "create" && gvr.Resource == "pods" {
				return errors.New(`pods "web-" is forbidden: exceeded quota`)
			}
			return nil
		}
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{replication.New()}})
		time.Sleep(time.Second)
		conditions := get(t, api).Status.Conditions
		if len(conditions) != 1 || conditions[0].Type != corev1.ReplicationControllerReplicaFailure || conditions[0].Reason != "FailedCreate" ||
			conditions[0].Message != `pods "web-" is forbidden: exceeded quota` {
			t.Errorf("conditions %+v", conditions)
		}
		close(refuse)
		time.Sleep(time.Hour)
		if s := get(t, api).Status; len(s.Conditions) != 0 || s.Replicas != 3 {
			t.Errorf("status %+v", s)
		}
	})
}
