package webhook_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/internal/pki"
)

// endpoint serves HTTPS under a service's name, and counts its connections.
func endpoint(t *testing.T, name string, handler http.HandlerFunc) (server *httptest.Server, ca []byte, connections *atomic.Int64) {
	t.Helper()
	authority, err := pki.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(pki.Request{CommonName: name, DNSNames: []string{name}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	connections = &atomic.Int64{}
	server = httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{*cert},
		VerifyConnection: func(tls.ConnectionState) error {
			connections.Add(1)
			return nil
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, authority.PEM(), connections
}

// caller resolves the service ns/hook to the server.
func caller(t *testing.T, server *httptest.Server) *webhook.Caller {
	c := webhook.New(webhook.Config{Resolve: func(_ context.Context, namespace, name string, port int32) (string, error) {
		if namespace != "ns" || name != "hook" || port != 8443 {
			return "", fmt.Errorf("no service %s/%s:%d", namespace, name, port)
		}
		return strings.TrimPrefix(server.URL, "https://"), nil
	}})
	t.Cleanup(c.Close)
	return c
}

func TestServicesAreCalledByName(t *testing.T) {
	server, ca, connections := endpoint(t, "hook.ns.svc", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"host":%q,"path":%q,"query":%q,"type":%q}`, r.Host, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"))
	})
	c := caller(t, server)
	target := webhook.Target{Service: &webhook.Service{Namespace: "ns", Name: "hook", Path: "/v", Port: 8443}, CABundle: ca}
	for range 3 {
		var answer struct{ Host, Path, Query, Type string }
		if err := c.Post(t.Context(), target, 5*time.Second, "x", &answer); err != nil {
			t.Fatal(err)
		}
		if want := (struct{ Host, Path, Query, Type string }{"hook.ns.svc:8443", "/v", "timeout=5s", "application/json"}); answer != want {
			t.Errorf("got %+v, want %+v", answer, want)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for three calls", n)
	}
	target.Service = &webhook.Service{Namespace: "ns", Name: "other", Port: 8443}
	var answer any
	if err := c.Post(t.Context(), target, time.Second, "x", &answer); err == nil || !strings.HasSuffix(err.Error(), "no service ns/other:8443") {
		t.Errorf("unknown service: %v", err)
	}
}

func TestTimeIsTheCallersToo(t *testing.T) {
	queries := make(chan string, 1)
	server, ca, _ := endpoint(t, "hook.ns.svc", func(w http.ResponseWriter, r *http.Request) {
		queries <- r.URL.RawQuery
		fmt.Fprint(w, `{}`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	var answer any
	target := webhook.Target{Service: &webhook.Service{Namespace: "ns", Name: "hook", Port: 8443}, CABundle: ca}
	if err := caller(t, server).Post(ctx, target, 30*time.Second, "x", &answer); err != nil {
		t.Fatal(err)
	}
	if got := <-queries; got != "timeout=3s" {
		t.Errorf("told %s", got)
	}
}

func TestRefusedCalls(t *testing.T) {
	server, ca, _ := endpoint(t, "hook.ns.svc", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/fine", http.StatusFound)
		case "/status":
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no tea","code":418}`)
		case "/large":
			piece := make([]byte, 1<<20)
			for range webhook.MaxAnswer/len(piece) + 1 {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case "/nonsense":
			fmt.Fprint(w, "nonsense")
		}
	})
	c := caller(t, server)
	call := func(path string, change func(*webhook.Target)) error {
		target := webhook.Target{Service: &webhook.Service{Namespace: "ns", Name: "hook", Path: path, Port: 8443}, CABundle: ca}
		if change != nil {
			change(&target)
		}
		var answer any
		return c.Post(t.Context(), target, 20*time.Second, "x", &answer)
	}
	tests := map[string]struct {
		path   string
		change func(*webhook.Target)
		want   string
	}{
		"redirect":       {"/redirect", nil, "the server responded with the status code 302"},
		"status":         {"/status", nil, "no tea"},
		"too large":      {"/large", nil, "the answer is larger than 33554432 bytes"},
		"not JSON":       {"/nonsense", nil, "couldn't parse the answer"},
		"a stranger":     {"/", func(t *webhook.Target) { t.CABundle = nil }, "certificate signed by unknown authority"},
		"no certificate": {"/", func(t *webhook.Target) { t.CABundle = []byte("x") }, "unable to load root certificates"},
		"no place":       {"/", func(t *webhook.Target) { t.Service = nil }, "webhook configuration must have either service or URL"},
		"plain":          {"/", func(t *webhook.Target) { t.Service, t.URL = nil, "http://x" }, `is not https://host[/path]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := call(tt.path, tt.change)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if status, ok := err.(apierrors.APIStatus); name == "status" && (!ok || status.Status().Code != http.StatusTeapot) {
				t.Errorf("not the status that was sent: %v", err)
			}
		})
	}
}
