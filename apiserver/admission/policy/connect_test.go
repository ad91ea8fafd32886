package policy_test

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
)

// TestConnections: a policy sees the options of an exec before anything is connected.
func TestConnections(t *testing.T) {
	client, _ := serve(t)
	constraints := match("pods/exec")
	constraints.ResourceRules[0].Operations = []admissionv1.OperationType{admissionv1.Connect}
	validating(t, client, admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: constraints, Validations: check("object.command[0] != 'sh' || !object.stdin", "no shells"),
	}, admissionv1.ValidatingAdmissionPolicyBindingSpec{})
	exec := func(command string) string {
		err := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Command: []string{command}, Stdin: true}, scheme.ParameterCodec).Do(t.Context()).Error()
		return text(err)
	}
	if got, want := exec("sh"), `pods "p" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no shells`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := exec("ls"), `pods "p" not found`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestScale: a policy about a scale sees it as one.
func TestScale(t *testing.T) {
	client, _ := serve(t)
	constraints := match("deployments/scale")
	constraints.ResourceRules[0].APIGroups = []string{"apps"}
	validating(t, client, admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: constraints, Validations: check("object.kind == 'Scale' && object.spec.replicas < oldObject.spec.replicas + 2", "too fast"),
	}, admissionv1.ValidatingAdmissionPolicyBindingSpec{})
	labels := map[string]string{"app": "d"}
	deployments := client.AppsV1().Deployments("default")
	if _, err := deployments.Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := deployments.GetScale(t.Context(), "d", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 5
	_, err = deployments.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{})
	if got, want := text(err), `deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too fast`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	scale.Spec.Replicas = 2
	if _, err := deployments.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}
