package strake

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/authn/tokens"
)

// Components that run as processes of their own have the rights of their roles, with
// the roles of the cluster as with an authoriser of the host's that knows nothing of
// them; nodes have those of the pods that are on them.
func TestIdentities(t *testing.T) {
	nobody := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionNoOpinion, "", nil
	})
	for name, host := range map[string]authorizer.Authorizer{"roles": nil, "host": nobody} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { identities(t, host) })
		})
	}
}

func identities(t *testing.T, host authorizer.Authorizer) {
	plane, err := NewControlPlane(ControlPlaneConfig{Authorizer: host})
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, plane.Run, plane.Ready())
	defer stop()
	as := func(name string, groups ...string) kubernetes.Interface {
		client, err := kubernetes.NewForConfig(plane.RESTConfig(&user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}))
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	ctx, admin := t.Context(), plane.Client().CoreV1()
	for _, name := range []string{"used", "other"} {
		if _, err := admin.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait() // until the namespace has its service account
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
		NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "used"}}}},
	}}
	if pod, err = admin.Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until it is known that the pod is on the node

	node, scheduler, proxy := as("system:node:n1", user.NodesGroup), as(user.KubeScheduler), as(user.KubeProxy)
	get, list := metav1.GetOptions{}, metav1.ListOptions{}
	token := func(bound *authenticationv1.BoundObjectReference) error {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound, ExpirationSeconds: ptr.To[int64](3600)}}
		_, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", request, metav1.CreateOptions{})
		return err
	}
	for what, do := range map[string]func() error{
		"the scheduler lists nodes": func() error { _, err := scheduler.CoreV1().Nodes().List(ctx, list); return err },
		"the proxy lists slices":    func() error { _, err := proxy.DiscoveryV1().EndpointSlices("").List(ctx, list); return err },
		"a node reads its secret":   func() error { _, err := node.CoreV1().Secrets("default").Get(ctx, "used", get); return err },
		"a node follows its secret": func() error {
			_, err := node.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=used"})
			return err
		},
		"a node lists its pods": func() error {
			_, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"})
			return err
		},
		"a node has a token for a pod": func() error {
			return token(&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: pod.UID})
		},
	} {
		if err := do(); err != nil && !(strings.Contains(what, "token") && strings.Contains(err.Error(), "audience")) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for want, do := range map[string]func() error{
		`User "system:kube-scheduler" cannot get resource "secrets" in API group "" in the namespace "default"`: func() error {
			_, err := scheduler.CoreV1().Secrets("default").Get(ctx, "used", get)
			return err
		},
		"in the namespace \"default\": node: no relationship found between node 'n1' and this object": func() error {
			_, err := node.CoreV1().Secrets("default").Get(ctx, "other", get)
			return err
		},
		"node: can only list/watch pods with spec.nodeName field selector": func() error {
			_, err := node.CoreV1().Pods("").List(ctx, list)
			return err
		},
		`cannot list resource "endpointslices"`:   func() error { _, err := node.DiscoveryV1().EndpointSlices("").List(ctx, list); return err },
		"node requested token not bound to a pod": func() error { return token(nil) },
		"node 'n1' cannot read 'n2', only its own Node object": func() error {
			_, err := node.CoreV1().Nodes().Get(ctx, "n2", get)
			return err
		},
	} {
		if err := do(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A node may read what a pod of its refers to from the moment at which it can see the
// pod.
func TestNodesReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, err := NewControlPlane(ControlPlaneConfig{})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, plane.Run, plane.Ready())
		defer stop()
		node, err := kubernetes.NewForConfig(plane.RESTConfig(&user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup, user.AllAuthenticated}}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, admin := t.Context(), plane.Client().CoreV1()
		synctest.Wait() // until the namespace has its service account
		for i := range 100 {
			name := fmt.Sprintf("p%d", i)
			if _, err := admin.ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
				NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}},
				Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}},
			}}
			if _, err := admin.Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := node.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
				t.Fatalf("the node of pod %d: %v", i, err)
			}
		}
	})
}

