package program

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
	"github.com/strake-io/strake/store/memory"
)

// OpenStore makes the store that the flags ask for, and says what it is.
func OpenStore(f *Flags, log logr.Logger) (s store.Store, what string, err error) {
	if f.Store == "memory" {
		s, err = memory.New(memory.Config{})
		return s, "memory (forgotten at the end)", err
	}
	config := etcd.Config{Logger: log.WithName("etcd")}
	if len(f.EtcdEndpoints) == 0 {
		config.DataDir = filepath.Join(f.DataDir, "etcd")
		s, err = etcd.New(config)
		return s, "etcd in this process, in " + config.DataDir, err
	}
	config.Endpoints = f.EtcdEndpoints
	if config.TLS, err = etcdTLS(f); err != nil {
		return nil, "", err
	}
	s, err = etcd.New(config)
	return s, "etcd at " + strings.Join(f.EtcdEndpoints, ", "), err
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
