package apiserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/authn"
)

func TestOverTLS(t *testing.T) {
	pool := x509.NewCertPool()
	s := start(t, func(c *apiserver.Config) {
		c.Authenticator = authn.New(authn.Config{ClientCAs: pool, Tokens: map[string]user.Info{
			"secret": &user.DefaultInfo{Name: "root", Groups: []string{user.SystemPrivilegedGroup}},
			"weak":   &user.DefaultInfo{Name: "alice"},
		}})
	})
	host := httptest.NewUnstartedServer(s)
	host.EnableHTTP2 = true
	host.StartTLS()
	defer host.Close()
	ca := host.Certificate()
	config := func(token string) *rest.Config {
		return &rest.Config{Host: host.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		}}
	}
	get := func(token, path string) (int, metav1.Status) {
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		r, _ := http.NewRequestWithContext(t.Context(), "GET", host.URL+path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		defer c.CloseIdleConnections()
		response, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var status metav1.Status
		_ = json.NewDecoder(response.Body).Decode(&status)
		return response.StatusCode, status
	}
	for _, test := range []struct {
		token, path string
		code        int
		message     string
	}{
		{"", "/healthz", 200, ""},
		{"", "/readyz", 200, ""},
		{"", "/version", 200, ""},
		{"", "/api", 403, `forbidden: User "system:anonymous" cannot get path "/api"`},
		{"", "/metrics", 403, `forbidden: User "system:anonymous" cannot get path "/metrics"`},
		{"", "/api/v1/pods", 403, `pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope`},
		{"wrong", "/healthz", 401, "Unauthorized"},
		{"weak", "/apis", 200, ""},
		{"weak", "/api/v1/namespaces/default/pods", 403, `pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"`},
		{"weak", "/apis/apps/v1/namespaces/default/deployments/d/scale", 403, `deployments.apps "d" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "default"`},
		{"secret", "/api/v1/pods", 200, ""},
		{"secret", "/metrics", 200, ""},
		{"secret", "/metrics/slis", 200, ""},
		{"secret", "/metrics/x", 404, ""},
		{"secret", "/nothing", 404, ""},
		{"secret", "/apis/none/v1/x", 404, ""},
	} {
		code, status := get(test.token, test.path)
		if code != test.code || status.Message != test.message {
			t.Errorf("%q %s: %d %q, want %d %q", test.token, test.path, code, status.Message, test.code, test.message)
		}
	}
	c, err := kubernetes.NewForConfig(config("secret"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "ADDED", "n")
	version, err := c.Discovery().ServerVersion()
	if err != nil || version.Major != "1" || version.Minor != "37" {
		t.Errorf("version: %v, %v", version, err)
	}
	_, lists, err := c.Discovery().ServerGroupsAndResources()
	if err != nil || len(lists) != 2 {
		t.Errorf("discovery: %v, %v", lists, err)
	}
}

func TestDiscoveryDocuments(t *testing.T) {
	s := start(t)
	code, _, data := do(t, s, "GET", "/api/v1", "")
	var list metav1.APIResourceList
	if err := json.Unmarshal(data, &list); err != nil || code != 200 || list.GroupVersion != "v1" {
		t.Fatalf("%d %s", code, data)
	}
	kinds := map[string]string{}
	for _, r := range list.APIResources {
		kinds[r.Name] = r.Kind
	}
	if kinds["pods"] != "Pod" || kinds["pods/eviction"] != "Eviction" || kinds["pods/status"] != "Pod" {
		t.Errorf("resources: %v", kinds)
	}
	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
	code, header, data := do(t, s, "GET", "/apis", "", "Accept", aggregated)
	if code != 200 || !strings.Contains(string(data), `"subresource":"scale"`) || header.Get("ETag") == "" {
		t.Errorf("aggregated: %d %v %s", code, header, data)
	}
	if code, _, _ = do(t, s, "GET", "/apis", "", "Accept", aggregated, "If-None-Match", header.Get("ETag")); code != 304 {
		t.Errorf("not modified: %d", code)
	}
	if code, _, data = do(t, s, "GET", "/apis/apps", ""); code != 200 || !strings.Contains(string(data), `"kind":"APIGroup"`) {
		t.Errorf("group: %d %s", code, data)
	}
	if code, _, data = do(t, s, "GET", "/readyz?verbose", ""); code != 200 || !strings.HasSuffix(string(data), "readyz check passed\n") {
		t.Errorf("readyz: %d %s", code, data)
	}
	if code, _, _ = do(t, s, "PUT", "/api/v1/namespaces/default/pods", "{}"); code != 405 {
		t.Errorf("PUT on a collection: %d", code)
	}
	if code, _, _ = do(t, s, "POST", "/api/v1/pods", "{}"); code != 405 {
		t.Errorf("POST without a namespace: %d", code)
	}
	if code, _, _ = do(t, s, "GET", "/api/v1/namespaces/default/pods/p/nothing", ""); code != 404 {
		t.Errorf("an unknown sub-resource: %d", code)
	}
}

func TestImpersonation(t *testing.T) {
	s := start(t)
	code, _, data := do(t, s, "GET", "/api/v1/pods", "", "Impersonate-User", "alice")
	if code != 403 || !strings.Contains(string(data), `User \"alice\" cannot list`) {
		t.Errorf("as alice: %d %s", code, data)
	}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}
	if code, _, data = doAs(t, s, alice, "GET", "/api/v1", "", "Impersonate-User", "admin", "Impersonate-Group", "system:masters"); code != 403 {
		t.Errorf("alice as admin: %d %s", code, data)
	}
}

type plugin struct{}

func (plugin) Name() string { return "test" }

func (plugin) Admit(_ context.Context, a *admission.Attributes) error {
	if p, ok := a.Object.(*corev1.Pod); ok && a.Operation == admission.Create {
		p.Labels = map[string]string{"admitted": "yes"}
	}
	return nil
}

func (plugin) Validate(_ context.Context, a *admission.Attributes) error {
	if a.Operation == admission.Delete && a.Old.(*corev1.Pod).Name == "kept" {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, context.Canceled)
	}
	return nil
}

func TestAdmission(t *testing.T) {
	s := start(t, func(c *apiserver.Config) { c.Admission = []admission.Plugin{plugin{}} })
	c := client(t, s).CoreV1().Pods("default")
	got, err := c.Create(t.Context(), pod("kept"), metav1.CreateOptions{})
	if err != nil || got.Labels["admitted"] != "yes" {
		t.Errorf("mutated: %v, %v", got, err)
	}
	if err := c.Delete(t.Context(), "kept", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("refused: %v", err)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	s := start(t, func(c *apiserver.Config) {
		for _, r := range c.Resources {
			if r.Plural == "configmaps" {
				r.Warnings = func(_, _ runtime.Object) []string { panic("a strategy's mistake") }
			}
		}
	})
	clientWithNamespace(t, s)
	code, _, data := do(t, s, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"m"}}`)
	if code != 500 || !strings.Contains(string(data), "panic") {
		t.Errorf("%d %s", code, data)
	}
}
