package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/runtime"
)

type execFunc func(id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error)

func (f execFunc) ExecSync(_ context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error) {
	return f(id, cmd, timeout)
}

func target(ports ...corev1.ContainerPort) Target {
	return Target{
		Pod:       &corev1.Pod{},
		Container: &corev1.Container{Name: "c", Ports: ports, Env: []corev1.EnvVar{{Name: "A", Value: "b"}}},
		PodIP:     "127.0.0.1", ContainerID: "id",
	}
}

func TestHTTPProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprintf(w, "%s|%s|%s|%s|%s", r.UserAgent(), r.Header.Get("Accept"), r.Header.Get("X-A"), r.Host, r.URL.RawQuery)
		case "/fail":
			w.WriteHeader(500)
		case "/large":
			w.Write(make([]byte, 1<<20))
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/there":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	port, _ := strconv.Atoi(u.Port())
	named := corev1.ContainerPort{Name: "web", ContainerPort: int32(port)}
	probe := func(path string, headers ...corev1.HTTPHeader) *corev1.Probe {
		return &corev1.Probe{TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("web"), HTTPHeaders: headers,
		}}}
	}
	for name, tc := range map[string]struct {
		probe   *corev1.Probe
		outcome Outcome
		message string
	}{
		"ok":                 {probe("/ok?a=b"), OutcomeSuccess, "kube-probe/1.37|*/*||" + u.Host + "|a=b"},
		"headers":            {probe("/ok", corev1.HTTPHeader{Name: "X-A", Value: "1"}, corev1.HTTPHeader{Name: "Host", Value: "h"}, corev1.HTTPHeader{Name: "User-Agent", Value: "me"}), OutcomeSuccess, "me|*/*|1|h|"},
		"failure":            {probe("/fail"), OutcomeFailure, "HTTP probe failed with statuscode: 500"},
		"large body":         {probe("/large"), OutcomeSuccess, ""},
		"redirect here":      {probe("/here"), OutcomeSuccess, "kube-probe"},
		"redirect elsewhere": {probe("/there"), OutcomeWarning, "Probe terminated redirects, Response body: "},
		"redirect loop":      {probe("/loop"), OutcomeFailure, "stopped after 10 redirects"},
		"timeout":            {probe("/slow"), OutcomeFailure, "Client.Timeout exceeded while awaiting headers"},
	} {
		t.Run(name, func(t *testing.T) {
			outcome, message := (&NetworkHandler{}).Probe(t.Context(), Readiness, tc.probe, target(named))
			if outcome != tc.outcome || !strings.Contains(message, tc.message) {
				t.Errorf("got %v %q, want %v %q", outcome, message, tc.outcome, tc.message)
			}
			if len(message) > maxOutput+100 {
				t.Errorf("message of %d bytes", len(message))
			}
		})
	}
}

func TestTCPProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	probe := &corev1.Probe{TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(port)}}}
	if outcome, message := (&NetworkHandler{}).Probe(t.Context(), Liveness, probe, target()); outcome != OutcomeSuccess {
		t.Errorf("%v %s", outcome, message)
	}
	listener.Close()
	outcome, message := (&NetworkHandler{}).Probe(t.Context(), Liveness, probe, target())
	if outcome != OutcomeFailure || !strings.Contains(message, "connection refused") {
		t.Errorf("%v %s", outcome, message)
	}
}

func TestGRPCProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states := health.NewServer()
	states.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, states)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	probe := func(service string) (Outcome, string) {
		return (&NetworkHandler{}).Probe(t.Context(), Liveness, &corev1.Probe{
			TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: port, Service: &service}},
		}, target())
	}
	if outcome, message := probe(""); outcome != OutcomeSuccess {
		t.Errorf("%v %s", outcome, message)
	}
	if outcome, message := probe("down"); outcome != OutcomeFailure || message != `service unhealthy (responded with "NOT_SERVING")` {
		t.Errorf("%v %s", outcome, message)
	}
	if outcome, message := probe("unknown"); outcome != OutcomeFailure || !strings.Contains(message, "health rpc probe failed") {
		t.Errorf("%v %s", outcome, message)
	}
	server.Stop()
	<-done
	if outcome, message := probe(""); outcome != OutcomeFailure {
		t.Errorf("%v %s", outcome, message)
	}
}

func TestExecProbe(t *testing.T) {
	probe := &corev1.Probe{TimeoutSeconds: 3, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"cat", "$(A)/$$(A)", "$(NO)"}}}}
	for name, tc := range map[string]struct {
		result  runtime.ExecResult
		err     error
		outcome Outcome
		message string
	}{
		"success": {result: runtime.ExecResult{Stdout: []byte("fine")}, message: "fine"},
		"status":  {result: runtime.ExecResult{Stderr: []byte("cat: no"), ExitCode: 1}, outcome: OutcomeFailure, message: "cat: no"},
		"timeout": {err: context.DeadlineExceeded, outcome: OutcomeFailure, message: `command timed out: "cat b/$(A) $(NO)" timed out after 3s`},
		"error":   {err: errors.New("gone"), outcome: OutcomeUnknown, message: "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &NetworkHandler{Exec: execFunc(func(id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error) {
				if id != "id" || timeout != 3*time.Second || strings.Join(cmd, " ") != "cat b/$(A) $(NO)" {
					t.Errorf("exec of %q in %s for %v", cmd, id, timeout)
				}
				return tc.result, tc.err
			})}
			outcome, message := h.Probe(t.Context(), Liveness, probe, target())
			if outcome != tc.outcome || message != tc.message {
				t.Errorf("got %v %q, want %v %q", outcome, message, tc.outcome, tc.message)
			}
		})
	}
}

func TestPort(t *testing.T) {
	c := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}
	for in, want := range map[string]string{"web": "80", "8080": "8080", "no": `couldn't find port "no" in container "c"`, "70000": "invalid port number: 70000"} {
		n, err := Port(intstr.FromString(in), c)
		got := strconv.Itoa(n)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
