package apiserver_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/audit"
)

// events is a sink that says each event in a line.
type events struct {
	mu    sync.Mutex
	lines []string
}

func (e *events) Write(event *auditv1.Event) error {
	line := fmt.Sprintf("%s %s %s", event.Stage, event.Verb, event.RequestURI)
	if s := event.ResponseStatus; s != nil {
		line += fmt.Sprintf(" %d %s", s.Code, s.Reason)
	}
	if o := event.RequestObject; o != nil {
		line += " < " + strings.TrimSpace(string(o.Raw))
	}
	if o := event.ResponseObject; o != nil {
		line += fmt.Sprintf(" > %d bytes", min(len(o.Raw), 1))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, strings.TrimSpace(line))
	return nil
}

// since returns the lines from n on, once there are as many as wanted.
func (e *events) since(t *testing.T, n, want int) []string {
	t.Helper()
	for range 500 {
		e.mu.Lock()
		lines := append([]string(nil), e.lines[n:]...)
		e.mu.Unlock()
		if len(lines) >= want {
			return lines
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d events did not come", want)
	return nil
}

func TestAudit(t *testing.T) {
	sink := &events{}
	s, c := withPods(t, 0, func(config *apiserver.Config) {
		config.Audit = audit.Config{
			Policy: &auditv1.Policy{Rules: []auditv1.PolicyRule{
				{Level: auditv1.LevelNone, Resources: []auditv1.GroupResources{{Resources: []string{"namespaces"}}}},
				{Level: auditv1.LevelMetadata, Resources: []auditv1.GroupResources{{Resources: []string{"pods"}}}},
				{Level: auditv1.LevelRequestResponse},
			}, OmitStages: []auditv1.Stage{auditv1.StageRequestReceived}},
			Sinks: map[string]audit.Sink{"test": sink},
		}
	})
	const maps = "/api/v1/namespaces/default/configmaps"
	merge := []string{"Content-Type", "application/merge-patch+json"}
	code, header, _ := do(t, s, "POST", maps, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"unknown":1}`, auditv1.HeaderAuditID, "mine")
	if code != http.StatusCreated || header.Get("Audit-Id") != "mine" {
		t.Errorf("%d, Audit-Id %q", code, header.Get("Audit-Id"))
	}
	do(t, s, "PATCH", maps+"/a", `{"data":{"k":"v"}}`, merge...)
	do(t, s, "PATCH", maps+"/a?fieldManager=m", "data: {x: z}\nkind: ConfigMap\napiVersion: v1\n", "Content-Type", "application/apply-patch+yaml")
	do(t, s, "GET", maps, "", "Accept", "application/vnd.kubernetes.protobuf")
	do(t, s, "GET", maps+"/x", "")
	do(t, s, "DELETE", maps+"/a", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`)
	do(t, s, "GET", "/api/v1/namespaces/default", "")
	do(t, s, "GET", "/api/v1/pods", "")
	do(t, s, "GET", "/version", "")
	want := []string{
		`ResponseComplete create ` + maps + ` 201  < {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}} > 1 bytes`,
		`ResponseComplete patch ` + maps + `/a 200  < {"data":{"k":"v"}} > 1 bytes`,
		`ResponseComplete patch ` + maps + `/a?fieldManager=m 200  < {"apiVersion":"v1","data":{"x":"z"},"kind":"ConfigMap"} > 1 bytes`,
		`ResponseComplete list ` + maps + ` 200  > 1 bytes`,
		`ResponseComplete get ` + maps + `/x 404 NotFound > 1 bytes`,
		`ResponseComplete delete ` + maps + `/a 200  < {"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0} > 1 bytes`,
		`ResponseComplete list /api/v1/pods 200`,
		`ResponseComplete get /version 200`,
	}
	if diff := cmp.Diff(want, sink.since(t, 0, len(want))); diff != "" {
		t.Error(diff)
	}

	n := len(want)
	w, err := c.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sink.since(t, n, 1)
	w.Stop()
	const watch = "watch /api/v1/namespaces/default/pods?watch=true 200"
	if diff := cmp.Diff([]string{"ResponseStarted " + watch, "ResponseComplete " + watch}, sink.since(t, n, 2)); diff != "" {
		t.Error(diff)
	}
}
