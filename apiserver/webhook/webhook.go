// Package webhook calls the HTTPS endpoints that clients of the API register: a
// conversion webhook of custom resources, an admission webhook. It posts one JSON
// document and reads one back. What is in them is the caller's business.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// MaxAnswer is the largest answer that is read, in bytes.
	MaxAnswer = 32 << 20
	// maxClients is how many endpoints are remembered with their connections.
	maxClients = 256
	idle       = 30 * time.Second
)

// Target is an endpoint: a URL, or else a service of the cluster.
type Target struct {
	URL     string
	Service *Service
	// CABundle are the PEM certificates that the endpoint's is checked against;
	// empty (or only white space) means those of the system.
	CABundle []byte
}

// Service names a service of the cluster. Its certificate is for NAME.NAMESPACE.svc.
type Service struct {
	Namespace, Name, Path string
	Port                  int32 // 0 means 443
}

// ResolveFunc finds an address, "host:port", behind a port of a service.
type ResolveFunc func(ctx context.Context, namespace, name string, port int32) (string, error)

// DialFunc connects to an address.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Config of a [Caller].
type Config struct {
	// Resolve finds services; nil finds none. See [Services].
	Resolve ResolveFunc
	// Dial connects; nil means the host's network.
	Dial DialFunc
}

// Caller calls webhooks. It keeps connections to those it has called, and is safe
// for concurrent use. It follows no redirects and uses no proxy.
type Caller struct {
	config Config

	mu      sync.Mutex // guards clients
	clients map[string]*http.Client
}

// New makes a caller. Close it to end its idle connections.
func New(config Config) *Caller {
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &Caller{config: config, clients: map[string]*http.Client{}}
}

// Close ends idle connections. Calls that run go on.
func (c *Caller) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
	clear(c.clients)
}

// Post sends body as JSON and reads the answer into the value that answer points
// to. timeout, above zero, bounds the call, and what is left of the time is told to
// the endpoint in whole seconds, as upstream does. An answer that is a metav1.Status comes back as the error it is.
func (c *Caller) Post(ctx context.Context, to Target, timeout time.Duration, body, answer any) error {
	where, serverName, err := to.endpoint()
	if err != nil {
		return err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
		// The caller may have less time.
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		timeout = max((timeout + time.Second - 1).Truncate(time.Second), time.Second)
		where.RawQuery = "timeout=" + timeout.String()
	}
	client, err := c.client(to, serverName)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, */*")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return err
	}
	if len(data) > MaxAnswer {
		return fmt.Errorf("the answer is larger than %d bytes", MaxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 206 {
		return refusal(resp, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("couldn't parse the answer: %w", err)
	}
	return nil
}

// refusal is the error of an answer that is none.
func refusal(resp *http.Response, data []byte) error {
	var status metav1.Status
	if json.Unmarshal(data, &status) == nil && status.Kind == "Status" && status.Status != metav1.StatusSuccess {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, resp.Request.Method, schema.GroupResource{}, "", strings.TrimSpace(string(data[:min(len(data), 2048)])), 0, true)
}

// endpoint is the URL to call, and the name that its certificate must have; "" is
// that in the URL.
func (t Target) endpoint() (*url.URL, string, error) {
	if t.Service != nil {
		port := t.Service.Port
		if port == 0 {
			port = 443
		}
		name := t.Service.Name + "." + t.Service.Namespace + ".svc"
		path := t.Service.Path
		if path != "" && !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return &url.URL{Scheme: "https", Host: net.JoinHostPort(name, strconv.Itoa(int(port))), Path: path}, name, nil
	}
	if t.URL == "" {
		return nil, "", errors.New("webhook configuration must have either service or URL")
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, "", fmt.Errorf("unparsable URL: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, "", fmt.Errorf("the URL %q is not https://host[/path]", t.URL)
	}
	return u, "", nil
}

// client is the one for an endpoint's service and certificates.
func (c *Caller) client(to Target, serverName string) (*http.Client, error) {
	bundle := bytes.TrimSpace(to.CABundle)
	key := serverName + "\n" + string(bundle)
	if to.Service != nil {
		key = fmt.Sprintf("%d %s", to.Service.Port, key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if client := c.clients[key]; client != nil {
		return client, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if len(bundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
	}
	dial := c.config.Dial
	if to.Service != nil {
		dial = c.dialService(*to.Service)
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: idle,
			MaxIdleConnsPerHost: 25, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if len(c.clients) >= maxClients {
		for key, old := range c.clients {
			old.CloseIdleConnections()
			delete(c.clients, key)
			break
		}
	}
	c.clients[key] = client
	return client, nil
}

// dialService connects to wherever the service leads now.
func (c *Caller) dialService(s Service) DialFunc {
	port := s.Port
	if port == 0 {
		port = 443
	}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		if c.config.Resolve == nil {
			return nil, fmt.Errorf("service %s/%s cannot be found: this server resolves no services", s.Namespace, s.Name)
		}
		address, err := c.config.Resolve(ctx, s.Namespace, s.Name, port)
		if err != nil {
			return nil, err
		}
		return c.config.Dial(ctx, network, address)
	}
}
