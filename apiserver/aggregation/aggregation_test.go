package aggregation_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	clientset "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/aggregation"
	"github.com/strake-io/strake/apiserver/openapi"
	builtin "github.com/strake-io/strake/apiserver/resources"
	"github.com/strake-io/strake/internal/pki"
	"github.com/strake-io/strake/store/memory"
)

// world is a server that aggregates, before an HTTP listener.
type world struct {
	t          *testing.T
	server     *apiserver.Server
	url        string
	client     kubernetes.Interface
	services   clientset.APIServiceInterface
	frontProxy *pki.Authority
	// address is where everything that is dialled is.
	address func() string
}

func start(t *testing.T) *world {
	t.Helper()
	store, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := builtin.BuiltIn(builtin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{user.SystemPrivilegedGroup}, Extra: map[string][]string{"scopes": {"some"}}}
	w := &world{t: t}
	w.server, err = apiserver.New(apiserver.Config{
		Store: store, Resources: all, OpenAPI: openapi.New(openapi.Config{}),
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: alice}, true, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	config := w.server.RESTConfig(&user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}})
	w.client = kubernetes.NewForConfigOrDie(config)
	w.services = clientset.NewForConfigOrDie(config).APIServices()
	if w.frontProxy, err = pki.New("front-proxy-ca", time.Now()); err != nil {
		t.Fatal(err)
	}
	aggregator, err := aggregation.New(aggregation.Config{
		Server: w.server, Client: w.services,
		Certificate: w.frontProxy.Renew(pki.Request{CommonName: "front-proxy-client"}, time.Now).GetClientCertificate,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.address())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, aggregated := make(chan error, 1), make(chan error, 1)
	go func() { served <- w.server.Run(ctx) }()
	<-w.server.Ready()
	managed, stop := context.WithCancel(ctx)
	go func() { aggregated <- aggregator.Run(managed) }()
	<-aggregator.Ready()
	front := httptest.NewServer(w.server)
	w.url = front.URL
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		stop()
		if err := <-aggregated; err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// eventually waits until what is true.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) get(path, accept string) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("X-Remote-User", "mallory")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// available is the condition of an APIService: status, reason and message.
func (w *world) available(name string) string {
	w.t.Helper()
	s, err := w.services.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	for _, c := range s.Status.Conditions {
		if c.Type == apiregistrationv1.Available {
			return fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
	}
	return "none"
}

func (w *world) becomes(name, want string) {
	w.t.Helper()
	w.eventually(name+" is "+want+", not "+w.available(name), func() bool { return strings.HasPrefix(w.available(name), want) })
}

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const metrics = "v1beta1.metrics.k8s.io"

func (w *world) register(e *extension) {
	w.t.Helper()
	w.address = func() string { return e.Listener.Addr().String() }
	w.must(w.services.Create(w.t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: metrics},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.k8s.io", Version: "v1beta1", GroupPriorityMinimum: 100, VersionPriority: 100, CABundle: e.ca.PEM(),
			Service: &apiregistrationv1.ServiceReference{Namespace: "monitoring", Name: "metrics"},
		},
	}, metav1.CreateOptions{}))
}

// serviceExists makes the service, and endpoints that are ready.
func (w *world) serviceExists() {
	w.t.Helper()
	ctx := w.t.Context()
	w.must(w.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "monitoring"}}, metav1.CreateOptions{}))
	w.must(w.client.CoreV1().Services("monitoring").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}, metav1.CreateOptions{}))
	w.becomes(metrics, `False EndpointsNotFound cannot find endpointslices for service/metrics in "monitoring"`)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "metrics-1", Labels: map[string]string{discoveryv1.LabelServiceName: "metrics"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To[int32](4443)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}}},
	}
	made, err := w.client.DiscoveryV1().EndpointSlices("monitoring").Create(ctx, slice, metav1.CreateOptions{})
	w.must(made, err)
	w.becomes(metrics, `False MissingEndpoints endpointslices for service/metrics in "monitoring" have no addresses with port name "https"`)
	made.Endpoints[0].Conditions.Ready = ptr.To(true)
	w.must(w.client.DiscoveryV1().EndpointSlices("monitoring").Update(ctx, made, metav1.UpdateOptions{}))
}

