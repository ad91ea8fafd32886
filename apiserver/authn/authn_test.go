package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

func certificate(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		parent, signer = template, key
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestAuthenticate(t *testing.T) {
	authority := func() (*x509.Certificate, *ecdsa.PrivateKey) {
		return certificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "ca"}}, nil, nil)
	}
	leaf := func(ca *x509.Certificate, key *ecdsa.PrivateKey, use x509.ExtKeyUsage) *x509.Certificate {
		cert, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "alice", Organization: []string{"dev"}}, ExtKeyUsage: []x509.ExtKeyUsage{use}}, ca, key)
		return cert
	}
	ca, key := authority()
	other, otherKey := authority()
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	a := New(Config{ClientCAs: pool, Tokens: map[string]user.Info{"t": &user.DefaultInfo{Name: "bob"}, "": &user.DefaultInfo{Name: "nobody"}}})

	withOthers := WithTokens(authenticator.TokenFunc(func(context.Context, string) (*authenticator.Response, bool, error) {
		return nil, false, errors.New("a token that has ended")
	}), a)

	for name, test := range map[string]struct {
		request http.Request
		user    string
		groups  []string
	}{
		"nothing":                          {http.Request{}, user.Anonymous, []string{user.AllUnauthenticated}},
		"token":                            {http.Request{Header: http.Header{"Authorization": {"Bearer t"}}}, "bob", []string{user.AllAuthenticated}},
		"wrong token":                      {http.Request{Header: http.Header{"Authorization": {"Bearer x"}}}, "", nil},
		"empty token":                      {http.Request{Header: http.Header{"Authorization": {"Bearer "}}}, user.Anonymous, []string{user.AllUnauthenticated}},
		"certificate":                      {http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(ca, key, x509.ExtKeyUsageClientAuth)}}}, "alice", []string{"dev", user.AllAuthenticated}},
		"a server's":                       {http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(ca, key, x509.ExtKeyUsageServerAuth)}}}, "", nil},
		"another CA's":                     {http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(other, otherKey, x509.ExtKeyUsageClientAuth)}}}, "", nil},
		"certificate beside a wrong token": {http.Request{Header: http.Header{"Authorization": {"Bearer x"}}, TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(ca, key, x509.ExtKeyUsageClientAuth)}}}, "alice", []string{"dev", user.AllAuthenticated}},
		"token beside another CA's":        {http.Request{Header: http.Header{"Authorization": {"Bearer t"}}, TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(other, otherKey, x509.ExtKeyUsageClientAuth)}}}, "bob", []string{user.AllAuthenticated}},
		"words after a token":              {http.Request{Header: http.Header{"Authorization": {"bearer t u"}}}, "bob", []string{user.AllAuthenticated}},
		"two spaces":                       {http.Request{Header: http.Header{"Authorization": {"Bearer  t"}}}, user.Anonymous, []string{user.AllUnauthenticated}},
		"browser token":                    {http.Request{Header: http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {websocketTokenPrefix + base64.RawURLEncoding.EncodeToString([]byte("t")) + ", v5.channel.k8s.io"}}}, "bob", []string{user.AllAuthenticated}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.request.Header == nil {
				test.request.Header = http.Header{}
			}
			response, ok, err := a.AuthenticateRequest(&test.request)
			// Asking others for tokens too changes nothing of this.
			both, bothOK, bothErr := withOthers.AuthenticateRequest(&test.request)
			if bothOK != ok || (bothErr == nil) != (err == nil) || ok && both.User.GetName() != response.User.GetName() {
				t.Errorf("with others: %+v, %v, %v", both, bothOK, bothErr)
			}
			if test.user == "" {
				if ok || err == nil {
					t.Errorf("let in: %+v", response)
				}
				return
			}
			if !ok || err != nil || response.User.GetName() != test.user || !slices.Equal(response.User.GetGroups(), test.groups) {
				t.Errorf("%+v, %v, %v", response, ok, err)
			}
		})
	}
}
