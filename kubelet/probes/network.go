package probes

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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
)

// NetworkHandler probes real pods: commands through the runtime, and HTTP, TCP
// and gRPC over the network.
type NetworkHandler struct {
	// Exec runs commands. Required for exec probes.
	Exec Execer
	// Dial connects; nil is a net.Dialer that does not wait for the peer when
	// it closes.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// UserAgent of HTTP and gRPC probes. Default kube-probe/1.37.
	UserAgent string
}

// Probe implements [Handler].
func (h *NetworkHandler) Probe(ctx context.Context, _ Kind, probe *corev1.Probe, target Target) (Outcome, string) {
	if probe.Exec != nil {
		if h.Exec == nil {
			return OutcomeUnknown, "commands cannot be run on this node"
		}
		return execProbe(ctx, h.Exec, probe, target)
	}
	if probe.HTTPGet != nil {
		return h.http(ctx, probe.HTTPGet, timeoutOf(probe), target)
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(probe))
	defer cancel()
	switch {
	case probe.TCPSocket != nil:
		return h.tcp(ctx, probe.TCPSocket, target)
	case probe.GRPC != nil:
		return h.grpc(ctx, probe.GRPC, target)
	}
	return OutcomeUnknown, "missing probe handler for " + target.Pod.Name + ":" + target.Container.Name
}

func (h *NetworkHandler) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.Dial != nil {
		return h.Dial(ctx, network, address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Probes are many: closing must not leave sockets in TIME_WAIT.
		_ = tcp.SetLinger(0)
	}
	return conn, err
}

func (h *NetworkHandler) userAgent() string {
	if h.UserAgent != "" {
		return h.UserAgent
	}
	return "kube-probe/1.37"
}

func hostOr(host, ip string) string {
	if host != "" {
		return host
	}
	return ip
}

func (h *NetworkHandler) tcp(ctx context.Context, action *corev1.TCPSocketAction, target Target) (Outcome, string) {
	port, err := Port(action.Port, target.Container)
	if err != nil {
		return OutcomeUnknown, err.Error()
	}
	conn, err := h.dial(ctx, "tcp", net.JoinHostPort(hostOr(action.Host, target.PodIP), strconv.Itoa(port)))
	if err != nil {
		return OutcomeFailure, err.Error()
	}
	conn.Close()
	return OutcomeSuccess, ""
}

// maxRedirects to the same host are followed.
const maxRedirects = 10

func (h *NetworkHandler) http(ctx context.Context, action *corev1.HTTPGetAction, timeout time.Duration, target Target) (Outcome, string) {
	request, err := httpRequest(ctx, action, target, h.userAgent())
	if err != nil {
		return OutcomeUnknown, err.Error()
	}
	transport := &http.Transport{
		DialContext: h.dial,
		// The pod's certificate names what its clients call it, not its address.
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives:  true,
		DisableCompression: true,
		Proxy:              nil,
		ForceAttemptHTTP2:  false,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		Timeout:   timeout,
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if to.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= maxRedirects {
				return errors.New("stopped after 10 redirects")
			}
			if to.Host == "" || via[0].Host != "" {
				to.Host = via[0].Host
			}
			return nil
		},
	}
	response, err := client.Do(request)
	if err != nil {
		return OutcomeFailure, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxOutput))
	if err != nil {
		return OutcomeFailure, err.Error()
	}
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return OutcomeSuccess, string(body)
	case code >= 300 && code < 400:
		return OutcomeWarning, fmt.Sprintf("Probe terminated redirects, Response body: %v", string(body))
	default:
		return OutcomeFailure, fmt.Sprintf("HTTP probe failed with statuscode: %d", code)
	}
}

func httpRequest(ctx context.Context, action *corev1.HTTPGetAction, target Target, userAgent string) (*http.Request, error) {
	port, err := Port(action.Port, target.Container)
	if err != nil {
		return nil, err
	}
	scheme := strings.ToLower(string(action.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	// The path may carry a query.
	u, err := url.Parse(action.Path)
	if err != nil {
		u = &url.URL{Path: action.Path}
	}
	u.Scheme = scheme
	u.Host = net.JoinHostPort(hostOr(action.Host, target.PodIP), strconv.Itoa(port))
	if u.Path == "" || u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, header := range action.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	// An empty value given by the user means: send none.
	if _, ok := request.Header["User-Agent"]; !ok {
		request.Header.Set("User-Agent", userAgent)
	}
	if _, ok := request.Header["Accept"]; !ok {
		request.Header.Set("Accept", "*/*")
	} else if request.Header.Get("Accept") == "" {
		request.Header.Del("Accept")
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	return request, nil
}

func (h *NetworkHandler) grpc(ctx context.Context, action *corev1.GRPCAction, target Target) (Outcome, string) {
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	address := net.JoinHostPort(target.PodIP, strconv.Itoa(int(action.Port)))
	// The target is an address: no name is resolved, and no proxy asked.
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent(h.userAgent()),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return h.dial(ctx, "tcp", address)
		}))
	if err != nil {
		return OutcomeFailure, fmt.Sprintf("error: creating a connection to %q: %v", address, err)
	}
	defer conn.Close()
	start := time.Now()
	response, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		switch status.Code(err) {
		case codes.Unimplemented:
			return OutcomeFailure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message())
		case codes.DeadlineExceeded:
			return OutcomeFailure, fmt.Sprintf("timeout: health rpc did not complete within %v", time.Since(start).Round(time.Second))
		}
		return OutcomeFailure, fmt.Sprintf("error: health rpc probe failed: %+v", err)
	}
	if s := response.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return OutcomeFailure, fmt.Sprintf("service unhealthy (responded with %q)", s.String())
	}
	return OutcomeSuccess, "service healthy"
}
