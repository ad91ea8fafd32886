package nodeproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/kubelet/logs"
	"github.com/strake-io/strake/kubelet/server"
	"github.com/strake-io/strake/runtime"
)

// streamer is a runtime whose commands are: cat (copies its input to its output
// and says so on stderr), exit (ends with 3), size (prints the terminal's first
// size), hang (until it is cut).
type streamer struct{ cut chan struct{} }

func (s *streamer) Exec(ctx context.Context, id string, cmd []string, stream runtime.StreamIO) error {
	switch cmd[0] {
	case "cat":
		n, err := io.Copy(stream.Stdout, stream.Stdin)
		if err != nil {
			return err
		}
		fmt.Fprintf(stream.Stderr, "%d bytes in %s", n, id)
		return nil
	case "exit":
		return &runtime.ExitError{Code: 3}
	case "size":
		size := <-stream.Resize
		fmt.Fprintf(stream.Stdout, "%dx%d", size.Width, size.Height)
		return nil
	case "hang":
		fmt.Fprint(stream.Stdout, "hanging")
		<-ctx.Done()
		close(s.cut)
		return ctx.Err()
	}
	return errors.New("no such command")
}

func (s *streamer) Attach(_ context.Context, id string, stream runtime.StreamIO) error {
	fmt.Fprint(stream.Stdout, "attached to "+id)
	return nil
}

// PortForward echoes with the port before it; port 1 refuses.
func (s *streamer) PortForward(_ context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if port == 1 {
		return errors.New("connection refused")
	}
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stream, "%s:%d:%s", id, port, line)
	return err
}

type host struct {
	log   string
	alive func() bool
}

func (h *host) Pods() []*corev1.Pod { return []*corev1.Pod{pod} }

func (h *host) Pod(namespace, name string, _ types.UID) (*corev1.Pod, bool) {
	return pod, namespace == pod.Namespace && name == pod.Name
}

func (h *host) ContainerID(_ context.Context, _ *corev1.Pod, container string) (string, error) {
	if container != "c" {
		return "", fmt.Errorf("container not found (%q)", container)
	}
	return "container-id", nil
}

func (h *host) SandboxID(context.Context, *corev1.Pod) (string, error) { return "sandbox-id", nil }

func (h *host) ContainerLog(_ context.Context, _ *corev1.Pod, _ string, previous bool) (server.Log, error) {
	if previous {
		return server.Log{}, errors.New(`previous terminated container "c" in pod "p" not found`)
	}
	return server.Log{Path: h.log, Running: func(context.Context) (bool, error) { return h.alive(), nil }}, nil
}

func (h *host) Healthy(context.Context) error { return nil }

var (
	pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "uid"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
	}
	node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
)

// front is the API server as far as it matters here: it hands what comes for
// /kubelet<path> to the node as it is, /node<path> as nodes/proxy does, and /forward/<host:port>/ to pods.
func front(p *Proxy, node *corev1.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var h http.Handler
		var err error
		if rest, ok := strings.CutPrefix(req.URL.Path, "/forward/"); ok {
			address, path, _ := strings.Cut(rest, "/")
			h, err = p.Forward(req.Context(), &url.URL{Scheme: "http", Host: address, Path: "/" + path, RawQuery: req.URL.RawQuery})
		} else if path, ok := strings.CutPrefix(req.URL.Path, "/node"); ok {
			h, err = p.Kubelet(req.Context(), node, core.KubeletRequest{Path: path, Query: req.URL.Query(), Flush: true, Proxied: true})
		} else {
			path := strings.TrimPrefix(req.URL.Path, "/kubelet")
			stream := strings.HasPrefix(path, "/exec") || strings.HasPrefix(path, "/attach") || strings.HasPrefix(path, "/portForward")
			h, err = p.Kubelet(req.Context(), node, core.KubeletRequest{Path: path, Query: req.URL.Query(), Upgrade: stream, Flush: true})
		}
		if err != nil {
			writeError(w, err)
			return
		}
		h.ServeHTTP(w, req)
	})
}

type cluster struct {
	url      string
	config   *rest.Config
	host     *host
	streamer *streamer
	stop     func() // the node
}

