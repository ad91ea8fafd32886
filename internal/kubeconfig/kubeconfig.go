// Package kubeconfig writes the files by which kubectl and remote components
// find a cluster and prove who they are.
package kubeconfig

import (
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/strake-io/strake/internal/atomicfile"
)

// Entry is one cluster and one user in it.
type Entry struct {
	// Cluster names the cluster and, with User, the context.
	Cluster string
	// Server is the URL of the API, CA the PEM certificate it is trusted by.
	Server string
	CA     []byte
	// User names the user; it proves itself by Token, or by Cert and Key (PEM).
	User      string
	Token     string
	Cert, Key []byte
}

// Context is what the context of a cluster and one of its users is called.
func Context(user, cluster string) string { return user + "@" + cluster }

// Write puts a kubeconfig with a context for each entry into path, mode 0600, and
// makes the directory where it is missing. The first is the current one.
func Write(path string, first Entry, more ...Entry) error {
	config := clientcmdapi.NewConfig()
	for _, e := range append([]Entry{first}, more...) {
		config.Clusters[e.Cluster] = &clientcmdapi.Cluster{Server: e.Server, CertificateAuthorityData: e.CA}
		config.AuthInfos[e.User] = &clientcmdapi.AuthInfo{
			Token: e.Token, ClientCertificateData: e.Cert, ClientKeyData: e.Key,
		}
		config.Contexts[Context(e.User, e.Cluster)] = &clientcmdapi.Context{Cluster: e.Cluster, AuthInfo: e.User}
	}
	config.CurrentContext = Context(first.User, first.Cluster)
	data, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}
