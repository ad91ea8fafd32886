// Package authn says who sent a request: by a client certificate that one of the
// given authorities signed, by a bearer token from a fixed table, or by any other
// authenticator the host brings. It stands in front of everything in the API
// server.
package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// ErrInvalidToken says that a bearer token was given which nobody knows.
var ErrInvalidToken = errors.New("invalid bearer token")

// Config of an authenticator.
type Config struct {
	// ClientCAs signed the client certificates that are believed; nil believes
	// none. The subject's common name is the user, its organisations the groups.
	ClientCAs *x509.CertPool
	// Tokens are bearer tokens and whose they are. They are kept as hashes.
	Tokens map[string]user.Info
	// Others are asked for tokens that the table does not hold (service
	// accounts), in this order.
	Others []authenticator.Token
	// RefuseAnonymous makes a request without credentials 401. By default it is
	// system:anonymous, and the authoriser decides what that may do.
	RefuseAnonymous bool
}

// New makes an authenticator. It adds the group system:authenticated to whoever
// it recognises. It is safe for concurrent use.
func New(c Config) authenticator.Request {
	a := &requests{config: c, tokens: make(map[[sha256.Size]byte]user.Info, len(c.Tokens))}
	for token, info := range c.Tokens {
		if token != "" && info != nil {
			a.tokens[sha256.Sum256([]byte(token))] = info
		}
	}
	return a
}

type requests struct {
	config Config
	// Looking a token up by its hash takes the same time whatever part of a
	// guess is right.
	tokens map[[sha256.Size]byte]user.Info
}

// AuthenticateRequest implements authenticator.Request.
func (a *requests) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	// The first credential that is good counts; a bad one counts where none is good.
	info, ok, bad := a.certificate(r)
	if ok {
		return respond(info), true, nil
	}
	if token, ok := bearer(r); ok {
		response, ok, err := a.token(r, token)
		if ok {
			return response, true, nil
		}
		return nil, false, errors.Join(bad, err)
	}
	if bad != nil || a.config.RefuseAnonymous {
		return nil, false, bad
	}
	return &authenticator.Response{User: Anonymous()}, true, nil
}

// Anonymous is who a request without credentials comes from.
func Anonymous() user.Info {
	return &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}
}

func (a *requests) certificate(r *http.Request) (user.Info, bool, error) {
	if a.config.ClientCAs == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	options := x509.VerifyOptions{
		Roots:         a.config.ClientCAs,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   time.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range r.TLS.PeerCertificates[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := leaf.Verify(options); err != nil {
		return nil, false, err
	}
	if leaf.Subject.CommonName == "" {
		return nil, false, nil
	}
	sum := sha256.Sum256(leaf.Raw)
	return &user.DefaultInfo{
		Name:   leaf.Subject.CommonName,
		Groups: leaf.Subject.Organization,
		Extra:  map[string][]string{user.CredentialIDKey: {"X509SHA256=" + hex.EncodeToString(sum[:])}},
	}, true, nil
}

func (a *requests) token(r *http.Request, token string) (*authenticator.Response, bool, error) {
	if info, ok := a.tokens[sha256.Sum256([]byte(token))]; ok {
		return respond(info), true, nil
	}
	var failures []error
	for _, other := range a.config.Others {
		response, ok, err := other.AuthenticateToken(r.Context(), token)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if ok {
			response.User = withGroup(response.User)
			return response, true, nil
		}
	}
	if len(failures) > 0 {
		return nil, false, errors.Join(failures...)
	}
	return nil, false, ErrInvalidToken
}

func respond(info user.Info) *authenticator.Response {
	if info == nil {
		return nil
	}
	return &authenticator.Response{User: withGroup(info)}
}

func withGroup(info user.Info) user.Info {
	groups := info.GetGroups()
	for _, g := range groups {
		if g == user.AllAuthenticated || g == user.AllUnauthenticated {
			return info
		}
	}
	return &user.DefaultInfo{
		Name:   info.GetName(),
		UID:    info.GetUID(),
		Groups: append(groups[:len(groups):len(groups)], user.AllAuthenticated),
		Extra:  info.GetExtra(),
	}
}

// bearer is the token of a request, if there is one: what follows the first space, up
// to the second.
func bearer(r *http.Request) (string, bool) {
	parts := strings.SplitN(strings.TrimSpace(r.Header.Get("Authorization")), " ", 3)
	if len(parts) > 1 && strings.EqualFold(parts[0], "bearer") {
		return parts[1], parts[1] != ""
	}
	token, ok := websocketToken(r)
	if ok {
		// Where everybody looks who is asked next.
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return token, ok
}

// WithTokens asks tokens too about bearer tokens. A client certificate is looked at
// before any token; otherwise tokens come first, because next may have to ask somebody
// who is far away. A token that is bad counts only where nothing else is good.
func WithTokens(tokens authenticator.Token, next authenticator.Request) authenticator.Request {
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		token, ok := bearer(r)
		if !ok {
			return next.AuthenticateRequest(r)
		}
		mine := func() (*authenticator.Response, bool, error) {
			response, ok, err := tokens.AuthenticateToken(r.Context(), token)
			if !ok || err != nil {
				return nil, false, err
			}
			response.User = withGroup(response.User)
			return response, true, nil
		}
		theirs := func() (*authenticator.Response, bool, error) { return next.AuthenticateRequest(r) }
		order := []func() (*authenticator.Response, bool, error){mine, theirs}
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			order[0], order[1] = theirs, mine
		}
		var bad []error
		var nobody *authenticator.Response
		for _, ask := range order {
			response, ok, err := ask()
			switch {
			case err != nil:
				bad = append(bad, err)
			case ok && response.User.GetName() == user.Anonymous:
				nobody = response
			case ok:
				return response, true, nil
			}
		}
		if len(bad) > 0 {
			return nil, false, errors.Join(bad...)
		}
		return nobody, nobody != nil, nil
	})
}