// The config map by which a controller manager cleans up unused tokens is there, and
// comes back.
func TestTokenTracking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, err := NewControlPlane(ControlPlaneConfig{})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, plane.Run, plane.Ready())
		defer stop()
		maps := plane.Client().CoreV1().ConfigMaps(metav1.NamespaceSystem)
		since := func() string {
			m, err := maps.Get(t.Context(), tokenTracking, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return m.Data[tokenTrackingSince]
		}
		if since() != time.Now().UTC().Format(time.DateOnly) {
			t.Errorf("since %q", since())
		}
		if err := maps.Delete(t.Context(), tokenTracking, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * repairInterval)
		if since() == "" {
			t.Error("it does not come back")
		}
	})
}

// A secret made for a token of an account gets one, which is good until the secret
// goes, and it goes with the account.
func TestTokensInSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, err := NewControlPlane(ControlPlaneConfig{RootCA: []byte("PEM")})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, plane.Run, plane.Ready())
		defer stop()
		ctx, api := t.Context(), plane.Client().CoreV1()
		if _, err := api.ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		made := &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, ObjectMeta: metav1.ObjectMeta{
			Name: "robot-token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"},
		}}
		if _, err := api.Secrets("default").Create(ctx, made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		secret, err := api.Secrets("default").Get(ctx, "robot-token", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		token := string(secret.Data["token"])
		if token == "" || string(secret.Data["ca.crt"]) != "PEM" || string(secret.Data["namespace"]) != "default" || secret.Annotations[corev1.ServiceAccountUIDKey] == "" {
			t.Fatalf("%v", secret)
		}
		review := func() authenticationv1.TokenReviewStatus {
			r, err := plane.Client().AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return r.Status
		}
		if s := review(); !s.Authenticated || s.User.Username != "system:serviceaccount:default:robot" {
			t.Errorf("%+v", s)
		}
		if secret, err = api.Secrets("default").Get(ctx, "robot-token", metav1.GetOptions{}); err != nil || secret.Labels[tokens.LastUsedLabel] != time.Now().UTC().Format(time.DateOnly) {
			t.Errorf("%v, %v", secret.Labels, err)
		}
		if err := api.ServiceAccounts("default").Delete(ctx, "robot", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := api.Secrets("default").Get(ctx, "robot-token", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the secret outlives the account: %v", err)
		}
		if s := review(); s.Authenticated {
			t.Error("the token outlives its secret")
		}
	})
}

// A node that is new comes with a token that stands in a secret, where the host wants
// that, and may ask for a certificate once a role says so.
func TestBootstrapTokens(t *testing.T) {
	for _, believed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) { bootstrapTokens(t, believed) })
	}
}

func bootstrapTokens(t *testing.T, believed bool) {
	plane, err := NewControlPlane(ControlPlaneConfig{BootstrapTokens: believed})
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, plane.Run, plane.Ready())
	defer stop()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abc123"}, Type: corev1.SecretTypeBootstrapToken, StringData: map[string]string{
		"token-id": "abc123", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
	}}
	if _, err := plane.Client().CoreV1().Secrets("kube-system").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer abc123.0123456789abcdef")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		plane.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	who := func() (int, string) {
		return ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`)
	}
	requests := func() int {
		code, _ := ask("GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests", "")
		return code
	}
	if !believed {
		// Nobody at all knows bearer tokens then, and who comes is anonymous.
		if code, body := who(); strings.Contains(body, "system:bootstrap:") {
			t.Errorf("believed: %d %s", code, body)
		}
		return
	}
	if code, body := who(); code != 201 || !strings.Contains(body, `"userInfo":{"username":"system:bootstrap:abc123","groups":["system:bootstrappers","system:authenticated"]}`) {
		t.Errorf("%d %s", code, body)
	}
	if code := requests(); code != 403 {
		t.Errorf("without a role: %d", code)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node-bootstrapper"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:bootstrappers"}},
	}
	if _, err := plane.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until the role is known
	if code := requests(); code != 200 {
		t.Errorf("with a role: %d", code)
	}
	if err := plane.Client().CoreV1().Secrets("kube-system").Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, body := who(); strings.Contains(body, "system:bootstrap:") {
		t.Errorf("believed without a secret: %d %s", code, body)
	}
}
