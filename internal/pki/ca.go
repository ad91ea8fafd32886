// Package pki is the certificate authority of a cluster: made on the first
// start, kept in the data directory, and asked for every serving and client
// certificate that the components need. The API server trusts a client because
// this authority signed it; nothing here knows who may do what.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/strake-io/strake/internal/atomicfile"
)

const (
	caValidity   = 10 * 365 * 24 * time.Hour
	leafValidity = 365 * 24 * time.Hour
	// skew is how far the clocks of two machines may differ before a fresh
	// certificate is refused as not yet valid.
	skew = 5 * time.Minute
)

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// New makes an authority that lives in memory only.
func New(commonName string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return sign(key, commonName, now)
}

// sign makes the authority of a key.
func sign(key crypto.Signer, commonName string, now time.Time) (*Authority, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return parse(encodeCert(der), key)
}

// Open reads the authority kept as ca.crt and ca.key in dir, or makes one and
// keeps it there where neither file exists. A certificate without its key is an
// error: it is not replaced, since every issued certificate would become void. A
// key without its certificate, as a crash during the first start leaves it, gets a
// new one, under which all that the key ever signed stays valid.
func Open(dir, commonName string, now time.Time) (*Authority, error) {
	certPath, keyPath := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	switch {
	case certErr == nil && keyErr == nil:
		return load(certPath, keyPath, certPEM, keyPEM, now)
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
	case certErr == nil && errors.Is(keyErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%s exists but its key %s does not: put the key back, or remove both to begin with a new authority", certPath, keyPath)
	case keyErr == nil && errors.Is(certErr, fs.ErrNotExist):
		key, err := decodeKey(keyPEM)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyPath, err)
		}
		a, err := sign(key, commonName, now)
		if err != nil {
			return nil, err
		}
		return a, atomicfile.Write(certPath, a.pem, 0o644)
	default:
		return nil, errors.Join(certErr, keyErr)
	}

	a, err := New(commonName, now)
	if err != nil {
		return nil, err
	}
	keyPEM, err = encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(keyPath, keyPEM, 0o600); err != nil {
		return nil, err
	}
	return a, atomicfile.Write(certPath, a.pem, 0o644)
}

func load(certPath, keyPath string, certPEM, keyPEM []byte, now time.Time) (*Authority, error) {
	key, err := decodeKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	a, err := parse(certPEM, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	if now.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("%s: expired on %s", certPath, a.cert.NotAfter.Format(time.DateOnly))
	}
	return a, nil
}

func parse(certPEM []byte, key crypto.Signer) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, errors.New("not the certificate of an authority")
	}
	certKey, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !certKey.Equal(key.Public()) {
		return nil, errors.New("the certificate and the key do not belong together")
	}
	return &Authority{cert: cert, key: key, pem: bytes.Clone(certPEM)}, nil
}

// PEM is the authority's certificate, for kubeconfigs and the root CA config map.
func (a *Authority) PEM() []byte { return bytes.Clone(a.pem) }

// Pool trusts this authority and no other.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Request says whom a certificate is for. With names or addresses it is a
// serving certificate, and always one for a client as well.
type Request struct {
	// CommonName is the user name, Organization the groups, by the rules of
	// Kubernetes' client certificates.
	CommonName   string
	Organization []string
	DNSNames     []string
	IPs          []net.IP
}

// Issue signs a certificate with a new key, valid for a year but never longer
// than the authority.
func (a *Authority) Issue(req Request, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	notAfter := now.Add(leafValidity)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: req.CommonName, Organization: req.Organization},
		NotBefore:    now.Add(-skew),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:     req.DNSNames,
		IPAddresses:  req.IPs,
	}
	if len(req.DNSNames)+len(req.IPs) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// EncodePEM renders a certificate that [Authority.Issue] made as PEM.
func EncodePEM(cert *tls.Certificate) (certPEM, keyPEM []byte, err error) {
	keyPEM, err = encodeKey(cert.PrivateKey)
	return encodeCert(cert.Certificate[0]), keyPEM, err
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func decodeKey(keyPEM []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", parsed)
	}
	return key, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
