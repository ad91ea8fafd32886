package policy_test

import (
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkCreatePod is a create over the in-process transport: with no plugin for
// policies, with none registered, and with one that looks at every container.
func BenchmarkCreatePod(b *testing.B) {
	spec := admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: match("pods"),
		Variables:        []admissionv1.Variable{{Name: "containers", Expression: "object.spec.containers"}},
		Validations:      check("variables.containers.all(c, c.image != 'latest')", ""),
	}
	for _, name := range []string{"no plugin", "no policy", "one policy"} {
		b.Run(name, func(b *testing.B) {
			client, _ := serveWith(b, name != "no plugin")
			if name == "one policy" {
				validating(b, client, spec, admissionv1.ValidatingAdmissionPolicyBindingSpec{})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%d", i)}, Spec: corev1.PodSpec{
					Containers: []corev1.Container{{Name: "a", Image: "a:1"}, {Name: "b", Image: "b:1"}},
				}}
				if _, err := client.CoreV1().Pods("default").Create(b.Context(), pod, metav1.CreateOptions{DryRun: []string{"All"}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
