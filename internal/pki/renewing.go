package pki

import (
	"crypto/tls"
	"sync"
	"time"
)

// Renewing issues one certificate again and again, each time two thirds of its
// life are over, so that a process which runs for years never shows an expired
// one. Its methods fit tls.Config and are safe for concurrent use.
type Renewing struct {
	authority *Authority
	request   Request
	now       func() time.Time

	mu   sync.Mutex // guards cert
	cert *tls.Certificate
}

// Renew makes a certificate for req that renews itself. now is time.Now outside
// of tests.
func (a *Authority) Renew(req Request, now func() time.Time) *Renewing {
	return &Renewing{authority: a, request: req, now: now}
}

// Current returns a certificate that is valid now.
func (r *Renewing) Current() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.cert != nil {
		life := r.cert.Leaf.NotAfter.Sub(r.cert.Leaf.NotBefore)
		if now.Before(r.cert.Leaf.NotBefore.Add(life * 2 / 3)) {
			return r.cert, nil
		}
	}
	cert, err := r.authority.Issue(r.request, now)
	if err != nil {
		return nil, err
	}
	r.cert = cert
	return cert, nil
}

// GetCertificate is for the serving side's tls.Config.
func (r *Renewing) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return r.Current()
}

// GetClientCertificate is for the calling side's tls.Config.
func (r *Renewing) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return r.Current()
}
