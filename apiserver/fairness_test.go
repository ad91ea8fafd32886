package apiserver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/resources/flowcontrol"
)

// crowded is a server over HTTP in which the user alice has one seat and one place to
// wait. A request for /slow takes until it is let go.
type crowded struct {
	server        *apiserver.Server
	url           string
	entered, free chan struct{}
	schema, level string // UIDs of hers
}

func (s *crowded) client(token string) *kubernetes.Clientset {
	return kubernetes.NewForConfigOrDie(&rest.Config{Host: s.url, BearerToken: token, QPS: -1})
}

// get answers with the status, the headers and the body.
func (s *crowded) get(t *testing.T, token, path string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return response.StatusCode, response.Header, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, response.Header, string(body)
}

func crowd(t *testing.T) *crowded {
	t.Helper()
	s := &crowded{entered: make(chan struct{}, 10), free: make(chan struct{})}
	server := start(t, func(c *apiserver.Config) {
		c.Resources = append(c.Resources, flowcontrol.Resources()...)
		c.MaxInFlight = 1 // each level has one seat, rounded up
		c.Authenticator = authn.New(authn.Config{Tokens: map[string]user.Info{
			"root": admin, "alice": &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}},
		}})
		system := authz.System()
		c.Authorizer = authz.Chain(system, authz.Named("alice", authorizer.AuthorizerFunc(
			func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
				if a.GetUser().GetName() == "alice" && a.GetResource() != "deployments" {
					return authorizer.DecisionAllow, "", nil
				}
				return authorizer.DecisionNoOpinion, "", nil
			})))
		c.Paths = map[string]http.Handler{"slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.entered <- struct{}{}
			select {
			case <-s.free:
			case <-r.Context().Done():
			}
		})}
	})
	clientWithNamespace(t, server)
	host := httptest.NewServer(server)
	t.Cleanup(host.Close)
	s.server, s.url = server, host.URL

	c := s.client("root").FlowcontrolV1()
	level, err := c.PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "narrow"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: ptr.To(int32(1)), BorrowingLimitPercent: ptr.To(int32(0)),
				LimitResponse: flowcontrolv1.LimitResponse{
					Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: &flowcontrolv1.QueuingConfiguration{Queues: 1, HandSize: 1, QueueLengthLimit: 1},
				},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := c.FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "alice"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "narrow"}, MatchingPrecedence: 500,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "alice"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ClusterScope: true, Namespaces: []string{"*"},
				}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.schema, s.level = string(schema.UID), string(level.UID)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, h, _ := s.get(t, "alice", "/version"); h.Get("X-Kubernetes-PF-FlowSchema-UID") == s.schema {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("the new schema does not take hold")
		}
	}
}

// hers says whether headers are those of alice's requests.
func (s *crowded) hers(h http.Header) bool {
	return h.Get("X-Kubernetes-PF-FlowSchema-UID") == s.schema && h.Get("X-Kubernetes-PF-PriorityLevel-UID") == s.level
}

