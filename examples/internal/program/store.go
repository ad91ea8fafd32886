package program

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
	"github.com/strake-io/strake/store/memory"
)

// OpenStore makes the store that the flags ask for, and says what it is.
func OpenStore(ctx context.Context, f *Flags, log logr.Logger) (s store.Store, what string, err error) {
	if f.Store == "memory" {
		s, err = memory.New(memory.Config{})
		return s, "memory (forgotten at the end)", err
	}
	config := etcd.Config{Logger: log.WithName("etcd")}
	if len(f.EtcdEndpoints) == 0 {
		return openEmbedded(ctx, f, config)
	}
	config.Endpoints = f.EtcdEndpoints
	if config.TLS, err = etcdTLS(f); err != nil {
		return nil, "", err
	}
	s, err = etcd.New(config)
	return s, "etcd at " + strings.Join(f.EtcdEndpoints, ", "), err
}

// openEmbedded makes the etcd of this process, from a backup where one is given.
func openEmbedded(ctx context.Context, f *Flags, config etcd.Config) (store.Store, string, error) {
	config.DataDir = f.etcdDir()
	var err error
	if config.Cluster, err = f.cluster(ctx); err != nil {
		return nil, "", err
	}
	if f.Masters.Restore != "" {
		if err := etcd.Restore(f.Masters.Restore, config.DataDir, config.Cluster, config.Logger); err != nil {
			return nil, "", fmt.Errorf("--restore: %w", err)
		}
	}
	what := "etcd in this process, in " + config.DataDir
	if config.Cluster != nil {
		what += ", one of several, reached by others at " + config.Cluster.PeerURL
	}
	s, err := etcd.New(config)
	return s, what, err
}

// EtcdPaths are what an administrator of the store is served: its members and backups.
func EtcdPaths(s store.Store) map[string]http.Handler {
	if e, ok := s.(*etcd.Store); ok {
		return map[string]http.Handler{"etcd": e.Handler("/etcd")}
	}
	return nil
}

func etcdTLS(f *Flags) (*tls.Config, error) {
	if f.EtcdCA == "" && f.EtcdCert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.EtcdCA != "" {
		pem, err := os.ReadFile(f.EtcdCA)
		if err != nil {
			return nil, fmt.Errorf("--etcd-cafile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--etcd-cafile %s: no certificate in it", f.EtcdCA)
		}
	}
	if f.EtcdCert != "" {
		cert, err := tls.LoadX509KeyPair(f.EtcdCert, f.EtcdKey)
		if err != nil {
			return nil, fmt.Errorf("--etcd-certfile: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}
