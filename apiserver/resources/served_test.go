package resources_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/resources"
	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/store/memory"
)

// kubelets records what is asked of nodes, and answers with it.
type kubelets struct{}

func (kubelets) Kubelet(_ context.Context, node *corev1.Node, to core.KubeletRequest) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		name := node.Name
		if to.Port != "" {
			name = to.Scheme + ":" + name + ":" + to.Port
		}
		_, _ = w.Write([]byte(name + " " + to.Path + "?" + to.Query.Encode()))
	}), nil
}

func (kubelets) Forward(_ context.Context, to *url.URL) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(to.String())) }), nil
}

// serve runs an API server with all built-in resources on a memory store.
func serve(t *testing.T) kubernetes.Interface {
	t.Helper()
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := allocator.NewAddresses(allocator.AddressConfig{Store: s, CIDR: netip.MustParsePrefix("10.96.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	ports, err := allocator.NewPorts(allocator.PortConfig{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	all, err := resources.BuiltIn(resources.Config{
		Addresses: []*allocator.Addresses{pool}, Ports: ports, Nodes: kubelets{},
		Components: []core.Component{
			{Name: "scheduler", Healthy: func(context.Context) error { return nil }},
			{Name: "etcd-0", Healthy: func(context.Context) error { return errors.New("no quorum") }},
		},
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				return nil, false, errors.New("unknown token")
			}
			return &authenticator.Response{User: &user.DefaultInfo{Name: "bob"}}, true, nil
		}),
		Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetVerb() == "get" {
				return authorizer.DecisionAllow, "reading is free", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server, err := apiserver.New(apiserver.Config{Store: s, Resources: all})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	select {
	case <-server.Ready():
	case err := <-done:
		t.Fatalf("the server ended with %v before it was ready", err)
	}
	client, err := kubernetes.NewForConfig(server.RESTConfig(&user.DefaultInfo{Name: "alice", Groups: []string{"system:masters"}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"default"} {
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
	}
}

func TestPodLifeThroughTheServer(t *testing.T) {
	client, ctx := serve(t), t.Context()
	pods := client.CoreV1().Pods("default")
	pod, err := pods.Create(ctx, newPod("web"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.Phase != corev1.PodPending || pod.Status.QOSClass != corev1.PodQOSBestEffort || pod.Spec.ServiceAccountName != "default" || pod.Generation != 1 {
		t.Errorf("a new pod is %+v %+v", pod.Status, pod.Spec)
	}
	if body, err := pods.GetLogs("web", &corev1.PodLogOptions{}).DoRaw(ctx); err != nil || len(body) != 0 {
		t.Errorf("log of an unscheduled pod: %q, %v", body, err)
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if err := pods.Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = client.CoreV1().RESTClient().Post().Namespace("default").Resource("bindings").Body(binding).Do(ctx).Error()
	if want := `Operation cannot be fulfilled on pods/binding "web": pod web is already assigned to node "n1"`; err == nil || err.Error() != want || !apierrors.IsConflict(err) {
		t.Errorf("binding again: %v, want %s", err, want)
	}
	bound, err := pods.Get(ctx, "web", metav1.GetOptions{})
	if err != nil || bound.Spec.NodeName != "n1" || len(bound.Status.Conditions) != 1 || bound.Status.Conditions[0].Type != corev1.PodScheduled {
		t.Fatalf("bound: %v %+v", err, bound.Status)
	}
	list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1,status.phase=Pending"})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("pods of n1: %v, %v", list, err)
	}
	body, err := pods.GetLogs("web", &corev1.PodLogOptions{Follow: true, TailLines: ptr.To(int64(3))}).DoRaw(ctx)
	if want := "n1 /containerLogs/default/web/c?follow=true&tailLines=3"; err != nil || string(body) != want {
		t.Errorf("log: %q, %v, want %q", body, err, want)
	}
	_, err = pods.GetLogs("web", &corev1.PodLogOptions{Container: "x"}).Stream(ctx)
	if err == nil || err.Error() != "container x is not valid for pod web" {
		t.Errorf("log of an unknown container: %v", err)
	}
	if err := pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}); err != nil {
		t.Fatal(err)
	}
	gone, err := pods.Get(ctx, "web", metav1.GetOptions{})
	if err != nil || gone.DeletionTimestamp == nil || *gone.DeletionGracePeriodSeconds != 30 {
		t.Errorf("an evicted pod: %+v, %v", gone, err)
	}
}

func TestServiceThroughTheServer(t *testing.T) {
	client, ctx := serve(t), t.Context()
	services := client.CoreV1().Services("default")
	svc, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(svc.Spec.ClusterIP, "10.96.0.") || svc.Spec.Ports[0].NodePort < 30000 || svc.Spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("allocated %+v", svc.Spec)
	}
	ip, err := client.NetworkingV1().IPAddresses().Get(ctx, svc.Spec.ClusterIP, metav1.GetOptions{})
	if err != nil || ip.Spec.ParentRef.Name != "web" || ip.Labels["ipaddress.kubernetes.io/managed-by"] != "ipallocator.k8s.io" {
		t.Errorf("address object %+v, %v", ip, err)
	}
	_, err = services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Spec:       corev1.ServiceSpec{ClusterIP: svc.Spec.ClusterIP, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if want := "failed to allocate IP " + svc.Spec.ClusterIP + ": provided IP is already allocated"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a taken address: %v, want %s", err, want)
	}
	_, err = services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: svc.Spec.Ports[0].NodePort}}},
	}, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Errorf("a taken port: %v", err)
	}
	if err := services.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: svc.Spec.ClusterIP,
			Ports: []corev1.ServicePort{{Port: 80, NodePort: svc.Spec.Ports[0].NodePort}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("what a deleted service held is not free: %v", err)
	}
	// A type without an address gives everything back.
	again.Spec.Type, again.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.org"
	if again, err = services.Update(ctx, again, metav1.UpdateOptions{}); err != nil || again.Spec.ClusterIP != "" || again.Spec.Ports[0].NodePort != 0 {
		t.Fatalf("external: %+v, %v", again.Spec, err)
	}
	if _, err := client.NetworkingV1().IPAddresses().Get(ctx, svc.Spec.ClusterIP, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the address of an ExternalName service: %v", err)
	}
}

