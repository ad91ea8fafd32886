// Package tokens makes and checks the tokens of service accounts: signed JWTs, bound
// to an account and, where they were asked for that way, to a pod, a secret or a
// node, and void with it (KEP-1205, KEP-4193).
//
// It stands beside package authn, which asks it for bearer tokens, and is what the
// sub-resource serviceaccounts/token issues from.
package tokens

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// DefaultIssuer names who signed a token where the host says nothing else.
const DefaultIssuer = "https://kubernetes.default.svc.cluster.local"

// KeysPath is where the API server serves the keys.
const KeysPath = "/openid/v1/jwks"

// Reader reads the objects that tokens are bound to. resource.Objects is one.
type Reader interface {
	Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error)
}

// Config of an issuer. The zero value works for a cluster that ends with its
// process.
type Config struct {
	// Key signs; ECDSA on P-256 or RSA. nil makes one: tokens then end with the
	// process.
	Key crypto.Signer
	// OlderKeys are believed, but sign nothing any more.
	OlderKeys []crypto.PublicKey
	// Name of the issuer, a URL. Default [DefaultIssuer].
	Name string
	// Audiences that a token is for which names none, and which the API server
	// accepts. Default: the issuer's name.
	Audiences []string
	// KeysURL is where others read the keys, an https URL. Default: the path
	// /openid/v1/jwks below the issuer's name.
	KeysURL string
	// Objects are asked for what a token is bound to, each time one is seen.
	// nil accepts tokens until they expire.
	Objects func() Reader
	// Used is told of the day on which a token was used that stands in a secret,
	// once a day, to label the secret with it (LastUsedLabel). nil: nobody is.
	Used func(ctx context.Context, secret *corev1.Secret, day string)
}

// Issuer makes tokens and knows them again. It implements authenticator.Token. It is
// safe for concurrent use.
type Issuer struct {
	config Config
	signer jose.Signer
	keys   jose.JSONWebKeySet
}

// algorithms by which tokens may be signed.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256}

// New checks the configuration.
func New(c Config) (*Issuer, error) {
	if c.Key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("tokens: %w", err)
		}
		c.Key = key
	}
	if c.Name == "" {
		c.Name = DefaultIssuer
	}
	if c.KeysURL == "" {
		c.KeysURL = strings.TrimSuffix(c.Name, "/") + KeysPath
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{c.Name}
	}
	i := &Issuer{config: c}
	for n, public := range append([]crypto.PublicKey{c.Key.Public()}, c.OlderKeys...) {
		key, err := webKey(public)
		if err != nil {
			return nil, fmt.Errorf("tokens: key %d: %w", n, err)
		}
		i.keys.Keys = append(i.keys.Keys, key)
	}
	first := i.keys.Keys[0]
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(first.Algorithm), Key: jose.JSONWebKey{Key: c.Key, KeyID: first.KeyID},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	i.signer = signer
	return i, nil
}

// webKey is a public key with its name: the hash of its form in PKIX.
func webKey(public crypto.PublicKey) (jose.JSONWebKey, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	sum := sha256.Sum256(der)
	key := jose.JSONWebKey{Key: public, KeyID: base64.RawURLEncoding.EncodeToString(sum[:]), Use: "sig"}
	switch k := public.(type) {
	case *rsa.PublicKey:
		key.Algorithm = string(jose.RS256)
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return key, errors.New("an ECDSA key must be on the curve P-256")
		}
		key.Algorithm = string(jose.ES256)
	default:
		return key, fmt.Errorf("a key of type %T cannot sign tokens", public)
	}
	return key, nil
}

// Name of the issuer, and the audiences of the API server.
func (i *Issuer) Name() string { return i.config.Name }

// Audiences are those of the API server.
func (i *Issuer) Audiences() []string { return slices.Clone(i.config.Audiences) }

// Ref names an object that a token is bound to.
type Ref struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid,omitempty"`
}

// Bound is what a token is bound to: an account, and at most one of a pod, with its
// node, a secret and a node.
type Bound struct {
	Namespace string           `json:"namespace,omitempty"`
	Account   Ref              `json:"serviceaccount,omitzero"`
	Pod       *Ref             `json:"pod,omitempty"`
	Secret    *Ref             `json:"secret,omitempty"`
	Node      *Ref             `json:"node,omitempty"`
	WarnAfter *jwt.NumericDate `json:"warnafter,omitempty"`
}

type claims struct {
	jwt.Claims
	Kubernetes Bound `json:"kubernetes.io,omitzero"`
}