// newCluster serves a node in process and a front to it on loopback.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{host: &host{log: filepath.Join(t.TempDir(), "0.log"), alive: func() bool { return false }}, streamer: &streamer{cut: make(chan struct{})}}
	kubelet, err := server.New(server.Config{Host: c.host, NodeName: "node-1", Streamer: c.streamer})
	if err != nil {
		t.Fatal(err)
	}
	pipes := &Pipes{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := kubelet.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := pipes.Serve(ctx, "node-1", kubelet); err != nil {
			t.Error(err)
		}
	})
	c.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(c.stop)
	for {
		if conn, err := pipes.Dial(t.Context(), node); err == nil {
			conn.Close()
			break
		}
		goruntime.Gosched() // it is about to serve
	}
	p, err := New(Config{Dial: pipes.Dial})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front(p, node))
	t.Cleanup(s.Close)
	c.url = s.URL
	c.config = &rest.Config{Host: s.URL, BearerToken: "secret"}
	return c
}

// executors are the ways in which clients come.
func (c *cluster) executors(t *testing.T, path string) map[string]remotecommand.Executor {
	t.Helper()
	u, err := url.Parse(c.url + "/kubelet" + path)
	if err != nil {
		t.Fatal(err)
	}
	overSPDY, err := remotecommand.NewSPDYExecutor(c.config, "POST", u)
	if err != nil {
		t.Fatal(err)
	}
	overWebSocket, err := remotecommand.NewWebSocketExecutor(c.config, "GET", u.String())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"SPDY": overSPDY, "WebSocket": overWebSocket}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if l := response.Header.Get("Location"); l != "" {
		return response.StatusCode, l
	}
	return response.StatusCode, string(b)
}

func TestLogs(t *testing.T) {
	c := newCluster(t)
	if code, body := get(t, c.url+"/kubelet/containerLogs/ns/p/c"); code != 400 || !strings.Contains(body, `"kind":"Status"`) {
		t.Errorf("no file: %d %s", code, body)
	}
	var b []byte
	for _, text := range []string{"one", "two", "three"} {
		b = logs.AppendLine(b, logs.Line{Time: time.Now(), Stream: logs.Stdout, Text: []byte(text)})
	}
	if err := os.WriteFile(c.host.log, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/containerLogs/ns/p/c":              "200 one\ntwo\nthree\n",
		"/containerLogs/ns/p/c?tailLines=1":  "200 three\n",
		"/containerLogs/ns/p/c?limitBytes=5": "200 one\nt",
		"/containerLogs/ns/p/c?follow=true":  "200 one\ntwo\nthree\n",
	} {
		code, body := get(t, c.url+"/kubelet"+path)
		if got := fmt.Sprint(code, " ", body); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"/containerLogs/ns/p/c?previous=true": `"message":"previous terminated container \"c\" in pod \"p\" not found","reason":"BadRequest","code":400`,
		"/containerLogs/ns/p/x":               `"reason":"NotFound"`,
		"/containerLogs/ns/p/c?tailLines=-1":  `"code":422`,
	} {
		if _, body := get(t, c.url+"/kubelet"+path); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
}

// A line that is written reaches the client while the request goes on.
func TestLogsFollow(t *testing.T) {
	c := newCluster(t)
	if err := os.WriteFile(c.host.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	alive := true
	c.host.alive = func() bool { mu.Lock(); defer mu.Unlock(); return alive }
	response, err := http.Get(c.url + "/kubelet/containerLogs/ns/p/c?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r := bufio.NewReader(response.Body)
	f, err := os.OpenFile(c.host.log, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, text := range []string{"one\n", "two\n"} {
		fmt.Fprintf(f, "2026-01-02T15:04:05Z stdout F %s", text)
		if line, err := r.ReadString('\n'); err != nil || line != text {
			t.Fatalf("%q, %v", line, err)
		}
	}
	mu.Lock()
	alive = false
	mu.Unlock()
	fmt.Fprint(f, "2026-01-02T15:04:05Z stdout F end\n")
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "end\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestNodeDoesNotAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	dead := node.DeepCopy()
	dead.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	dead.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	p, err := New(Config{Dial: DialTLS(nil)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front(p, dead))
	defer s.Close()
	want := fmt.Sprintf(`Get \"https://127.0.0.1:%d/containerLogs/ns/p/c\": dial tcp 127.0.0.1:%d: connect: connection refused`, port, port)
	if code, body := get(t, s.URL+"/kubelet/containerLogs/ns/p/c"); code != 500 || !strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", code, body, want)
	}
	want = fmt.Sprintf(`error trying to reach service: dial tcp 127.0.0.1:%d: connect: connection refused`, port)
	if code, body := get(t, s.URL+"/node/pods"); code != 503 || !strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", code, body, want)
	}
	c := &cluster{url: s.URL, config: &rest.Config{Host: s.URL}}
	for name, e := range c.executors(t, "/exec/ns/p/c?command=cat&output=1") {
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "error dialing backend: dial tcp 127.0.0.1:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A kubelet has no certificate until its request for one is approved; what users are
// told then is upstream's.
func TestNodeWithoutCertificate(t *testing.T) {
	kubelet := httptest.NewUnstartedServer(http.NotFoundHandler())
	address := kubelet.Listener.Addr().(*net.TCPAddr)
	kubelet.Listener = tls.NewListener(kubelet.Listener, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("not yet") },
	})
	kubelet.Config.ErrorLog = log.New(io.Discard, "", 0)
	kubelet.Start()
	defer kubelet.Close()
	bare := node.DeepCopy()
	bare.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address.IP.String()}}
	bare.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(address.Port)
	p, err := New(Config{Dial: DialTLS(&tls.Config{InsecureSkipVerify: true})})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front(p, bare))
	defer s.Close()
	want := fmt.Sprintf(`Get \"https://%s/containerLogs/ns/p/c\": remote error: tls: internal error`, address)
	if code, body := get(t, s.URL+"/kubelet/containerLogs/ns/p/c"); code != 500 || !strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", code, body, want)
	}
	c := &cluster{url: s.URL, config: &rest.Config{Host: s.URL}}
	for name, e := range c.executors(t, "/exec/ns/p/c?command=cat&output=1") {
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "error dialing backend: remote error: tls: internal error") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// When a node stops, sessions on it are cut and nothing is left of them.
func TestStopCutsSessions(t *testing.T) {
	c := newCluster(t)
	executors := c.executors(t, "/exec/ns/p/c?command=hang&output=1")
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- executors["WebSocket"].StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: w})
	}()
	buf := make([]byte, 7)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	c.stop()
	select {
	case <-c.streamer.cut:
	default:
		t.Error("the session outlived its node")
	}
	if err := <-done; err == nil {
		t.Error("the client was told of success")
	}
	if code, body := get(t, c.url+"/kubelet/containerLogs/ns/p/c"); code != 500 || !strings.Contains(body, "it is not served in this process") {
		t.Errorf("%d %s", code, body)
	}
}

