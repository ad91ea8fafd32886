package nodeproxy

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// kubeletPort where a node does not say.
const kubeletPort = 10250

// Address is the host and port of a node's kubelet: the internal address, else
// the next best that the node has, else its name.
func Address(node *corev1.Node) string {
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = kubeletPort
	}
	host := node.Name
search:
	for _, kind := range []corev1.NodeAddressType{
		corev1.NodeInternalIP, corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalIP, corev1.NodeExternalDNS,
	} {
		for _, a := range node.Status.Addresses {
			if a.Type == kind && a.Address != "" {
				host = a.Address
				break search
			}
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// DialTLS dials nodes over the network. config holds the CA of the kubelets'
// certificates and the client certificate to show; without a ServerName the
// certificate must be for the address that is dialled. nil is a plain connection.
func DialTLS(config *tls.Config) DialFunc {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"} // upgrades need it
	}
	return func(ctx context.Context, node *corev1.Node) (net.Conn, error) {
		address := Address(node)
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil || config == nil {
			return conn, err
		}
		own := config
		if own.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				conn.Close()
				return nil, err
			}
			own = config.Clone()
			own.ServerName = host
		}
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err // users read it as net/http words it
		}
		return secure, nil
	}
}
