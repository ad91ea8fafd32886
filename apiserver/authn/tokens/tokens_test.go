package tokens

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// objects are those that there are, by resource and name.
type objects map[string]runtime.Object

func (o objects) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if obj, ok := o[of.Resource+"/"+name]; ok {
		return obj, nil
	}
	return nil, apierrors.NewNotFound(of, name)
}

func TestLifeOfAToken(t *testing.T) {
	there := objects{
		"serviceaccounts/bob": &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "bob", UID: "1"}},
		"pods/p":              &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "2"}},
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{"ECDSA": {}, "RSA": {Key: rsaKey}} {
		t.Run(name, func(t *testing.T) {
			config.Objects = func() Reader { return there }
			issuer, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			bound := Bound{Namespace: "ns", Account: Ref{"bob", "1"}, Pod: &Ref{"p", "2"}, Node: &Ref{Name: "n", UID: "3"}}
			now := time.Now()
			token, err := issuer.Issue(bound, issuer.Audiences(), "id", now, now.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			response, ok, err := issuer.AuthenticateToken(t.Context(), token)
			if err != nil || !ok {
				t.Fatalf("%v, %v", ok, err)
			}
			u := response.User
			if u.GetName() != "system:serviceaccount:ns:bob" || u.GetUID() != "1" || strings.Join(u.GetGroups(), " ") != "system:serviceaccounts system:serviceaccounts:ns" ||
				u.GetExtra()["authentication.kubernetes.io/pod-name"][0] != "p" || u.GetExtra()["authentication.kubernetes.io/node-name"][0] != "n" {
				t.Errorf("it is of %+v", u)
			}

			refused := func(what, token string) {
				t.Helper()
				if _, ok, err := issuer.AuthenticateToken(t.Context(), token); ok || err == nil {
					t.Errorf("%s: %v, %v", what, ok, err)
				}
			}
			make := func(change func(b *Bound), audience string, from, to time.Time) string {
				t.Helper()
				b := bound
				change(&b)
				token, err := issuer.Issue(b, []string{audience}, "id", from, to)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			same := func(*Bound) {}
			own := issuer.Audiences()[0]
			refused("expired", make(same, own, now.Add(-2*time.Hour), now.Add(-time.Hour)))
			refused("not yet valid", make(same, own, now.Add(time.Hour), now.Add(2*time.Hour)))
			refused("for others", make(same, "vault", now, now.Add(time.Hour)))
			refused("of an account that was replaced", make(func(b *Bound) { b.Account.UID = "9" }, own, now, now.Add(time.Hour)))
			refused("of a pod that is gone", make(func(b *Bound) { b.Pod = &Ref{"q", "2"} }, own, now, now.Add(time.Hour)))
			refused("of a node that is gone", make(func(b *Bound) { b.Pod = nil }, own, now, now.Add(time.Hour)))

			vault := authenticator.WithAudiences(t.Context(), authenticator.Audiences{"vault"})
			if _, ok, err := issuer.AuthenticateToken(vault, make(same, "vault", now, now.Add(time.Hour))); !ok || err != nil {
				t.Errorf("for those it is for: %v, %v", ok, err)
			}
			// Another issuer's, and what is no token, is left to others.
			other, err := New(Config{Name: "https://elsewhere"})
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := other.Issue(bound, []string{own}, "id", now, now.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range []string{foreign, "abc", "a.b.c", "", strings.Repeat("x", maxToken+1)} {
				if _, ok, err := issuer.AuthenticateToken(t.Context(), token); ok || err != nil {
					t.Errorf("%.20q: %v, %v", token, ok, err)
				}
			}
			// One that claims to be of this issuer and is signed by another key.
			forger, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			forged, err := forger.Issue(bound, issuer.Audiences(), "id", now, now.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			refused("forged", forged)
		})
	}
}

// A pod that is being deleted uses its token for a while.
func TestTokenOutlivesDeletion(t *testing.T) {
	deleted := func(ago time.Duration) objects {
		at := metav1.NewTime(time.Now().Add(-ago))
		return objects{
			"serviceaccounts/bob": &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "bob", UID: "1"}},
			"pods/p":              &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "2", DeletionTimestamp: &at}},
		}
	}
	for ago, want := range map[time.Duration]bool{10 * time.Second: true, 2 * time.Minute: false} {
		there := deleted(ago)
		issuer, err := New(Config{Objects: func() Reader { return there }})
		if err != nil {
			t.Fatal(err)
		}
		token, err := issuer.Issue(Bound{Namespace: "ns", Account: Ref{"bob", "1"}, Pod: &Ref{"p", "2"}}, issuer.Audiences(), "id", time.Now(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := issuer.AuthenticateToken(t.Context(), token); ok != want {
			t.Errorf("%s after the deletion: %v", ago, ok)
		}
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Key: key}); err == nil || !strings.Contains(err.Error(), "P-256") {
		t.Errorf("%v", err)
	}
}

func TestServe(t *testing.T) {
	issuer, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/.well-known/openid-configuration": `"jwks_uri":"https://kubernetes.default.svc.cluster.local/openid/v1/jwks"`, "/openid/v1/jwks": `"alg":"ES256"`, "/openid/v2": "404",
	} {
		w := httptest.NewRecorder()
		issuer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

func FuzzAuthenticateToken(f *testing.F) {
	issuer, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	token, err := issuer.Issue(Bound{Namespace: "ns", Account: Ref{"bob", "1"}}, issuer.Audiences(), "id", time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok, _ := issuer.AuthenticateToken(t.Context(), s); ok && s != token {
			// Only what was issued here, whatever its white space, is believed.
			if strings.TrimSpace(s) != token {
				t.Errorf("believed %q", s)
			}
		}
	})
}