func TestNodeProxy(t *testing.T) {
	c := newCluster(t)
	if code, body := get(t, c.url+"/kubelet/pods"); code != 200 || !strings.Contains(body, `"kind":"PodList"`) || !strings.Contains(body, `"uid":"uid"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get(t, c.url+"/kubelet/healthz"); code != 200 || body != "ok" {
		t.Errorf("%d %s", code, body)
	}
}

// Other ports of a node are those of other servers, but none of this host's own.
func TestBesideKubelet(t *testing.T) {
	at := func(address string) *corev1.Node {
		n := node.DeepCopy()
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10260
		return n
	}
	for name, test := range map[string]struct {
		node *corev1.Node
		to   core.KubeletRequest
		want string
	}{
		"none":            {at("192.0.2.1"), core.KubeletRequest{Path: "/x"}, ""},
		"the kubelet's":   {at("192.0.2.1"), core.KubeletRequest{Path: "/x", Port: "10260", Scheme: "http"}, ""},
		"another":         {at("192.0.2.1"), core.KubeletRequest{Path: "/x/", Port: "9100"}, "http://192.0.2.1:9100/x/"},
		"another, secure": {at("2001:db8::1"), core.KubeletRequest{Path: "/", Port: "9100", Scheme: "https"}, "https://[2001:db8::1]:9100/"},
		"of this host":    {at("127.0.0.1"), core.KubeletRequest{Path: "/", Port: "9100"}, "address not allowed"},
		"of this host, 6": {at("::1"), core.KubeletRequest{Path: "/", Port: "9100"}, "address not allowed"},
		"of the link":     {at("169.254.169.254"), core.KubeletRequest{Path: "/", Port: "80"}, "address not allowed"},
		"of any":          {at("0.0.0.0"), core.KubeletRequest{Path: "/", Port: "80"}, "address not allowed"},
	} {
		got := ""
		if u, err := besideKubelet(t.Context(), test.node, test.to); err != nil {
			got = err.Error()
		} else if u != nil {
			got = u.String()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	p, err := New(Config{Dial: DialTLS(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Kubelet(t.Context(), at("127.0.0.1"), core.KubeletRequest{Path: "/", Port: "9100"}); !apierrors.IsBadRequest(err) {
		t.Errorf("an address that is not allowed: %v", err)
	}
}

// What a kubelet answers with leads through the proxy again.
func TestNodeProxyPages(t *testing.T) {
	kubelet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/logs":
			http.Redirect(w, r, "/logs/", http.StatusMovedPermanently)
		case "/logs/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, `<a href="/logs/dmesg">%s</a>`, r.URL.RawQuery)
		}
	}))
	defer kubelet.Close()
	dial := func(ctx context.Context, _ *corev1.Node) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", kubelet.Listener.Addr().String())
	}
	p, err := New(Config{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front(p, node))
	defer s.Close()
	for path, want := range map[string]string{
		"/logs":      "301 /node/logs/",
		"/logs/?b&a": `200 <a href="/node/logs/dmesg">b&a</a>`,
	} {
		code, body := get(t, s.URL+"/node"+path)
		if got := fmt.Sprint(code, " ", body); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestForward(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/else?a=b", http.StatusFound)
		case "/open":
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Access-Control-Expose-Headers", "kept")
			io.WriteString(w, "open")
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `<a href="/x">x</a>`)
		case "/upgrade":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, line)
		default:
			fmt.Fprintf(w, "%s|%s|%s", r.URL, r.Header.Get("Authorization"), r.Header.Get("X-Forwarded-Uri"))
		}
	}))
	defer backend.Close()
	c := newCluster(t)
	address := strings.TrimPrefix(backend.URL, "http://")
	base := "/forward/" + address
	for path, want := range map[string]string{
		"/a/b?c=d":  "200 /a/b?c=d||" + base + "/a/b",
		"/redirect": "302 " + base + "/else?a=b",
		"/page":     `200 <a href="` + base + `/x">x</a>`,
		"?q=1":      "301 " + base + "/?q=1",
	} {
		code, body := get(t, c.url+base+path)
		if got := fmt.Sprint(code, " ", body); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if code, query := get(t, c.url+base+"/a?z=1&flag&a=%2F"); code != 200 || !strings.HasPrefix(query, "/a?z=1&flag&a=%2F|") {
		t.Errorf("a query is altered: %d %s", code, query)
	}
	if response, err := http.Get(c.url + base + "/open"); err != nil {
		t.Error(err)
	} else {
		response.Body.Close()
		if got, kept := response.Header.Get("Access-Control-Allow-Origin"), response.Header.Get("Access-Control-Expose-Headers"); got != "" || kept != "kept" {
			t.Errorf("other sites may read it: %q, %q", got, kept)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", base)
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != 101 {
		t.Fatalf("%v %v", response, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("%q %v", line, err)
	}
	backend.Close()
	if code, body := get(t, c.url+base+"/a"); code != 503 || !strings.Contains(body, "error trying to reach service: dial tcp") {
		t.Errorf("%d %s", code, body)
	}
}

// Everything between the client's connection and the runtime runs in virtual
// time, sockets and files apart.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kubelet, err := server.New(server.Config{Host: &host{}, NodeName: "node-1", Streamer: &streamer{}})
		if err != nil {
			t.Fatal(err)
		}
		pipes, outer := &Pipes{}, &Pipes{}
		ctx, cancel := context.WithCancel(t.Context())
		p, err := New(Config{Dial: pipes.Dial})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { kubelet.Run(ctx) })
		wg.Go(func() { pipes.Serve(ctx, "node-1", kubelet) })
		wg.Go(func() { outer.Serve(ctx, "api", front(p, node)) })
		synctest.Wait()
		transport := &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return outer.Dial(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "api"}})
			},
			DisableKeepAlives: true,
		}
		begin := time.Now()
		for range 24 {
			response, err := (&http.Client{Transport: transport}).Get("http://api/kubelet/healthz")
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || string(b) != "ok" {
				t.Fatalf("%q, %v", b, err)
			}
			time.Sleep(time.Hour)
		}
		if time.Since(begin) != 24*time.Hour {
			t.Errorf("it took %v", time.Since(begin))
		}
		cancel()
		wg.Wait()
	})
}