// Issue signs a token for what it is bound to, that is valid for the audiences from
// now until expires. id is its unique name, a UUID.
func (i *Issuer) Issue(bound Bound, audiences []string, id string, now, expires time.Time) (string, error) {
	token, err := jwt.Signed(i.signer).Claims(struct {
		claims
		Audience []string `json:"aud,omitempty"` // a list, of one too
	}{
		claims: claims{
			Claims: jwt.Claims{
				Issuer: i.config.Name, Subject: serviceaccount.MakeUsername(bound.Namespace, bound.Account.Name), ID: id,
				IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
			},
			Kubernetes: bound,
		},
		Audience: audiences,
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("tokens: %w", err)
	}
	return token, nil
}

// maxToken bounds what is parsed, in bytes.
const maxToken = 64 << 10

// AuthenticateToken implements authenticator.Token: a token that another issued, or
// that is none, is not recognised and no error; one of this issuer that is not valid
// is an error.
func (i *Issuer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if len(token) > maxToken {
		return nil, false, nil
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, false, nil
	}
	var unverified jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&unverified) != nil {
		return nil, false, nil
	}
	switch unverified.Issuer {
	case legacyIssuer:
		return i.legacy(ctx, parsed, token)
	case i.config.Name:
	default:
		return nil, false, nil
	}
	c, err := i.verify(parsed)
	if err != nil {
		return nil, false, err
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = i.config.Audiences
	}
	audiences := wanted.Intersect(authenticator.Audiences(c.Audience))
	if len(audiences) == 0 {
		return nil, false, fmt.Errorf("tokens: token audiences %q is invalid for the target audiences %q", c.Audience, wanted)
	}
	if err := i.alive(ctx, c); err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: c.user(), Audiences: audiences}, true, nil
}

// claims reads what a token says into dest, if a key that is known signed it.
func (i *Issuer) claims(parsed *jwt.JSONWebToken, dest any) error {
	kid := ""
	if len(parsed.Headers) > 0 {
		kid = parsed.Headers[0].KeyID
	}
	err := errors.New("signed by an unknown key")
	for _, key := range i.keys.Keys {
		if kid != "" && key.KeyID != kid {
			continue
		}
		if err = parsed.Claims(key.Key, dest); err == nil {
			return nil
		}
	}
	return fmt.Errorf("tokens: %w", err)
}

func (i *Issuer) verify(parsed *jwt.JSONWebToken) (*claims, error) {
	var c claims
	if err := i.claims(parsed, &c); err != nil {
		return nil, err
	}
	if c.Expiry == nil {
		return nil, errors.New("tokens: the token does not expire")
	}
	if err := c.Claims.Validate(jwt.Expected{Issuer: i.config.Name, Time: time.Now()}); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	b := c.Kubernetes
	if b.Namespace == "" || b.Account.Name == "" || c.Subject != serviceaccount.MakeUsername(b.Namespace, b.Account.Name) {
		return nil, errors.New("tokens: the token is of no service account")
	}
	return &c, nil
}

// leeway is how long a token outlives the deletion of what it is bound to: pods use
// theirs while they end.
const leeway = 60 * time.Second

// alive asks whether everything that the token is bound to is still there.
func (i *Issuer) alive(ctx context.Context, c *claims) error {
	if i.config.Objects == nil {
		return nil
	}
	objects, b := i.config.Objects(), c.Kubernetes
	for _, one := range []struct {
		plural, namespace string
		ref               *Ref
	}{
		{"serviceaccounts", b.Namespace, &b.Account}, {"pods", b.Namespace, b.Pod}, {"secrets", b.Namespace, b.Secret}, {"nodes", "", nodeOf(b)},
	} {
		if one.ref == nil {
			continue
		}
		obj, err := objects.Get(ctx, schema.GroupResource{Resource: one.plural}, one.namespace, one.ref.Name)
		if err != nil {
			return fmt.Errorf("tokens: bound to %s %s: %w", one.plural, one.ref.Name, err)
		}
		m, err := meta.Accessor(obj)
		if err != nil {
			return err
		}
		if one.ref.UID != "" && m.GetUID() != one.ref.UID {
			return fmt.Errorf("tokens: the %s %s that the token is bound to was replaced", one.plural, one.ref.Name)
		}
		if gone(m, time.Now()) {
			return fmt.Errorf("tokens: the %s %s that the token is bound to was deleted", one.plural, one.ref.Name)
		}
	}
	return nil
}

// nodeOf is the node that decides over the token's life: the one that it is bound
// to by itself, not that of its pod.
func nodeOf(b Bound) *Ref {
	if b.Pod != nil {
		return nil
	}
	return b.Node
}

func gone(m metav1.Object, now time.Time) bool {
	t := m.GetDeletionTimestamp()
	return t != nil && now.After(t.Add(leeway))
}

// user is who a request with the token comes from.
func (c *claims) user() user.Info {
	b := c.Kubernetes
	info := &serviceaccount.ServiceAccountInfo{Namespace: b.Namespace, Name: b.Account.Name, UID: string(b.Account.UID)}
	if b.Pod != nil {
		info.PodName, info.PodUID = b.Pod.Name, string(b.Pod.UID)
	}
	if b.Node != nil {
		info.NodeName, info.NodeUID = b.Node.Name, string(b.Node.UID)
	}
	if c.ID != "" {
		info.CredentialID = "JTI=" + c.ID
	}
	return info.UserInfo()
}

// Keys are the public keys, as a JSON Web Key Set.
func (i *Issuer) Keys() ([]byte, error) { return json.Marshal(i.keys) }

// Discovery is the document by which others find the keys (OpenID Connect
// Discovery 1.0). What it says does not depend on who asks for it, or how.
func (i *Issuer) Discovery() ([]byte, error) {
	algorithms := []string{}
	for _, k := range i.keys.Keys {
		if !slices.Contains(algorithms, k.Algorithm) {
			algorithms = append(algorithms, k.Algorithm)
		}
	}
	return json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}{i.config.Name, i.config.KeysURL, []string{"id_token"}, []string{"public"}, algorithms})
}
