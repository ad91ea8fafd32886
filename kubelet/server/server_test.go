package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/strake-io/strake/runtime"
)

type host struct{ ill atomic.Bool }

var pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "uid"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}

func (h *host) Pods() []*corev1.Pod { return []*corev1.Pod{pod} }

func (h *host) Pod(_, name string, uid types.UID) (*corev1.Pod, bool) {
	return pod, name == "p" && (uid == "" || uid == pod.UID)
}

func (h *host) ContainerID(context.Context, *corev1.Pod, string) (string, error) { return "id", nil }
func (h *host) SandboxID(context.Context, *corev1.Pod) (string, error)           { return "box", nil }

func (h *host) ContainerLog(context.Context, *corev1.Pod, string, bool) (Log, error) {
	return Log{}, errors.New(`container "c" in pod "p" is waiting to start: ContainerCreating`)
}

func (h *host) Healthy(context.Context) error {
	if h.ill.Load() {
		return errors.New("runtime is down")
	}
	return nil
}

// machine runs two pods; one of them cannot be measured.
type machine struct {
	runtime.Runtime
	cpu atomic.Uint64
}

func (m *machine) ListSandboxes(context.Context) ([]runtime.Sandbox, error) {
	return []runtime.Sandbox{
		{ID: "b2", Pod: runtime.PodIdentity{Name: "q", Namespace: "ns"}, State: runtime.SandboxReady},
		{ID: "b1", Pod: runtime.PodIdentity{Name: "p", Namespace: "ns", UID: "uid"}, State: runtime.SandboxReady},
		{ID: "b0", Pod: runtime.PodIdentity{Name: "old", Namespace: "ns"}},
	}, nil
}

func (m *machine) ListContainers(context.Context) ([]runtime.Container, error) {
	return []runtime.Container{
		{ID: "c1", SandboxID: "b1", Name: "c", State: runtime.ContainerRunning, StartedAt: time.Unix(1000, 0)},
		{ID: "c0", SandboxID: "b1", Name: "c", State: runtime.ContainerExited},
	}, nil
}

func (m *machine) ContainerStats(_ context.Context, id string) (*runtime.Stats, error) {
	return &runtime.Stats{Time: time.Now(), CPUNanos: m.cpu.Load(), MemoryBytes: 200, WorkingSetBytes: 100}, nil
}

func (m *machine) SandboxStats(ctx context.Context, id string) (*runtime.Stats, error) {
	if id == "b2" {
		return nil, runtime.ErrNotFound
	}
	return m.ContainerStats(ctx, id)
}

func (m *machine) ExecSync(_ context.Context, _ string, cmd []string, _ time.Duration) (runtime.ExecResult, error) {
	if cmd[0] == "false" {
		return runtime.ExecResult{ExitCode: 1}, nil
	}
	return runtime.ExecResult{Stdout: []byte(strings.Join(cmd, "+"))}, nil
}

func (m *machine) Exec(_ context.Context, _ string, _ []string, stream runtime.StreamIO) error {
	b, err := io.ReadAll(stream.Stdin)
	if err != nil {
		return err
	}
	fmt.Fprintf(stream.Stdout, "got %s", b)
	return &runtime.ExitError{Code: 4}
}

func (m *machine) Attach(context.Context, string, runtime.StreamIO) error { return nil }

func (m *machine) PortForward(context.Context, string, uint16, io.ReadWriteCloser) error { return nil }

func newServer(t *testing.T, change func(*Config)) (*Server, *host, *machine) {
	t.Helper()
	h, m := &host{}, &machine{}
	stats, err := NewStats(StatsConfig{NodeName: "node", Sandboxes: m, Containers: m, Provider: m})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Host: h, NodeName: "node", Streamer: m, Exec: m, Stats: stats}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, h, m
}

func do(s http.Handler, method, target string) string {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
}

