package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/namespacelifecycle"
	"github.com/strake-io/strake/apiserver/admission/webhook"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/resources"
	client "github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/store/memory"
)

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}

// place is an API server with webhooks, and the webhooks' own server.
type place struct {
	kubernetes.Interface
	hooks *httptest.Server

	mu       sync.Mutex // guards what follows
	answers  map[string]func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse
	requests []admissionreview.AdmissionReview
	queries  []string
	said     []string
}

func (p *place) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, text)
}

// on answers the reviews that come to a path.
func (p *place) on(path string, answer func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers["/"+path] = answer
}

// take returns the reviews since the last time, and the warnings.
func (p *place) take() (reviews []admissionreview.AdmissionReview, said []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reviews, said = p.requests, p.said
	p.requests, p.said, p.queries = nil, nil, nil
	return reviews, said
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionreview.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.requests, p.queries = append(p.requests, review), append(p.queries, r.URL.RawQuery)
	answer := p.answers[r.URL.Path]
	p.mu.Unlock()
	if answer == nil {
		http.Error(w, "nobody here", http.StatusTeapot)
		return
	}
	response := answer(&review)
	if response == nil {
		// Say nothing until the caller gives up.
		<-r.Context().Done()
		return
	}
	if response.UID == "" {
		response.UID = review.Request.UID
	}
	// An encoder never fails on these types; a broken connection is the caller's error.
	_ = json.NewEncoder(w).Encode(admissionreview.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
}

func (p *place) caBundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.hooks.Certificate().Raw})
}

func serve(t testing.TB, before ...admission.Plugin) *place {
	t.Helper()
	st, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := resources.BuiltIn(resources.Config{})
	if err != nil {
		t.Fatal(err)
	}
	caller := client.New(client.Config{})
	config := webhook.Config{Caller: caller, Authorizer: authz.New()}
	s, err := apiserver.New(apiserver.Config{
		Store: st, Resources: all,
		Admission: append(before, namespacelifecycle.Plugin{}, webhook.NewMutating(config), webhook.NewValidating(config)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p := &place{answers: map[string]func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse{}}
	p.hooks = httptest.NewTLSServer(p)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		caller.Close()
		p.hooks.Close()
	})
	<-s.Ready()
	rc := rest.CopyConfig(s.RESTConfig(admin))
	rc.WarningHandlerWithContext = p
	rc.QPS = -1
	if p.Interface, err = kubernetes.NewForConfig(rc); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"tier": "gold"}}}
	if _, err := p.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return p
}

// hook is a webhook at a path, about all writes of config maps.
func (p *place) hook(path string) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: path + ".example.com", SideEffects: ptr.To(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		ClientConfig: admissionv1.WebhookClientConfig{URL: ptr.To(p.hooks.URL + "/" + path), CABundle: p.caBundle()},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.OperationAll},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"*"}, Resources: []string{"configmaps"}},
		}},
	}
}

func (p *place) mutate(t testing.TB, hooks ...admissionv1.MutatingWebhook) {
	t.Helper()
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Webhooks: hooks}
	if _, err := p.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.settle(t)
}

func (p *place) validate(t testing.TB, hooks ...admissionv1.MutatingWebhook) {
	t.Helper()
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "v"}}
	for _, h := range hooks {
		c.Webhooks = append(c.Webhooks, admissionv1.ValidatingWebhook{
			Name: h.Name, ClientConfig: h.ClientConfig, Rules: h.Rules, FailurePolicy: h.FailurePolicy, MatchPolicy: h.MatchPolicy,
			NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, SideEffects: h.SideEffects,
			TimeoutSeconds: h.TimeoutSeconds, AdmissionReviewVersions: h.AdmissionReviewVersions, MatchConditions: h.MatchConditions,
		})
	}
	if _, err := p.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.settle(t)
}

// settle waits until the server's own watch has seen what was written: a consistent
// read has waited for that.
func (p *place) settle(t testing.TB) {
	t.Helper()
	if _, err := p.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	p.take()
}

func (p *place) create(t testing.TB, name string, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"trail": ""}}
	return p.CoreV1().ConfigMaps("default").Create(t.Context(), cm, opts)
}

func allow(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
	return &admissionreview.AdmissionResponse{Allowed: true}
}

// answer gives a fixed response.
func answer(r admissionreview.AdmissionResponse) func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
	return func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
		return r.DeepCopy()
	}
}

// patch allows with a JSON patch.
func patch(text string) func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
	return answer(admissionreview.AdmissionResponse{Allowed: true, Patch: []byte(text), PatchType: ptr.To(admissionreview.PatchTypeJSONPatch)})
}

// mark appends a letter to the object's trail.
func mark(letter string) func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
	return func(r *admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
		var cm corev1.ConfigMap
		if err := json.Unmarshal(r.Request.Object.Raw, &cm); err != nil {
			return &admissionreview.AdmissionResponse{Result: &metav1.Status{Message: err.Error()}}
		}
		return patch(`[{"op":"replace","path":"/data/trail","value":"` + cm.Data["trail"] + letter + `"}]`)(r)
	}
}
