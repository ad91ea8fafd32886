package program

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/internal/pki"
)

// Guard is who may use a node's HTTP interface: clients whose certificate the
// cluster's authority signed and that are of the group system:masters, as the API
// server is.
type Guard struct {
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	// TLS for the listener, with a certificate that the node signs itself.
	TLS *tls.Config
}

// GuardNode makes the guard of a node that joins by a kubeconfig.
func GuardNode(config *rest.Config) (*Guard, error) {
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(config.CAData) {
		return nil, errors.New("--kubeconfig: it has no certificate-authority-data to know the API server by")
	}
	self, err := pki.New("kubelet", time.Now())
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	req := pki.Request{CommonName: "system:node:" + host, Organization: []string{user.NodesGroup}, DNSNames: []string{host}}
	for _, a := range MachineAddresses() {
		req.IPs = append(req.IPs, net.ParseIP(a))
	}
	return &Guard{
		Authenticator: authn.New(authn.Config{ClientCAs: pool, RefuseAnonymous: true}),
		Authorizer:    authorizer.AuthorizerFunc(mastersOnly),
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, ClientCAs: pool,
			GetCertificate: self.Renew(req, time.Now).GetCertificate,
		},
	}, nil
}

func mastersOnly(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(a.GetUser().GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionDeny, "only the API server uses this interface", nil
}
