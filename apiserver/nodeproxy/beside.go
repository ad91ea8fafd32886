package nodeproxy

import (
	"context"
	"errors"
	"net"
	"net/url"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/apiserver/resources/core"
)

// besideKubelet is where a request goes that is for another port of the node than its
// kubelet's; nil is the kubelet. A node says by itself what its address is: nothing of
// this host or of the network around it is reached by that.
func besideKubelet(ctx context.Context, node *corev1.Node, to core.KubeletRequest) (*url.URL, error) {
	host, port, err := net.SplitHostPort(Address(node))
	if err != nil || to.Port == "" || to.Port == port {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("no addresses for hostname")
	}
	for _, address := range found {
		if !address.IP.IsGlobalUnicast() {
			return nil, errors.New("address not allowed")
		}
	}
	scheme := to.Scheme
	if scheme == "" {
		scheme = "http"
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, to.Port), Path: to.Path}, nil
}