// freshness of the group version in aggregated discovery; "" where it is not there.
func (w *world) freshness() string {
	w.t.Helper()
	_, _, body := w.get("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Versions []struct {
				Freshness string
				Resources []struct{ Resource string }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		w.t.Fatal(err)
	}
	for _, g := range list.Items {
		if g.Metadata.Name == "metrics.k8s.io" {
			return fmt.Sprint(g.Versions[0].Freshness, g.Versions[0].Resources)
		}
	}
	return ""
}

func TestAnotherServer(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprintf("legacy=%v", legacy), func(t *testing.T) { testAnotherServer(t, legacy) })
	}
}

func testAnotherServer(t *testing.T, legacy bool) {
	w := start(t)
	e := newExtension(t, w.frontProxy)
	e.set(func(e *extension) { e.legacy = legacy })
	w.register(e)
	w.becomes(metrics, `False ServiceNotFound service/metrics in "monitoring" is not present`)
	if code, _, body := w.get("/apis/metrics.k8s.io/v1beta1/nodes", "*/*"); code != 503 || body != "service unavailable\n" {
		t.Errorf("unavailable: %d %q", code, body)
	}
	if got := w.freshness(); got != "Stale[]" {
		t.Errorf("discovery before it was ever there: %q", got)
	}
	w.serviceExists()
	w.becomes(metrics, "True Passed all checks passed")
	w.eventually("discovery is current", func() bool { return w.freshness() == "Current[{nodes} {pods}]" })

	code, header, body := w.get("/apis/metrics.k8s.io/v1beta1/nodes?limit=5", "application/json")
	if code != 200 || !strings.Contains(body, `"NodeMetricsList"`) || len(header.Values("Audit-Id")) != 1 {
		t.Errorf("list: %d %v %q", code, header, body)
	}
	if want := "GET /apis/metrics.k8s.io/v1beta1/nodes?limit=5 alice[system:masters] [some]"; !slices.Contains(e.seen(), want) {
		t.Errorf("the other server saw %q", e.seen())
	}
	for _, path := range []string{"/apis", "/apis/metrics.k8s.io"} {
		if _, _, body := w.get(path, "application/json"); !strings.Contains(body, `"metrics.k8s.io/v1beta1"`) {
			t.Errorf("%s: %s", path, body)
		}
	}
	if _, _, body := w.get("/apis/metrics.k8s.io/v1beta1", "application/json"); !strings.Contains(body, `"NodeMetrics"`) {
		t.Errorf("resources: %s", body)
	}
	found, err := discovery.ServerPreferredResources(w.client.Discovery())
	if err != nil || !slices.ContainsFunc(found, func(l *metav1.APIResourceList) bool { return l.GroupVersion == "metrics.k8s.io/v1beta1" }) {
		t.Errorf("client-go's discovery: %v", err)
	}
	w.eventually("openapi has the other server's", func() bool {
		_, _, index := w.get("/openapi/v3", "application/json")
		_, _, v2 := w.get("/openapi/v2", "application/json")
		return strings.Contains(index, `/openapi/v3/apis/metrics.k8s.io/v1beta1?hash=`) &&
			strings.Contains(v2, "listMetricsV1beta1Node") && strings.Contains(v2, "NodeMetricsList") && !strings.Contains(v2, "/apis/other/v1") &&
			strings.Contains(v2, "/api/v1/namespaces/{namespace}/pods")
	})
	if code, _, body := w.get("/openapi/v3/apis/metrics.k8s.io/v1beta1", "application/json"); code != 200 || !strings.Contains(body, `"metrics"`) && !legacy || !strings.Contains(body, `"openapi":"3.0.0"`) {
		t.Errorf("openapi v3: %d %s", code, body)
	}

	e.set(func(e *extension) { e.down = true })
	w.must(w.client.CoreV1().Services("monitoring").Patch(t.Context(), "metrics", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"look":"again"}}}`), metav1.PatchOptions{}))
	w.becomes(metrics, "False FailedDiscoveryCheck failing or missing response from https://10.0.0.9:4443/apis/metrics.k8s.io/v1beta1: bad status from https://10.0.0.9:4443/apis/metrics.k8s.io/v1beta1: 500")
	if code, _, _ := w.get("/apis/metrics.k8s.io/v1beta1/nodes", "*/*"); code != 503 {
		t.Errorf("down: %d", code)
	}
	w.eventually("discovery is stale and complete", func() bool { return w.freshness() == "Stale[{nodes} {pods}]" })
	e.set(func(e *extension) { e.down = false })
	w.becomes(metrics, "True Passed")
	w.eventually("discovery is current again", func() bool { return w.freshness() == "Current[{nodes} {pods}]" })

	if err := w.services.Delete(t.Context(), metrics, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is gone", func() bool {
		code, _, _ := w.get("/apis/metrics.k8s.io/v1beta1/nodes", "*/*")
		return code == 404 && w.freshness() == ""
	})
}

func TestStreams(t *testing.T) {
	w := start(t)
	e := newExtension(t, w.frontProxy)
	w.register(e)
	w.eventually("it is seen", func() bool { return w.available(metrics) != "none" })
	w.serviceExists()
	w.becomes(metrics, "True")

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/apis/metrics.k8s.io/v1beta1/nodes?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for _, event := range []string{`{"type":"ADDED"}`, `{"type":"DELETED"}`} {
		e.events <- event
		if !lines.Scan() || lines.Text() != event {
			t.Fatalf("watch: %q, want %q", lines.Text(), event)
		}
	}
	cancel()
	resp.Body.Close()

	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /apis/metrics.k8s.io/v1beta1/nodes/n/proxy HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: twice\r\n\r\n")
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != "twice" {
		t.Fatalf("upgrade: %v %v", answer, err)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := r.ReadString('\n'); err != nil || line != "hello hello\n" {
		t.Errorf("upgraded: %q %v", line, err)
	}
}

// Another server may take the place of a group version that this one has, and give
// it back.
func TestPrecedence(t *testing.T) {
	w := start(t)
	e := newExtension(t, w.frontProxy)
	w.address = func() string { return e.Listener.Addr().String() }
	w.becomes("v1.apps", "True Local Local APIServices are always available")
	s, err := w.services.Get(t.Context(), "v1.apps", metav1.GetOptions{})
	w.must(s, err)
	if s.Labels["kube-aggregator.kubernetes.io/automanaged"] != "onstart" || s.Spec.GroupPriorityMinimum != 17800 || s.Spec.VersionPriority != 15 {
		t.Errorf("v1.apps: %+v", s)
	}
	s.Spec.Service = &apiregistrationv1.ServiceReference{Namespace: "monitoring", Name: "metrics"}
	s.Spec.InsecureSkipTLSVerify = true
	s, err = w.services.Update(t.Context(), s, metav1.UpdateOptions{})
	w.must(s, err)
	w.becomes("v1.apps", "False ServiceNotFound")
	if code, _, _ := w.get("/apis/apps/v1/deployments", "*/*"); code != 503 {
		t.Errorf("deployments: %d", code)
	}
	s, err = w.services.Get(t.Context(), "v1.apps", metav1.GetOptions{})
	w.must(s, err)
	s.Spec.Service, s.Spec.InsecureSkipTLSVerify = nil, false
	w.must(w.services.Update(t.Context(), s, metav1.UpdateOptions{}))
	w.becomes("v1.apps", "True Local")
	if code, _, _ := w.get("/apis/apps/v1/deployments", "*/*"); code != 200 {
		t.Errorf("deployments: %d", code)
	}
}

// Nobody can lock a server out of its own APIServices.
func TestAPIServicesStayHere(t *testing.T) {
	w := start(t)
	w.must(w.services.Create(t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.apiregistration.k8s.io"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "apiregistration.k8s.io", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "monitoring", Name: "metrics"},
		},
	}, metav1.CreateOptions{}))
	// What comes later has been acted on only when that has been seen.
	w.address = func() string { return "" }
	w.must(w.services.Create(t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: metrics},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.k8s.io", Version: "v1beta1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "monitoring", Name: "metrics"},
		},
	}, metav1.CreateOptions{}))
	w.becomes(metrics, "False ServiceNotFound")
	if code, _, _ := w.get("/apis/apiregistration.k8s.io/v1/apiservices", "*/*"); code != 200 {
		t.Errorf("APIServices: %d", code)
	}
}