func TestPriorityAndFairness(t *testing.T) {
	s := crowd(t)
	answers := make(chan int, 2)
	slow := func() {
		code, h, _ := s.get(t, "alice", "/slow")
		if !s.hers(h) {
			t.Errorf("headers %v", h)
		}
		answers <- code
	}
	go slow()
	<-s.entered
	go slow()
	waiting := func() bool {
		_, _, metrics := s.get(t, "root", "/metrics")
		return strings.Contains(metrics, `apiserver_flowcontrol_current_inqueue_requests{flow_schema="alice",priority_level="narrow"} 1`)
	}
	for deadline := time.Now().Add(10 * time.Second); !waiting(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the second request does not wait")
		}
	}

	// The seat is taken, and so is the place to wait.
	for _, path := range []string{"/api/v1/namespaces/default/pods", "/api", "/api/v1/pods?watch=1"} {
		code, h, body := s.get(t, "alice", path)
		if code != http.StatusTooManyRequests || body != "Too many requests, please try again later.\n" ||
			h.Get("Retry-After") != "1" || h.Get("Content-Type") != "text/plain; charset=utf-8" || !s.hers(h) {
			t.Errorf("%s: %d %q %v", path, code, body, h)
		}
	}
	// Administrators are not held up; clients in this process and connections take no
	// seat.
	for range 20 {
		code, h, _ := s.get(t, "root", "/api/v1/namespaces/default/pods")
		if _, told := h["X-Kubernetes-Pf-Flowschema-Uid"]; code != http.StatusOK || !told || s.hers(h) {
			t.Fatalf("%d %v", code, h)
		}
	}
	inside, err := s.server.RESTConfig(&user.DefaultInfo{Name: "alice"}).Transport.RoundTrip(
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/namespaces/default/pods", nil))
	if err != nil || inside.StatusCode != http.StatusOK || !s.hers(inside.Header) {
		t.Errorf("in this process: %+v %v", inside, err)
	} else {
		_ = inside.Body.Close()
	}
	if code, h, _ := s.get(t, "alice", "/api/v1/namespaces/default/pods/p/exec"); code != http.StatusSwitchingProtocols || h["X-Kubernetes-Pf-Flowschema-Uid"] != nil {
		t.Errorf("exec: %d %v", code, h)
	}
	// The endpoints for debugging know of both.
	_, _, dump := s.get(t, "root", "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1")
	if n := strings.Count(dump, "/slow"); n != 2 {
		t.Errorf("%d requests in %s", n, dump)
	}
	_, _, dump = s.get(t, "root", "/debug/api_priority_and_fairness/dump_priority_levels")
	if !strings.Contains(strings.Join(strings.Fields(dump), ""), "narrow,1,false,false,1,1,") {
		t.Error(dump)
	}

	close(s.free)
	for range 2 {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("%d after waiting", code)
		}
	}
	_, _, metrics := s.get(t, "root", "/metrics")
	for _, want := range []string{
		`apiserver_flowcontrol_rejected_requests_total{flow_schema="alice",priority_level="narrow",reason="queue-full"} 3`,
		`apiserver_flowcontrol_current_executing_requests{flow_schema="alice",priority_level="narrow"} 0`,
		`apiserver_flowcontrol_nominal_limit_seats{priority_level="narrow"} 1`,
		`apiserver_flowcontrol_request_wait_duration_seconds_count{execute="false",flow_schema="alice",priority_level="narrow"} 3`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
}

// A watch takes its seat only while it begins; what is forbidden has been classified
// too, and is done with its seat.
func TestWatchesKeepNoSeat(t *testing.T) {
	s := crowd(t)
	c := s.client("alice").CoreV1().Pods("default")
	for range 3 {
		w, err := c.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	if code, h, _ := s.get(t, "alice", "/apis/apps/v1/deployments"); code != http.StatusForbidden || !s.hers(h) {
		t.Errorf("%d %v", code, h)
	}
	if _, err := c.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
}

// A queued request leaves after a quarter of its time.
func TestWaitsForAQuarterOfItsTime(t *testing.T) {
	s := crowd(t)
	ended := make(chan struct{})
	go func() { defer close(ended); s.get(t, "alice", "/slow") }()
	<-s.entered
	defer func() { close(s.free); <-ended }()
	begun := time.Now()
	code, _, _ := s.get(t, "alice", "/api/v1/pods?timeout=2s")
	if took := time.Since(begun); code != http.StatusTooManyRequests || took < 500*time.Millisecond || took > 1900*time.Millisecond {
		t.Errorf("%d after %v", code, took)
	}
}

// A host may do without.
func TestWithoutFairness(t *testing.T) {
	s := start(t, func(c *apiserver.Config) { c.MaxInFlight = -1 })
	code, h, _ := do(t, s, http.MethodGet, "/api/v1/pods", "")
	if code != http.StatusOK || h["X-Kubernetes-Pf-Flowschema-Uid"] != nil {
		t.Errorf("%d %v", code, h)
	}
	if code, _, _ := do(t, s, http.MethodGet, "/debug/api_priority_and_fairness/dump_queues", ""); code != http.StatusNotFound {
		t.Errorf("a dump of nothing: %d", code)
	}
}
