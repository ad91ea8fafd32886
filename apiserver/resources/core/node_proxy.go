package core

import (
	"context"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// NodeProxy reaches what runs on nodes. The resources here decide which node,
// which path and which container; a NodeProxy knows the way there (addresses,
// ports, certificates) and moves the bytes. Both methods may be called
// concurrently; their errors are API errors; the handlers serve one request
// each, and end when its context does.
type NodeProxy interface {
	// Kubelet answers with a handler that sends the request to a path of the
	// node's kubelet and carries the answer back, connection upgrades (SPDY and
	// WebSocket) included.
	Kubelet(ctx context.Context, node *corev1.Node, to KubeletRequest) (http.Handler, error)
	// Forward answers with a handler that sends the request to a pod or to an
	// endpoint of a service: to the path in to, with the query that the client
	// wrote. The scheme is http or https; certificates are not verified, since
	// pods have none that anyone knows.
	Forward(ctx context.Context, to *url.URL) (http.Handler, error)
}

// KubeletRequest is what to ask of a kubelet, or of another server on its node.
type KubeletRequest struct {
	// Port is another server's that is spoken to as to pods, by Scheme (http where it
	// is empty). Empty, and the kubelet's own, mean the kubelet, whose scheme is known.
	Port, Scheme string
	// Path and Query at the kubelet's server: /containerLogs/..., /exec/...
	Path  string
	Query url.Values
	// Upgrade says that the request must switch protocols (exec, attach,
	// portforward): one that does not is refused.
	Upgrade bool
	// Flush says that each piece of the answer must reach the client at once
	// (a log that is followed).
	Flush bool
	// Proxied says that the client is a browser of all that the kubelet serves
	// (nodes/proxy): links and redirects lead through the proxy again, and the
	// query goes on as the client wrote it.
	Proxied bool
	// SkipVerify says that the user agreed to an unverified kubelet certificate.
	SkipVerify bool
}

// proxyVerbs are those of the proxy sub-resources.
var proxyVerbs = []string{"create", "delete", "get", "patch", "update"}

// through is the proxy, or the error where the host gave none.
func through(p NodeProxy) (NodeProxy, error) {
	if p == nil {
		return nil, apierrors.NewServiceUnavailable("this server has no connection to nodes")
	}
	return p, nil
}
