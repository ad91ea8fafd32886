package nodeproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	gwebsocket "github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

func TestExec(t *testing.T) {
	c := newCluster(t)
	for name, e := range c.executors(t, "/exec/ns/p/c?command=cat&input=1&output=1&error=1") {
		t.Run(name, func(t *testing.T) {
			input := strings.Repeat("0123456789abcdef", 1<<14) // 256 KiB: more than any buffer
			var out, errOut bytes.Buffer
			err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errOut})
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != input || errOut.String() != "262144 bytes in container-id" {
				t.Errorf("%d bytes of output, stderr %q", out.Len(), errOut.String())
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	c := newCluster(t)
	for name, e := range c.executors(t, "/exec/ns/p/c?command=exit&output=1") {
		var out bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out})
		var exit utilexec.CodeExitError
		if !errors.As(err, &exit) || exit.Code != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommandError(t *testing.T) {
	c := newCluster(t)
	for path, want := range map[string]string{
		"/exec/ns/p/c?command=none&output=1": "error executing command in container: no such command",
		"/exec/ns/p/x?command=cat&output=1":  `container not found ("x")`,
		"/exec/ns/q/c?command=cat&output=1":  `pod "q" does not exist`,
	} {
		for name, e := range c.executors(t, path) {
			err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %v", name, path, err)
			}
		}
	}
}

type sizes chan *remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize { return <-s }

func TestTerminal(t *testing.T) {
	c := newCluster(t)
	for name, e := range c.executors(t, "/exec/ns/p/c?command=size&input=1&output=1&tty=1") {
		queue := make(sizes, 1)
		queue <- &remotecommand.TerminalSize{Width: 80, Height: 25}
		in, keep := io.Pipe()
		var out bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: queue})
		keep.Close()
		close(queue)
		if err != nil || out.String() != "80x25" {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}

func TestAttach(t *testing.T) {
	c := newCluster(t)
	for name, e := range c.executors(t, "/attach/ns/p/c?output=1&error=1") {
		var out bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: io.Discard})
		if err != nil || out.String() != "attached to container-id" {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}

// Older WebSocket clients (browsers) speak v4.channel.k8s.io.
func TestWebSocketV4(t *testing.T) {
	c := newCluster(t)
	dialer := gwebsocket.Dialer{Subprotocols: []string{"v4.channel.k8s.io"}}
	conn, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(c.url, "http")+"/kubelet/exec/ns/p/c?command=exit&output=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for {
		_, message, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if message[0] != 3 {
			continue
		}
		if !strings.Contains(string(message), `"reason":"ExitCode"`) && !strings.Contains(string(message), "NonZeroExitCode") {
			t.Errorf("status %s", message)
		}
		return
	}
}

func TestUpgradeRequired(t *testing.T) {
	c := newCluster(t)
	response, err := http.Post(c.url+"/kubelet/exec/ns/p/c?command=cat&output=1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var status metav1.Status
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil || status.Message != "Upgrade request required" || response.StatusCode != 400 {
		t.Errorf("%d %+v %v", response.StatusCode, status, err)
	}
}

func TestPortForward(t *testing.T) {
	c := newCluster(t)
	u, _ := url.Parse(c.url + "/kubelet/portForward/ns/p")
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		t.Fatal(err)
	}
	overSPDY := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", u)
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialer(u, c.config)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, forward func(stop, ready chan struct{}) (*portforward.PortForwarder, error)) {
		t.Run(name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			f, err := forward(stop, ready)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- f.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-done:
				t.Fatalf("not ready: %v", err)
			}
			ports, err := f.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "hello %d\n", i)
				b, err := io.ReadAll(conn)
				conn.Close()
				if want := fmt.Sprintf("sandbox-id:8080:hello %d\n", i); err != nil || string(b) != want {
					t.Errorf("got %q, %v, want %q", b, err, want)
				}
			}
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1].Local))
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(conn); len(b) > 0 {
				t.Errorf("a port that refuses answered %q", b)
			}
			conn.Close()
			close(stop)
			if err := <-done; err != nil && !errors.Is(err, portforward.ErrLostConnectionToPod) {
				t.Error(err)
			}
		})
	}
	ports := []string{"0:8080", "0:1"}
	try("SPDY", func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
		return portforward.NewOnAddresses(overSPDY, []string{"127.0.0.1"}, ports, stop, ready, io.Discard, io.Discard)
	})
	try("WebSocket", func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
		return portforward.NewOnAddresses(overWebSocket, []string{"127.0.0.1"}, ports, stop, ready, io.Discard, io.Discard)
	})
}
