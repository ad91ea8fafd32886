package conformance

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyautoscaling "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	"k8s.io/utils/ptr"
)

// TestApplyScale applies the scale of a Deployment: the field becomes the applier's,
// under the version of the Deployment, and who applies another needs force.
func TestApplyScale(t *testing.T) {
	c := connect(t)
	labels := map[string]string{"app": "scaled"}
	deployments := c.typed.AppsV1().Deployments("default")
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "scaled"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}
	if _, err := deployments.Create(t.Context(), d, metav1.CreateOptions{FieldManager: "maker"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deployments.Delete(context.Background(), "scaled", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	scale := applyautoscaling.Scale().WithName("scaled").WithSpec(applyautoscaling.ScaleSpec().WithReplicas(2))
	if _, err := deployments.ApplyScale(t.Context(), "scaled", scale, metav1.ApplyOptions{FieldManager: "scaler"}); err == nil {
		t.Error("the replicas of another were applied without force")
	}
	got, err := deployments.ApplyScale(t.Context(), "scaled", scale, metav1.ApplyOptions{FieldManager: "scaler", Force: true})
	if err != nil || got.Spec.Replicas != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	now, err := deployments.Get(t.Context(), "scaled", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range now.ManagedFields {
		if f.Manager == "scaler" && f.Operation == metav1.ManagedFieldsOperationApply && f.Subresource == "scale" && f.APIVersion == "apps/v1" &&
			string(f.FieldsV1.Raw) == `{"f:spec":{"f:replicas":{}}}` {
			return
		}
	}
	t.Errorf("%+v", now.ManagedFields)
}
