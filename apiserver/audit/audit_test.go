package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/authn"
)

const example = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources:
  - resources: [endpoints, services]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*", "/version"]
- level: Request
  resources:
  - resources: [configmaps]
    resourceNames: [controller-leader]
  namespaces: [kube-system]
- level: Metadata
  resources:
  - resources: [secrets, "pods/log", "*/scale"]
  - group: apps
    resources: ["deployments/*"]
- level: RequestResponse
  omitManagedFields: true
  resources:
  - group: "*"
- level: Metadata
  omitStages: [ResponseStarted]
`

func TestPolicy(t *testing.T) {
	policy, err := ParsePolicy([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p := compile(policy)
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	on := func(group, resource, sub, namespace, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: alice, Verb: "get", APIGroup: group, Resource: resource, Subresource: sub, Namespace: namespace, Name: name, ResourceRequest: true}
	}
	proxy := on("", "services", "", "", "")
	proxy.User, proxy.Verb = &user.DefaultInfo{Name: "system:kube-proxy"}, "watch"
	listing := proxy
	listing.Verb = "list"
	nobody := authorizer.AttributesRecord{Verb: "get", Path: "/api"}
	known := nobody
	known.User = alice
	elsewhere := known
	elsewhere.Path = "/healthz"
	for name, test := range map[string]struct {
		of   authorizer.AttributesRecord
		want auditv1.Level
	}{
		"a watch of the proxy":        {proxy, auditv1.LevelNone},
		"a list of the proxy":         {listing, auditv1.LevelRequestResponse},
		"a path":                      {known, auditv1.LevelNone},
		"the path of someone unknown": {nobody, auditv1.LevelMetadata},
		"another path":                {elsewhere, auditv1.LevelMetadata},
		"by name":                     {on("", "configmaps", "", "kube-system", "controller-leader"), auditv1.LevelRequest},
		"another name":                {on("", "configmaps", "", "kube-system", "x"), auditv1.LevelRequestResponse},
		"another namespace":           {on("", "configmaps", "", "x", "controller-leader"), auditv1.LevelRequestResponse},
		"a secret":                    {on("", "secrets", "", "x", "y"), auditv1.LevelMetadata},
		"a log":                       {on("", "pods", "log", "x", "y"), auditv1.LevelMetadata},
		"a pod":                       {on("", "pods", "", "x", "y"), auditv1.LevelRequestResponse},
		"a scale":                     {on("", "replicationcontrollers", "scale", "x", "y"), auditv1.LevelMetadata},
		"below a deployment":          {on("apps", "deployments", "status", "x", "y"), auditv1.LevelMetadata},
		"in another group":            {on("batch", "secrets", "", "x", "y"), auditv1.LevelRequestResponse},
	} {
		if got := p.decide(test.of); got.level != test.want {
			t.Errorf("%s: %s, want %s", name, got.level, test.want)
		}
	}
	last := p.each[len(p.each)-1]
	if diff := cmp.Diff([]auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted}, last.omit); diff != "" || !last.managedFields || p.each[4].managedFields {
		t.Errorf("omitted stages %s, managed fields %v and %v", diff, last.managedFields, p.each[4].managedFields)
	}
}

func TestPoliciesRefused(t *testing.T) {
	const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	for text, want := range map[string]string{
		"{":                                    "yaml",
		"kind: Policy\nrules: [{level: None}]": `it is a "Policy" of ""`,
		head:                                   "rules: Required value",
		head + "rule: []":                      `unknown field "rule"`,
		head + "rules: [{}]":                   "rules[0].level: Required value",
		head + "rules: [{level: All}]":         `rules[0].level: Unsupported value: "All"`,
		head + "omitStages: [x]\nrules: [{level: None}]":                          `omitStages[0]: Unsupported value: "x"`,
		head + "rules: [{level: None, nonResourceURLs: [x]}]":                     `rules[0].nonResourceURLs[0]: Invalid value: "x": must begin with a '/'`,
		head + "rules: [{level: None, nonResourceURLs: ['/a*b']}]":                `rules[0].nonResourceURLs[0]: Invalid value: "/a*b": a '*' must be the last character`,
		head + "rules: [{level: None, nonResourceURLs: ['/a'], namespaces: [x]}]": "rules[0].nonResourceURLs: Invalid value",
		head + "rules: [{level: None, resources: [{group: A_}]}]":                 "rules[0].resources[0].group: Invalid value",
		head + "rules: [{level: None, resources: [{resourceNames: [x]}]}]":        "rules[0].resources[0].resourceNames: Invalid value",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: ['', '*']}]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		policy, err := ParsePolicy(data)
		if err != nil {
			return
		}
		compile(policy).decide(authorizer.AttributesRecord{Verb: "get", Path: "/x"})
		compile(policy).decide(authorizer.AttributesRecord{Verb: "get", Resource: "pods", ResourceRequest: true})
	})
}

// kept is a sink that keeps events.
type kept struct {
	mu     sync.Mutex
	events []*auditv1.Event
	err    error
}

func (k *kept) Write(event *auditv1.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, event)
	return k.err
}

func newAuditor(t *testing.T, level auditv1.Level, sinks map[string]Sink) *Auditor {
	t.Helper()
	no := false
	a, err := New(Config{Policy: &auditv1.Policy{OmitManagedFields: true, Rules: []auditv1.PolicyRule{
		{Level: auditv1.LevelNone, Verbs: []string{"list"}},
		{Level: level, Verbs: []string{"create"}},
		{Level: level, OmitManagedFields: &no},
	}}, Sinks: sinks}, prometheus.NewRegistry(), logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRecord(t *testing.T) {
	encode := func(obj runtime.Object) ([]byte, error) { return json.Marshal(obj) }
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/namespaces/x/pods?a=b", nil)
	r.Header.Set("User-Agent", strings.Repeat("a", 2000))
	r.Header.Set("X-Forwarded-For", "10.0.0.9")
	of := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "alice", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}, Verb: "create",
		Namespace: "x", Resource: "pods", APIVersion: "v1", ResourceRequest: true,
	}
	received := time.Unix(1000, 0)
	sink := &kept{err: errors.New("full")}
	a := newAuditor(t, auditv1.LevelRequestResponse, map[string]Sink{"s": sink})
	record := a.Begin(r, "id", received, of)
	record.Stage(auditv1.StageRequestReceived, received)
	record.Request(pod, encode)
	record.Annotate("a", "1")
	record.Annotate("a", "2")
	record.Impersonate(&user.DefaultInfo{Name: "bob"}, "impersonate:user-info")
	record.Response(pod, encode)
	record.Code(201)
	record.Stage(auditv1.StageResponseComplete, received.Add(time.Second))
	if len(sink.events) != 2 {
		t.Fatalf("%d events", len(sink.events))
	}
	first, last := sink.events[0], sink.events[1]
	if first.RequestObject != nil || first.Annotations != nil {
		t.Errorf("the first event knows what came after it: %+v", first)
	}
	if !strings.HasSuffix(last.UserAgent, "...TRUNCATED") || len(last.UserAgent) > 1100 {
		t.Errorf("user agent of %d bytes", len(last.UserAgent))
	}
	last.UserAgent = ""
	pod.ManagedFields = nil
	data, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	body := &runtime.Unknown{Raw: data, ContentType: runtime.ContentTypeJSON}
	want := &auditv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "audit.k8s.io/v1", Kind: "Event"}, Level: auditv1.LevelRequestResponse, AuditID: "id",
		Stage: auditv1.StageResponseComplete, RequestURI: "/api/v1/namespaces/x/pods?a=b", Verb: "create",
		User: authn.UserInfo(of.User), SourceIPs: []string{"10.0.0.9", "192.0.2.1"},
		ObjectRef:      &auditv1.ObjectReference{Resource: "pods", Namespace: "x", Name: "p", UID: "u", APIVersion: "v1"},
		ResponseStatus: &metav1.Status{Code: 201}, RequestObject: body, ResponseObject: body,
		RequestReceivedTimestamp: metav1.NewMicroTime(received), StageTimestamp: metav1.NewMicroTime(received.Add(time.Second)),
		Annotations: map[string]string{"a": "1"},
	}
	bob := authn.UserInfo(&user.DefaultInfo{Name: "bob"})
	want.ImpersonatedUser = &bob
	want.AuthenticationMetadata = &auditv1.AuthenticationMetadata{ImpersonationConstraint: "impersonate:user-info"}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}

	of.Verb = "list"
	if record := a.Begin(r, "id", received, of); record != nil {
		t.Error("a request that is left out has a record")
	}
	// Nobody has to ask whether there is a record.
	var none *Record
	none.Stage(auditv1.StagePanic, received)
	none.Annotate("a", "b")
	none.Request(pod, encode)
	none.Response(&metav1.Status{}, encode)
	none.Body([]byte("{}"))
	none.Code(1)
}

func TestLevels(t *testing.T) {
	encode := func(obj runtime.Object) ([]byte, error) { return []byte("{}"), nil }
	for level, want := range map[auditv1.Level]string{
		auditv1.LevelMetadata: "false false", auditv1.LevelRequest: "true false", auditv1.LevelRequestResponse: "true true",
	} {
		sink := &kept{}
		a := newAuditor(t, level, map[string]Sink{"s": sink})
		record := a.Begin(httptest.NewRequest(http.MethodPatch, "/x", nil), "id", time.Now(), authorizer.AttributesRecord{Verb: "patch", ResourceRequest: true})
		record.Body([]byte(`{"a":1}`))
		record.Response(&metav1.Status{Message: "no", Reason: metav1.StatusReasonConflict}, encode)
		record.Stage(auditv1.StageResponseComplete, time.Now())
		event := sink.events[0]
		if got := fmt.Sprint(event.RequestObject != nil, " ", event.ResponseObject != nil); got != want || event.ResponseStatus.Message != "no" {
			t.Errorf("%s: %s, want %s; %+v", level, got, want, event.ResponseStatus)
		}
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := NewLog(&out)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			event := &auditv1.Event{AuditID: "id", RequestURI: fmt.Sprint("/", i), RequestObject: unknown([]byte(`{"a":"b"}`))}
			if err := log.Write(event); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 50 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		var event struct{ RequestObject map[string]string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.RequestObject["a"] != "b" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// answering is a transport that answers by itself.
type answering func(batch auditv1.EventList) int

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	var batch auditv1.EventList
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		return nil, err
	}
	code := f(batch)
	if code == 0 {
		return nil, errors.New("unreachable")
	}
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(strings.NewReader(""))}, nil
}

func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codes := []int{200, 500, 0, 200, 200, 200}
		var sizes []int
		var when []time.Duration
		start := time.Now()
		client := &http.Client{Transport: answering(func(batch auditv1.EventList) int {
			if batch.Kind != "EventList" || batch.APIVersion != "audit.k8s.io/v1" {
				t.Errorf("a %s of %s", batch.Kind, batch.APIVersion)
			}
			sizes, when = append(sizes, len(batch.Items)), append(when, time.Since(start))
			code := codes[0]
			codes = codes[1:]
			return code
		})}
		hook, err := NewWebhook(WebhookConfig{URL: "https://audit.example.com", Client: client, Buffer: 10, Batch: 4, Wait: time.Minute, Retry: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			if err := hook.Write(&auditv1.Event{AuditID: "x"}); (err != nil) != (i >= 10) || err != nil && !errors.Is(err, ErrFull) {
				t.Errorf("event %d: %v", i, err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- hook.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		if err := hook.Write(&auditv1.Event{AuditID: "last"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		// Two full batches at once, the second after two failures, the rest after a
		// minute, and what is left at the end.
		if diff := cmp.Diff([]int{4, 4, 4, 4, 2, 1}, sizes); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]time.Duration{0, 0, 10 * time.Second, 30 * time.Second, 90 * time.Second, 5 * time.Minute}, when); diff != "" {
			t.Error(diff)
		}
	})
	for name, config := range map[string]WebhookConfig{"no client": {URL: "x"}, "no URL": {Client: http.DefaultClient}, "negative": {URL: "x", Client: http.DefaultClient, Batch: -1}} {
		if _, err := NewWebhook(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
