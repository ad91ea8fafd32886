package program

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/authz/node"
	"github.com/strake-io/strake/internal/atomicfile"
	"github.com/strake-io/strake/internal/kubeconfig"
	"github.com/strake-io/strake/internal/pki"
)

// Credentials are a cluster's: its certificate authority and its static tokens,
// made on the first start and kept in the data directory.
type Credentials struct {
	CA    *pki.Authority
	front *pki.Authority // signs the front proxy's certificate and no other
	admin string
	node  string
	proxy string
	// Accounts signs the tokens of service accounts.
	Accounts crypto.Signer
}

// OpenCredentials reads the credentials in dir, or makes them.
func OpenCredentials(dir string) (*Credentials, error) {
	ca, err := pki.Open(filepath.Join(dir, "pki"), "kubernetes", time.Now())
	if err != nil {
		return nil, err
	}
	front, err := pki.Open(filepath.Join(dir, "pki", "front-proxy"), "front-proxy-ca", time.Now())
	if err != nil {
		return nil, err
	}
	accounts, err := pki.OpenKey(filepath.Join(dir, "pki", "sa.key"))
	if err != nil {
		return nil, err
	}
	c := &Credentials{CA: ca, front: front, Accounts: accounts}
	for name, token := range map[string]*string{"admin.token": &c.admin, "node.token": &c.node, "proxy.token": &c.proxy} {
		if *token, err = openToken(filepath.Join(dir, "pki", name)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func openToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		token := strings.TrimSpace(string(data))
		if len(token) < 32 {
			return "", fmt.Errorf("%s: a token of less than 32 characters; remove the file to have a new one made", path)
		}
		return token, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	token := hex.EncodeToString(raw)
	return token, atomicfile.Write(path, []byte(token+"\n"), 0o600)
}

// Authenticator knows the static tokens and the client certificates that the
// authority signed.
func (c *Credentials) Authenticator() authenticator.Request {
	return authn.New(authn.Config{
		ClientCAs: c.CA.Pool(),
		Tokens: map[string]user.Info{
			c.admin: &user.DefaultInfo{Name: "kubernetes-admin", UID: "admin", Groups: []string{user.SystemPrivilegedGroup}},
			c.node:  &user.DefaultInfo{Name: node.Shared, UID: "node", Groups: []string{user.NodesGroup}},
			c.proxy: &user.DefaultInfo{Name: user.KubeProxy, UID: "proxy"},
		},
	})
}

// ServerTLS is for the listener of the API. names are host names and addresses that
// clients may call it by.
func (c *Credentials) ServerTLS(names ...string) *tls.Config {
	req := pki.Request{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)},
	}
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err != nil {
			req.DNSNames = append(req.DNSNames, name)
		} else if !addr.IsUnspecified() {
			req.IPs = append(req.IPs, addr.AsSlice())
		}
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.RequestClientCert, // the authenticator verifies, and answers 401 in the API's form
		ClientCAs:      c.CA.Pool(),
		GetCertificate: c.CA.Renew(req, time.Now).GetCertificate,
	}
}

// FrontProxy is who the API server is towards servers that serve parts of the API.
func (c *Credentials) FrontProxy() *strake.FrontProxy {
	own := c.front.Renew(pki.Request{CommonName: strake.FrontProxyName}, time.Now)
	return &strake.FrontProxy{CA: c.front.PEM(), Names: []string{strake.FrontProxyName}, Certificate: own.GetClientCertificate}
}

// KubeletTLS is for the API server's connections to kubelets. Nodes that joined
// bring a certificate that the authority did not sign, as upstream's do.
func (c *Credentials) KubeletTLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true,
		GetClientCertificate: c.CA.Renew(pki.Request{
			CommonName: "kube-apiserver-kubelet-client", Organization: []string{user.SystemPrivilegedGroup},
		}, time.Now).GetClientCertificate,
	}
}

// WriteAdmin writes the administrator's kubeconfig.
func (c *Credentials) WriteAdmin(path, server string) error {
	cert, err := c.CA.Issue(pki.Request{CommonName: "kubernetes-admin", Organization: []string{user.SystemPrivilegedGroup}}, time.Now())
	if err != nil {
		return err
	}
	certPEM, keyPEM, err := pki.EncodePEM(cert)
	if err != nil {
		return err
	}
	return kubeconfig.Write(path, kubeconfig.Entry{
		Cluster: "strake", Server: server, CA: c.CA.PEM(), User: "kubernetes-admin", Cert: certPEM, Key: keyPEM,
	})
}

// The entries of the kubeconfig by which nodes join.
const (
	clusterName = "strake"
	nodeEntry   = "node"
	proxyEntry  = "proxy"
)

// WriteNode writes the kubeconfig by which nodes join. Its contexts are the node's
// and the one of the service proxy beside it.
func (c *Credentials) WriteNode(path, server string) error {
	entry := kubeconfig.Entry{Cluster: clusterName, Server: server, CA: c.CA.PEM(), User: nodeEntry, Token: c.node}
	proxy := entry
	proxy.User, proxy.Token = proxyEntry, c.proxy
	return kubeconfig.Write(path, entry, proxy)
}

// ProxyConfig is how a node's service proxy reaches the cluster that a kubeconfig
// names: in its context for that, or where it has none, as the node does.
func ProxyConfig(path string) (*rest.Config, error) {
	file, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	overrides := &clientcmd.ConfigOverrides{}
	if name := kubeconfig.Context(proxyEntry, clusterName); file.Contexts[name] != nil {
		overrides.CurrentContext = name
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kube-proxy"
	return config, nil
}
