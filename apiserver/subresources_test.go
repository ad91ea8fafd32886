package apiserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/apiserver/resource"
)

var podResource = schema.GroupResource{Resource: "pods"}

func bindPod(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
	_, err := objects.Update(ctx, req, podResource, req.Namespace, req.Name, func(o runtime.Object) error {
		p := o.(*corev1.Pod)
		if p.Spec.NodeName != "" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, p.Name, io.ErrClosedPipe)
		}
		p.Spec.NodeName = obj.(*corev1.Binding).Target.Name
		return nil
	})
	return &metav1.Status{Status: metav1.StatusSuccess}, err
}

func evictPod(ctx context.Context, req resource.Request, obj runtime.Object, objects resource.Objects) (runtime.Object, error) {
	_, err := objects.Delete(ctx, req, podResource, req.Namespace, req.Name, obj.(*policyv1.Eviction).DeleteOptions)
	return &metav1.Status{Status: metav1.StatusSuccess}, err
}

// echo upgrades to a protocol that sends back each line.
func echo(context.Context, resource.Request, resource.Objects) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString(line)
			_ = rw.Flush()
		}
	}), nil
}

func TestBindAndEvict(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().Pods("default")
	if _, err := c.Create(t.Context(), pod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if err := c.Bind(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Bind(t.Context(), binding, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("second binding: %v, want a conflict", err)
	}
	on, err := c.List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=n1"})
	if err != nil || len(on.Items) != 1 {
		t.Errorf("pods on n1: %v, %v", on, err)
	}
	if err := c.EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p"}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp == nil || *got.DeletionGracePeriodSeconds != 30 {
		t.Errorf("after eviction: %+v, %v", got.ObjectMeta, err)
	}
}

func TestStatusView(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().Pods("default")
	p, err := c.Create(t.Context(), pod("p"), metav1.CreateOptions{FieldManager: "me"})
	if err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = corev1.PodRunning
	p.Spec.NodeName = "elsewhere"
	got, err := c.UpdateStatus(t.Context(), p, metav1.UpdateOptions{FieldManager: "node"})
	if err != nil || got.Status.Phase != corev1.PodRunning || got.Spec.NodeName != "" {
		t.Fatalf("status update: %+v, %v", got, err)
	}
	var managers []string
	for _, m := range got.ManagedFields {
		managers = append(managers, m.Manager+"/"+m.Subresource)
	}
	if len(managers) != 2 || managers[0] != "me/" || managers[1] != "node/status" {
		t.Errorf("managers: %v", managers)
	}
	got.Status.Phase = corev1.PodFailed
	if got, err = c.Update(t.Context(), got, metav1.UpdateOptions{}); err != nil || got.Status.Phase != corev1.PodRunning {
		t.Errorf("the main endpoint changed the status: %v, %v", got.Status.Phase, err)
	}
}

func TestScale(t *testing.T) {
	c := clientWithNamespace(t, start(t)).AppsV1().Deployments("default")
	one := int32(1)
	if _, err := c.Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{Replicas: &one}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := c.GetScale(t.Context(), "d", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 1 {
		t.Fatalf("scale: %+v, %v", scale, err)
	}
	scale.Spec.Replicas = 3
	stale := scale.DeepCopy()
	if scale, err = c.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{}); err != nil || scale.Spec.Replicas != 3 {
		t.Fatalf("scale to 3: %+v, %v", scale, err)
	}
	stale.Spec.Replicas = 9
	if _, err = c.UpdateScale(t.Context(), "d", stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("stale scale: %v, want a conflict", err)
	}
	if _, err = c.Patch(t.Context(), "d", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{}, "scale"); err == nil {
		d, getErr := c.Get(t.Context(), "d", metav1.GetOptions{})
		if getErr != nil || *d.Spec.Replicas != 5 || d.Generation != 3 {
			t.Errorf("after patching scale: %+v, %v", d, getErr)
		}
	}
	scale.ResourceVersion, scale.Spec.Replicas = "", -1
	if _, err := c.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("negative scale: %v, want invalid", err)
	}
}

func TestApplyScale(t *testing.T) {
	c := clientWithNamespace(t, start(t)).AppsV1().Deployments("default")
	apply := func(subresource, by, patch string, force bool) error {
		_, err := c.Patch(t.Context(), "d", types.ApplyYAMLPatchType, []byte(patch),
			metav1.PatchOptions{FieldManager: by, Force: &force}, strings.Fields(subresource)...)
		return err
	}
	const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2}}`
	const scale = `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"d"},"spec":{"replicas":%d}}`
	if err := apply("", "owner", deployment, false); err != nil {
		t.Fatal(err)
	}
	err := apply("scale", "scaler", fmt.Sprintf(scale, 3), false)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "owner": .spec.replicas`) {
		t.Errorf("scale what another owns: %v, want a conflict", err)
	}
	if err := apply("scale", "scaler", fmt.Sprintf(scale, 2), false); err != nil {
		t.Errorf("scale to what it is: %v", err)
	}
	if err := apply("scale", "scaler", fmt.Sprintf(scale, 3), true); err != nil {
		t.Errorf("scale by force: %v", err)
	}
	d, err := c.Get(t.Context(), "d", metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas != 3 {
		t.Fatalf("after scaling: %+v, %v", d, err)
	}
	if m := d.ManagedFields; len(m) != 1 || m[0].Manager != "scaler" || m[0].Subresource != "scale" || m[0].APIVersion != "apps/v1" {
		t.Errorf("managers: %+v", m)
	}
	if err := apply("", "owner", deployment, false); !apierrors.IsConflict(err) {
		t.Errorf("apply what the scaler owns: %v, want a conflict", err)
	}
}

func TestUpgradeInProcess(t *testing.T) {
	s := start(t)
	c := clientWithNamespace(t, s)
	if _, err := c.CoreV1().Pods("default").Create(t.Context(), pod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/api/v1/namespaces/default/pods/p/exec", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	response, err := s.RESTConfig(admin).Transport.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", response, err)
	}
	stream := response.Body.(io.ReadWriteCloser)
	defer stream.Close()
	go func() { _, _ = io.WriteString(stream, "hello\n") }()
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil || line != "hello\n" {
		t.Errorf("echo: %q, %v", line, err)
	}
}
