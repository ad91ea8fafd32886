package resources_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestBindings(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	pods := client.CoreV1().Pods("default")
	pod := newPod("p")
	pod.Labels = map[string]string{"app": "web", "zone": "unknown"}
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := corev1.ObjectReference{Kind: "Node", Name: "n1"}
	const other = "name in URL does not match name in Binding object"
	const storage = `Operation cannot be fulfilled on pods "p": StorageError: invalid object, Code: 4, Key: /registry/pods/default/p, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: `
	post := func(b *corev1.Binding) error {
		return client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("binding").Body(b).Do(ctx).Error()
	}
	for name, test := range map[string]struct {
		binding corev1.Binding
		want    string
	}{
		"no name":         {corev1.Binding{Target: node}, other},
		"another name":    {corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Target: node}, other},
		"no node":         {corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, "target.name: Required value"},
		"another pod":     {corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"}, Target: node}, storage + "UID in precondition: u, UID in object meta: " + string(pod.UID)},
		"another version": {corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", ResourceVersion: "1"}, Target: node}, storage + "ResourceVersion in precondition: 1, ResourceVersion in object meta: " + pod.ResourceVersion},
	} {
		if err := post(&test.binding); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	meant := metav1.ObjectMeta{
		Name: "p", UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Labels: map[string]string{"zone": "a"}, Annotations: map[string]string{"by": "me"},
	}
	if err := post(&corev1.Binding{ObjectMeta: meant, Target: node}); err != nil {
		t.Fatal(err)
	}
	bound, err := pods.Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"app": "web", "zone": "a"}, bound.Labels); diff != "" || bound.Spec.NodeName != "n1" || bound.Annotations["by"] != "me" {
		t.Errorf("bound to %q, annotated %v, labels %s", bound.Spec.NodeName, bound.Annotations, diff)
	}
	if err := post(&corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: node}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `already assigned to node "n1"`) {
		t.Errorf("bound twice: %v", err)
	}
}

// What an eviction says must be about the pod that its URL names.
func TestEvictionsRefused(t *testing.T) {
	client := serve(t)
	evictable(t, client, "p", corev1.PodRunning, true)
	const other = "name in URL does not match name in Eviction object"
	policy := metav1.DeletionPropagation("x")
	for _, test := range []struct {
		name string
		opts *metav1.DeleteOptions
		want string
	}{
		{"", nil, other},
		{"q", nil, other},
		{"p", &metav1.DeleteOptions{PropagationPolicy: &policy}, `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil"`},
		{"p", &metav1.DeleteOptions{DryRun: []string{"x"}}, `DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["x"]: supported values: "All"`},
		{"p", &metav1.DeleteOptions{IgnoreStoreReadErrorWithClusterBreakingPotential: ptr.To(true)}, `Eviction.policy "p" is invalid: deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: can not be set for pod eviction, try after removing the option`},
	} {
		err := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("eviction").
			Body(&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: test.name}, DeleteOptions: test.opts}).Do(t.Context()).Error()
		if err == nil || err.Error() != test.want {
			t.Errorf("%q, %+v: %v, want %s", test.name, test.opts, err, test.want)
		}
	}
}