func TestEventsInBothGroups(t *testing.T) {
	client, ctx := serve(t), t.Context()
	_, err := client.EventsV1().Events("default").Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, EventTime: metav1.NowMicro(), Type: "Normal", Reason: "Seen", Action: "Look",
		ReportingController: "strake.io/test", ReportingInstance: "x", Note: "hello",
		Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "web"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=web"})
	if err != nil || len(got.Items) != 1 || got.Items[0].Message != "hello" || got.Items[0].InvolvedObject.Kind != "Pod" {
		t.Fatalf("core events: %+v, %v", got, err)
	}
	if _, err := client.CoreV1().Events("default").Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "old"}, Message: "older", InvolvedObject: corev1.ObjectReference{Namespace: "default", Name: "x"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e, err := client.EventsV1().Events("default").Get(ctx, "old", metav1.GetOptions{})
	if err != nil || e.Note != "older" || e.Regarding.Name != "x" {
		t.Errorf("the newer face of an older event: %+v, %v", e, err)
	}
}

func TestReviews(t *testing.T) {
	client, ctx := serve(t), t.Context()
	who, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || who.Status.UserInfo.Username != "alice" {
		t.Errorf("whoami: %+v, %v", who, err)
	}
	token, err := client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "secret"}}, metav1.CreateOptions{})
	if err != nil || !token.Status.Authenticated || token.Status.User.Username != "bob" {
		t.Errorf("token: %+v, %v", token, err)
	}
	token, err = client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "wrong"}}, metav1.CreateOptions{})
	if err != nil || token.Status.Authenticated || token.Status.Error != "unknown token" {
		t.Errorf("wrong token: %+v, %v", token, err)
	}
	can, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}},
	}, metav1.CreateOptions{})
	if err != nil || cmp.Diff(can.Status, authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "reading is free"}) != "" {
		t.Errorf("can-i: %+v, %v", can, err)
	}
	_, err = client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{}, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "exactly one of nonResourceAttributes or resourceAttributes must be specified") {
		t.Errorf("an empty review: %v", err)
	}
}

