// Package lifecycle runs the hooks of containers: postStart after a container
// began, preStop before it is asked to end.
package lifecycle

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/runtime"
)

// maxBody is read of a hook's HTTP response, so that the connection is reused.
const maxBody = 10 << 10

// Executor runs a command inside a container. Every runtime.Runtime is one.
type Executor interface {
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error)
}

// Config of a [Runner].
type Config struct {
	// Executor runs the commands of exec hooks. Required.
	Executor Executor
	// Dial connects HTTP and TCP hooks; nil is a plain dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Runner runs hooks. Safe for concurrent use.
type Runner struct {
	exec Executor
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	http *http.Client
}

// New validates the configuration.
func New(c Config) (*Runner, error) {
	if c.Executor == nil {
		return nil, errors.New("lifecycle: Config.Executor is required")
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	transport := &http.Transport{
		DialContext: c.Dial,
		// Pods have no certificates that a node could check.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		DisableKeepAlives: true,
	}
	return &Runner{exec: c.Executor, dial: c.Dial, http: &http.Client{Transport: transport}}, nil
}

// Run runs one hook of a container to its end, or until ctx ends. podIP is the
// host of HTTP and TCP hooks that name none.
func (r *Runner) Run(ctx context.Context, c *corev1.Container, containerID, podIP string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		result, err := r.exec.ExecSync(ctx, containerID, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if result.ExitCode != 0 {
			return fmt.Errorf("command '%s' exited with %d: %s", strings.Join(h.Exec.Command, " "), result.ExitCode, result.Stderr)
		}
		return nil
	case h.HTTPGet != nil:
		return r.get(ctx, c, podIP, h.HTTPGet)
	case h.TCPSocket != nil:
		port, err := Port(h.TCPSocket.Port, c)
		if err != nil {
			return err
		}
		host := h.TCPSocket.Host
		if host == "" {
			host = podIP
		}
		conn, err := r.dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return conn.Close()
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("invalid handler of container %s", c.Name)
}

// get calls the hook's URL. Any answer will do, whatever its status.
func (r *Runner) get(ctx context.Context, c *corev1.Container, podIP string, h *corev1.HTTPGetAction) error {
	port, err := Port(h.Port, c)
	if err != nil {
		return err
	}
	host := h.Host
	if host == "" {
		host = podIP
	}
	u, err := url.Parse(h.Path)
	if err != nil {
		u = &url.URL{Path: h.Path}
	}
	u.Scheme = strings.ToLower(string(h.Scheme))
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "kube-lifecycle/1.37")
	for _, header := range h.HTTPHeaders {
		if http.CanonicalHeaderKey(header.Name) == "Host" {
			req.Host = header.Value
		} else {
			req.Header.Add(header.Name, header.Value)
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody)
	return nil
}

// Port resolves a number or the name of one of the container's ports.
func Port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	number := p.IntValue()
	if p.Type == intstr.String {
		for i := range c.Ports {
			if c.Ports[i].Name == p.StrVal {
				number = int(c.Ports[i].ContainerPort)
			}
		}
	}
	if number <= 0 || number > 65535 {
		return 0, fmt.Errorf("invalid port %q of container %s", p.String(), c.Name)
	}
	return number, nil
}
