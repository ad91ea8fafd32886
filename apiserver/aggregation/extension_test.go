package aggregation_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strake-io/strake/internal/pki"
)

// extension is another server, over TLS: one like that of metrics.
type extension struct {
	*httptest.Server
	ca *pki.Authority

	mu       sync.Mutex
	legacy   bool // serves no aggregated discovery and no openapi v3
	down     bool
	requests []string
	events   chan string
}

const (
	resources = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[
		{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list","watch"]},
		{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}`
	aggregated = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"metrics.k8s.io"},
		"versions":[{"version":"v1beta1","freshness":"Current","resources":[
		{"resource":"nodes","responseKind":{"group":"metrics.k8s.io","version":"v1beta1","kind":"NodeMetrics"},"scope":"Cluster","singularResource":"","verbs":["get","list","watch"]},
		{"resource":"pods","responseKind":{"group":"metrics.k8s.io","version":"v1beta1","kind":"PodMetrics"},"scope":"Namespaced","singularResource":"","verbs":["get","list"]}]}]}]}`
	swagger = `{"swagger":"2.0","info":{"title":"metrics","version":"v0"},"paths":{
		"/apis/metrics.k8s.io/v1beta1/nodes":{"get":{"operationId":"listMetricsV1beta1Node","responses":{"200":{"description":"OK","schema":{"$ref":"#/definitions/NodeMetricsList"}}}}},
		"/apis/other/v1/things":{"get":{"responses":{"200":{"description":"OK"}}}}},
		"definitions":{"NodeMetricsList":{"type":"object","description":"a list of nodes"},"Unused":{"type":"object"}}}`
)

func newExtension(t *testing.T, frontProxy *pki.Authority) *extension {
	t.Helper()
	ca, err := pki.New("extension", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(pki.Request{CommonName: "metrics", DNSNames: []string{"metrics.monitoring.svc"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := &extension{ca: ca, events: make(chan string)}
	e.Server = httptest.NewUnstartedServer(e)
	e.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert, ClientCAs: frontProxy.Pool(), NextProtos: []string{"h2", "http/1.1"}}
	e.EnableHTTP2 = true
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func (e *extension) set(change func(e *extension)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *extension) seen() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.requests...)
}

// who asks, as a server finds out that delegates authentication: by the headers,
// where the front proxy's certificate stands behind them.
func (e *extension) who(r *http.Request) string {
	if len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	_, err := r.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: e.TLS.ClientCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return ""
	}
	return fmt.Sprint(r.Header.Get("X-Remote-User"), r.Header.Values("X-Remote-Group"), r.Header.Values("X-Remote-Extra-Scopes"))
}

func (e *extension) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := e.who(r)
	e.mu.Lock()
	down, legacy := e.down, e.legacy
	e.requests = append(e.requests, r.Method+" "+r.URL.RequestURI()+" "+who)
	e.mu.Unlock()
	switch {
	case who == "":
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	case down:
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	answer := func(contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, body)
	}
	switch r.URL.Path {
	case "/apis":
		if legacy || !strings.Contains(r.Header.Get("Accept"), "APIGroupDiscoveryList") {
			http.NotFound(w, r)
			return
		}
		answer("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", aggregated)
	case "/apis/metrics.k8s.io/v1beta1":
		answer("application/json", resources)
	case "/openapi/v2":
		answer("application/json", swagger)
	case "/openapi/v3":
		if legacy {
			http.NotFound(w, r)
			return
		}
		answer("application/json", `{"paths":{"apis/metrics.k8s.io/v1beta1":{"serverRelativeURL":"/openapi/v3/apis/metrics.k8s.io/v1beta1?hash=abc"},"version":{"serverRelativeURL":"/openapi/v3/version?hash=def"}}}`)
	case "/openapi/v3/apis/metrics.k8s.io/v1beta1":
		answer("application/json", `{"openapi":"3.0.0","info":{"title":"metrics"},"paths":{}}`)
	case "/apis/metrics.k8s.io/v1beta1/nodes":
		if r.URL.Query().Get("watch") != "" {
			e.watch(w, r)
			return
		}
		answer("application/json", `{"kind":"NodeMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[{"metadata":{"name":"n"},"usage":{"cpu":"1"}}]}`)
	case "/apis/metrics.k8s.io/v1beta1/nodes/n/proxy":
		e.upgrade(w, r)
	default:
		http.NotFound(w, r)
	}
}

// watch sends what the test gives it.
func (e *extension) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	for {
		select {
		case line := <-e.events:
			fmt.Fprintln(w, line)
			http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// upgrade speaks another protocol: it says everything twice.
func (e *extension) upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
	rw.Flush()
	lines := bufio.NewScanner(rw)
	for lines.Scan() {
		fmt.Fprintf(conn, "%s %s\n", lines.Text(), lines.Text())
	}
}