func TestPlainRequests(t *testing.T) {
	s, h, _ := newServer(t, nil)
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/healthz", "200 ok"},
		{"GET", "/configz", `200 {"kubeletconfig":{}}`},
		{"GET", "/containerLogs/ns/p/c", `400 container "c" in pod "p" is waiting to start: ContainerCreating`},
		{"GET", "/containerLogs/ns/x/c", `404 pod "x" does not exist`},
		{"GET", "/containerLogs/ns/p/x", `404 container "x" not found in pod "p"`},
		{"POST", "/run/ns/p/c?cmd=echo+a++b", "200 echo+a+b"},
		{"POST", "/run/ns/p/uid/c?cmd=echo", "200 echo"},
		{"POST", "/run/ns/p/other/c?cmd=echo", `404 pod "p" does not exist`},
		{"POST", "/run/ns/p/c?cmd=false", `500 command "false" exited with 1:`},
		{"POST", "/exec/ns/p/c?command=x", "400 you must specify at least 1 of stdin, stdout, stderr"},
		{"GET", "/nothing", "404 404 page not found"},
	} {
		if got := do(s, tc.method, tc.path); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.path, got, tc.want)
		}
	}
	h.ill.Store(true)
	if got, want := do(s, "GET", "/healthz"), "500 healthz check failed: runtime is down"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAuthentication(t *testing.T) {
	s, _, _ := newServer(t, func(c *Config) {
		c.Authenticator = ClientCertificate()
		c.Authorizer = AllowUsers([]string{"api"}, []string{"system:masters"})
	})
	for _, tc := range []struct {
		name   string
		groups []string
		want   int
	}{{"", nil, 401}, {"api", nil, 200}, {"bob", nil, 403}, {"bob", []string{"system:masters"}, 200}} {
		r := httptest.NewRequest("GET", "/pods", nil)
		r.TLS = &tls.ConnectionState{}
		if tc.name != "" {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: tc.name, Organization: tc.groups}}}}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, w.Code, w.Body, tc.want)
		}
	}
	if got := do(s, "GET", "/healthz"); got != "200 ok" {
		t.Errorf("health must need no credentials: %s", got)
	}
	if got := do(s.Trusted(), "GET", "/configz"); got != `200 {"kubeletconfig":{}}` {
		t.Errorf("the process itself must need no credentials: %s", got)
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, m := newServer(t, nil)
		m.cpu.Store(1e9)
		if _, err := s.cfg.Stats.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		m.cpu.Store(6e9) // half a core
		summary, err := s.cfg.Stats.Summary(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range summary.Pods {
			got = append(got, p.PodRef.Name)
			for _, c := range p.Containers {
				got = append(got, fmt.Sprint(c.Name, " ", *c.CPU.UsageNanoCores, " ", *c.Memory.WorkingSetBytes))
			}
		}
		if diff := cmp.Diff([]string{"p", "c 500000000 100", "q"}, got); diff != "" {
			t.Error(diff)
		}
		metrics := do(s, "GET", "/metrics/resource")
		for _, want := range []string{
			`container_cpu_usage_seconds_total{container="c",namespace="ns",pod="p"} 6 `,
			`container_memory_working_set_bytes{container="c",namespace="ns",pod="p"} 100 `,
			`container_start_time_seconds{container="c",namespace="ns",pod="p"} 1000`,
			`pod_memory_working_set_bytes{namespace="ns",pod="p"} 100 `,
			`resource_scrape_error 0`,
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("no %s in\n%s", want, metrics)
			}
		}
	})
}

// Clients of the kubelet itself may speak what kubectl speaks to the API server.
func TestExecOverWebSocket(t *testing.T) {
	s, _, _ := newServer(t, nil)
	front := httptest.NewServer(s)
	defer front.Close()
	e, err := remotecommand.NewWebSocketExecutor(&rest.Config{Host: front.URL}, "GET", front.URL+"/exec/ns/p/c?command=x&input=1&output=1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("input"), Stdout: &out})
	var exit utilexec.CodeExitError
	if !errors.As(err, &exit) || exit.Code != 4 || out.String() != "got input" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestRunRefusesWhileStopping(t *testing.T) {
	s, _, _ := newServer(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := do(s, "GET", "/healthz"); got != "200 ok" {
		t.Errorf("after Run: %s", got)
	}
}

func FuzzLogOptions(f *testing.F) {
	f.Add("follow=true&tailLines=3&sinceSeconds=1&limitBytes=5")
	f.Add("sinceTime=2026-01-02T15:04:05Z&stream=All")
	s, err := New(Config{Host: &host{}, NodeName: "n"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/containerLogs/ns/p/c", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 400 && w.Code != 422 {
			t.Fatalf("%q: %d", query, w.Code)
		}
	})
}

// silent keeps no logs.
type silent struct {
	host
	until time.Time
}

func (s *silent) ContainerLog(context.Context, *corev1.Pod, string, bool) (Log, error) {
	return Log{Running: func(context.Context) (bool, error) { return time.Now().Before(s.until), nil }}, nil
}

func TestLogThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s, _, _ := newServer(t, func(c *Config) { c.Host = &silent{until: begin.Add(time.Minute)} })
		if got := do(s, "GET", "/containerLogs/ns/p/c"); got != "200 " || time.Since(begin) != 0 {
			t.Errorf("%q after %v", got, time.Since(begin))
		}
		if got := do(s, "GET", "/containerLogs/ns/p/c?follow=true"); got != "200 " || time.Since(begin) != time.Minute {
			t.Errorf("followed: %q after %v", got, time.Since(begin))
		}
	})
}
