// Package nodeproxy carries requests from the API server to nodes and pods: logs,
// exec, attach and port-forward to the kubelet's server, and the proxy
// sub-resources of nodes, pods and services.
//
// The resources (apiserver/resources/core) decide what is asked of whom and hand
// over here; [Proxy] is their NodeProxy. How a node is reached is a [DialFunc]:
// [DialTLS] over the network, or [Pipes] to kubelets of this process.
//
// A kubelet is spoken to over HTTP/1.1 and SPDY, which every kubelet
// understands. Clients that come by WebSocket in the form of current kubectl
// are translated; all others' upgrades are passed through.
package nodeproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/internal/wsbridge"
)

// DialFunc connects to a node's kubelet. What it returns speaks plain HTTP/1.1:
// any TLS has been done.
type DialFunc func(ctx context.Context, node *corev1.Node) (net.Conn, error)

// Config configures a [Proxy].
type Config struct {
	// Dial connects to nodes. Required.
	Dial DialFunc
	// DialInsecure connects without checking the node's certificate, for users
	// who ask for a log in that way; nil is Dial.
	DialInsecure DialFunc
	// DialPod connects to pods, for the proxy sub-resources of pods and
	// services; nil is a net.Dialer, which needs a route to the pod network.
	DialPod func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Proxy implements core.NodeProxy. Safe for concurrent use.
type Proxy struct{ cfg Config }

var _ core.NodeProxy = (*Proxy)(nil)

// New validates the configuration.
func New(cfg Config) (*Proxy, error) {
	if cfg.Dial == nil {
		return nil, errors.New("nodeproxy: Config.Dial is required")
	}
	if cfg.DialInsecure == nil {
		cfg.DialInsecure = cfg.Dial
	}
	if cfg.DialPod == nil {
		cfg.DialPod = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &Proxy{cfg: cfg}, nil
}

// Kubelet implements core.NodeProxy.
func (p *Proxy) Kubelet(ctx context.Context, node *corev1.Node, to core.KubeletRequest) (http.Handler, error) {
	if other, err := besideKubelet(ctx, node, to); other != nil || err != nil {
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return p.Forward(ctx, other)
	}
	dial := p.cfg.Dial
	if to.SkipVerify {
		dial = p.cfg.DialInsecure
	}
	k := &kubelet{
		cfg: &p.cfg,
		to:  to,
		// The host is for the Host header and for messages; the dialler knows
		// the way.
		url: &url.URL{Scheme: "http", Host: Address(node), Path: to.Path, RawQuery: to.Query.Encode()},
	}
	k.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx, node)
			if err != nil {
				failed := &dialError{err}
				k.unreached.Store(failed)
				return nil, failed
			}
			return conn, nil
		},
		// One request, one connection: nothing idle is left to be joined.
		DisableKeepAlives:  true,
		DisableCompression: true,
	}
	return k, nil
}

// dialError marks errors of reaching the node at all.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// kubelet is the handler of one request to a kubelet.
type kubelet struct {
	cfg       *Config
	to        core.KubeletRequest
	url       *url.URL
	transport *http.Transport
	// unreached is why the node could not be dialled: client-go drops the cause
	// of its own errors.
	unreached atomic.Pointer[dialError]
}

// ServeHTTP implements [http.Handler].
func (k *kubelet) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	defer k.transport.CloseIdleConnections()
	req = withoutCredentials(req)
	upgrade := httpstream.IsUpgradeRequest(req)
	switch {
	case k.to.Upgrade && !upgrade:
		writeError(w, apierrors.NewBadRequest("Upgrade request required"))
	case k.to.Upgrade && wsbridge.IsTunnel(req):
		k.tunnel(w, req)
	case k.to.Upgrade && wsbridge.IsCommand(req):
		k.translate(w, req)
	default:
		k.pass(w, req, upgrade)
	}
}

// pass hands the request on as it is, upgrades included.
func (k *kubelet) pass(w http.ResponseWriter, req *http.Request, upgrade bool) {
	if k.to.Path == "/" && redirectToSlash(w, req) {
		return
	}
	to := *k.url
	var transport http.RoundTripper = k.transport
	if k.to.Proxied {
		to.RawQuery, transport = req.URL.RawQuery, browsing(k.transport, req, to.Path)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			rewrite(r, &to)
			if upgrade {
				// Kubelets take streams by POST, whatever the client used.
				if !isWebSocket(r.In) {
					r.Out.Method = http.MethodPost
				}
			}
		},
		Transport: transport,
		ErrorLog:  log.New(logWriter{k.cfg.Logger}, "", 0),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			k.failed(w, req, err)
		},
	}
	if k.to.Flush || upgrade {
		proxy.FlushInterval = -1
	}
	if strings.HasPrefix(k.to.Path, "/containerLogs/") && !k.to.Proxied {
		proxy.ModifyResponse = func(response *http.Response) error {
			return logStatus(response)
		}
	}
	proxy.ServeHTTP(w, req)
}

