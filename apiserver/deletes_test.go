package apiserver_test

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestDeleteAnswers(t *testing.T) {
	s, _ := withPods(t, 1)
	code, _, data := do(t, s, "DELETE", "/api/v1/namespaces/default/pods/p00", "")
	var p corev1.Pod
	if err := json.Unmarshal(data, &p); err != nil || code != 200 || p.Kind != "Pod" || p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 30 {
		t.Errorf("graceful: %d %s", code, data)
	}
	code, _, data = do(t, s, "DELETE", "/api/v1/namespaces/default/pods/p00?gracePeriodSeconds=40", "")
	if err := json.Unmarshal(data, &p); err != nil || code != 200 || *p.DeletionGracePeriodSeconds != 30 {
		t.Errorf("a longer grace period: %d %s", code, data)
	}
	code, _, data = do(t, s, "DELETE", "/api/v1/namespaces/default/pods/p00", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":10}`)
	if err := json.Unmarshal(data, &p); err != nil || code != 200 || *p.DeletionGracePeriodSeconds != 10 {
		t.Errorf("a shorter grace period: %d %s", code, data)
	}
	code, _, data = do(t, s, "DELETE", "/api/v1/namespaces/default/pods/p00?gracePeriodSeconds=0", "")
	var last corev1.Pod
	if err := json.Unmarshal(data, &last); err != nil || code != 200 || last.Kind != "Pod" || last.UID != p.UID {
		t.Errorf("at once: %d %s", code, data)
	}
	if code, _, _ = do(t, s, "DELETE", "/api/v1/namespaces/default/pods/p00", ""); code != 404 {
		t.Errorf("gone: %d", code)
	}
	var made corev1.ConfigMap
	if _, _, data = do(t, s, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"c"}}`); json.Unmarshal(data, &made) != nil {
		t.Fatalf("%s", data)
	}
	code, _, data = do(t, s, "DELETE", "/api/v1/namespaces/default/configmaps/c", "")
	var status metav1.Status
	if err := json.Unmarshal(data, &status); err != nil || code != 200 || status.Status != "Success" || status.Details.Kind != "configmaps" || status.Details.UID != made.UID {
		t.Errorf("a kind that answers with a Status: %d %s", code, data)
	}
}

func TestDeleteRules(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().ConfigMaps("default")
	create := func(finalizers ...string) *corev1.ConfigMap {
		m, err := c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "m-", Finalizers: finalizers}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := create("example.com/hold")
	if err := c.Delete(t.Context(), m.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	held, err := c.Get(t.Context(), m.Name, metav1.GetOptions{})
	if err != nil || held.DeletionTimestamp == nil || *held.DeletionGracePeriodSeconds != 0 {
		t.Fatalf("held: %+v, %v", held, err)
	}
	held.Finalizers = nil
	if _, err = c.Update(t.Context(), held, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Get(t.Context(), m.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its last finalizer: %v", err)
	}

	for policy, want := range map[metav1.DeletionPropagation]string{metav1.DeletePropagationForeground: "foregroundDeletion", metav1.DeletePropagationOrphan: "orphan"} {
		m = create()
		if err = c.Delete(t.Context(), m.Name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			t.Fatal(err)
		}
		if m, err = c.Get(t.Context(), m.Name, metav1.GetOptions{}); err != nil || len(m.Finalizers) != 1 || m.Finalizers[0] != want {
			t.Errorf("%s: %v, %v", policy, m.Finalizers, err)
		}
	}

	m = create()
	wrong := types.UID("x")
	if err = c.Delete(t.Context(), m.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}}); !apierrors.IsConflict(err) {
		t.Errorf("wrong uid: %v", err)
	}
	if err = c.Delete(t.Context(), m.Name, metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Get(t.Context(), m.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("a dry run deleted: %v", err)
	}
	if err = c.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=" + m.Name}); err != nil {
		t.Fatal(err)
	}
	if list, err := c.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Errorf("after deletecollection of one: %d left, %v", len(list.Items), err)
	}
}

func TestNamespaceLifecycle(t *testing.T) {
	c := clientWithNamespace(t, start(t))
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "default", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) ||
		err.Error() != `namespaces "default" is forbidden: this namespace may not be deleted` {
		t.Errorf("the default namespace: %v", err)
	}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ns, err := c.CoreV1().Namespaces().Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil || ns.Status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("deleted: %+v, %v", ns, err)
	}
	p := pod("p")
	p.Namespace = "x"
	_, err = c.CoreV1().Pods("x").Create(t.Context(), p, metav1.CreateOptions{})
	want := `pods "p" is forbidden: unable to create new content in namespace x because it is being terminated`
	if err == nil || err.Error() != want || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	ns.Spec.Finalizers = nil
	if _, err = c.CoreV1().Namespaces().Finalize(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.CoreV1().Namespaces().Get(t.Context(), "x", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("finalized: %v", err)
	}
}