func TestScaleThroughTheServer(t *testing.T) {
	client, ctx := serve(t), t.Context()
	deployments := client.AppsV1().Deployments("default")
	d, err := deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: newPod("").Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil || d.Generation != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	scale, err := deployments.GetScale(ctx, "web", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 1 || scale.Status.Selector != "app=web" {
		t.Fatalf("scale %+v, %v", scale, err)
	}
	scale.Spec.Replicas = 10
	if _, err := deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if d, err = deployments.Get(ctx, "web", metav1.GetOptions{}); err != nil || *d.Spec.Replicas != 10 || d.Generation != 2 {
		t.Errorf("scaled %+v, %v", d, err)
	}
	scale.Spec.Replicas, scale.ResourceVersion = -1, ""
	_, err = deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{})
	if want := `Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0`; err == nil || err.Error() != want {
		t.Errorf("scaling below nothing: %v", err)
	}
}

// What a claim asks for may depend on its namespace.
func TestAdminAccessThroughTheServer(t *testing.T) {
	client, ctx := serve(t), t.Context()
	claims := client.ResourceV1().ResourceClaims("default")
	claim := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{
		Requests: []resourcev1.DeviceRequest{{Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AdminAccess: ptr.To(true)}}},
	}}}
	_, err := claims.Create(ctx, claim, metav1.CreateOptions{})
	if want := "ResourceClaim.resource.k8s.io \"c\" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	label := []byte(`{"metadata":{"labels":{"resource.kubernetes.io/admin-access":"true"}}}`)
	if _, err := client.CoreV1().Namespaces().Patch(ctx, "default", types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	created, err := claims.Create(ctx, claim, metav1.CreateOptions{})
	if err != nil || created.Spec.Devices.Requests[0].Exactly.Count != 1 {
		t.Fatalf("%+v, %v", created, err)
	}
	created.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{
		{Request: "r", Driver: "d.example.com", Pool: "p", Device: "d", AdminAccess: ptr.To(true)},
	}}}
	created.Labels = map[string]string{"not": "by status"}
	allocated, err := claims.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	if err != nil || allocated.Status.Allocation == nil || allocated.Labels != nil {
		t.Errorf("%+v, %v", allocated, err)
	}
}

// Component statuses are found out when they are asked for.
func TestComponentStatusesThroughTheServer(t *testing.T) {
	client, ctx := serve(t), t.Context()
	list, err := client.CoreV1().ComponentStatuses().List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 || list.Items[0].Conditions[0].Message != "ok" || list.Items[1].Conditions[0].Status != corev1.ConditionFalse {
		t.Errorf("%+v, %v", list, err)
	}
	list, err = client.CoreV1().ComponentStatuses().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=etcd-0"})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	one, err := client.CoreV1().ComponentStatuses().Get(ctx, "scheduler", metav1.GetOptions{})
	if err != nil || one.Name != "scheduler" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := client.CoreV1().ComponentStatuses().Get(ctx, "nobody", metav1.GetOptions{}); err == nil {
		t.Error("there is a component nobody")
	}
	if err := client.CoreV1().ComponentStatuses().Delete(ctx, "scheduler", metav1.DeleteOptions{}); !apierrors.IsMethodNotSupported(err) {
		t.Error(err)
	}
}

// The path after .../proxy goes on with the slash at its end, if it has one.
func TestProxiedPaths(t *testing.T) {
	client, ctx := serve(t), t.Context()
	if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":              "n1 /?",
		"/":             "n1 /?",
		"/pods":         "n1 /pods?",
		"/logs/":        "n1 /logs/?",
		"/logs/audit/":  "n1 /logs/audit/?",
		"/logs//audit/": "n1 /logs/audit/?",
	} {
		body, err := client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/n1/proxy" + path).DoRaw(ctx)
		if err != nil || string(body) != want {
			t.Errorf("%q: %q, %v, want %q", path, body, err, want)
		}
	}
	body, err := client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/https:n1:9100/proxy/x").DoRaw(ctx)
	if want := "https:n1:9100 /x?"; err != nil || string(body) != want {
		t.Errorf("another port: %q, %v, want %q", body, err, want)
	}
}