// failed answers a request that did not come through.
func (k *kubelet) failed(w http.ResponseWriter, req *http.Request, err error) {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		writeError(w, err)
		return
	}
	if req.Context().Err() != nil {
		return // nobody listens any more
	}
	k.cfg.Logger.V(1).Info("a node did not answer", "node", k.url.Host, "path", k.url.Path, "err", err)
	var dial *dialError
	switch {
	case k.to.Upgrade && errors.As(err, &dial):
		writeError(w, apierrors.NewInternalError(&wrapped{"error dialing backend: ", dial.error}))
	case k.to.Upgrade:
		writeError(w, apierrors.NewInternalError(err))
	default:
		writeError(w, apierrors.NewInternalError(&url.Error{Op: titled(req.Method), URL: "https://" + k.url.Host + k.url.RequestURI(), Err: err}))
	}
}

// titled is a method as net/http words it in errors: Get.
func titled(method string) string {
	if method == "" {
		return "Get"
	}
	return method[:1] + strings.ToLower(method[1:])
}

type wrapped struct {
	prefix string
	error
}

func (w *wrapped) Error() string { return w.prefix + w.error.Error() }
func (w *wrapped) Unwrap() error { return w.error }

// Forward implements core.NodeProxy.
func (p *Proxy) Forward(_ context.Context, to *url.URL) (http.Handler, error) {
	if to.Scheme != "http" && to.Scheme != "https" {
		return nil, apierrors.NewBadRequest("unsupported scheme " + to.Scheme)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if to.Path == "/" && redirectToSlash(w, req) {
			return
		}
		req = withoutCredentials(req)
		transport := &http.Transport{
			DialContext:        p.cfg.DialPod,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // pods have no certificate that anyone knows
			DisableKeepAlives:  true,
			DisableCompression: true,
		}
		defer transport.CloseIdleConnections()
		target := *to
		target.RawQuery = req.URL.RawQuery
		proxy := &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { rewrite(r, &target) },
			Transport:     browsing(transport, req, to.Path),
			FlushInterval: 200 * time.Millisecond,
			ErrorLog:      log.New(logWriter{p.cfg.Logger}, "", 0),
			ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
				var status apierrors.APIStatus
				if !errors.As(err, &status) {
					err = apierrors.NewServiceUnavailable("error trying to reach service: " + err.Error())
				}
				writeError(w, err)
			},
		}
		proxy.ServeHTTP(w, req)
	}), nil
}

func rewrite(r *httputil.ProxyRequest, to *url.URL) {
	u := *to
	r.Out.URL = &u
	r.Out.Host = to.Host
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
	if _, ok := r.In.Header["User-Agent"]; !ok {
		r.Out.Header.Set("User-Agent", "")
	}
}

// withoutCredentials takes away what the client showed to the API server, which
// is nobody else's business.
func withoutCredentials(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	for name := range req.Header {
		if strings.HasPrefix(name, "Impersonate-") {
			delete(req.Header, name)
		}
	}
	// Bearer tokens may also come as a WebSocket protocol.
	if values := req.Header.Values("Sec-Websocket-Protocol"); len(values) > 0 {
		var kept []string
		for _, v := range values {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); !strings.HasPrefix(part, "base64url.bearer.authorization.k8s.io.") {
					kept = append(kept, part)
				}
			}
		}
		req.Header.Set("Sec-Websocket-Protocol", strings.Join(kept, ", "))
	}
	return req
}

// redirectToSlash sends a client that asks for .../proxy to .../proxy/, so that
// relative links work. It reports whether it did.
func redirectToSlash(w http.ResponseWriter, req *http.Request) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || strings.HasSuffix(req.URL.Path, "/") || httpstream.IsUpgradeRequest(req) {
		return false
	}
	location := req.URL.EscapedPath() + "/"
	if req.URL.RawQuery != "" {
		location += "?" + req.URL.RawQuery
	}
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusMovedPermanently)
	return true
}

func isWebSocket(req *http.Request) bool {
	return strings.EqualFold(req.Header.Get("Upgrade"), "websocket")
}

// logWriter gives package log's lines to a logr.Logger.
type logWriter struct{ logger logr.Logger }

func (l logWriter) Write(b []byte) (int, error) {
	l.logger.V(1).Info(strings.TrimSpace(string(b)))
	return len(b), nil
}

var _ io.Writer = logWriter{}
