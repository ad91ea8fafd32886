package tokens

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// legacyIssuer is in the tokens that stand in secrets. They do not expire: they are
// good while the secret holds them.
const legacyIssuer = "kubernetes/serviceaccount"

// Labels of secrets with tokens (KEP-2799): the day of the last use, and that the
// token is no longer believed.
const (
	LastUsedLabel     = "kubernetes.io/legacy-token-last-used"
	invalidSinceLabel = "kubernetes.io/legacy-token-invalid-since"
)

type legacyClaims struct {
	jwt.Claims
	Account    string `json:"kubernetes.io/serviceaccount/service-account.name"`
	AccountUID string `json:"kubernetes.io/serviceaccount/service-account.uid"`
	Secret     string `json:"kubernetes.io/serviceaccount/secret.name"`
	Namespace  string `json:"kubernetes.io/serviceaccount/namespace"`
}

// IssueLegacy signs a token for a secret of an account.
func (i *Issuer) IssueLegacy(namespace string, account Ref, secret string) (string, error) {
	token, err := jwt.Signed(i.signer).Claims(legacyClaims{
		Claims:  jwt.Claims{Issuer: legacyIssuer, Subject: serviceaccount.MakeUsername(namespace, account.Name)},
		Account: account.Name, AccountUID: string(account.UID), Secret: secret, Namespace: namespace,
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("tokens: %w", err)
	}
	return token, nil
}

// legacy checks a token that stands in a secret. It says nothing of audiences, so it
// is for the API server's own.
func (i *Issuer) legacy(ctx context.Context, parsed *jwt.JSONWebToken, token string) (*authenticator.Response, bool, error) {
	var c legacyClaims
	if err := i.claims(parsed, &c); err != nil {
		return nil, false, err
	}
	if c.Namespace == "" || c.Secret == "" || c.Account == "" || c.AccountUID == "" || c.Subject != serviceaccount.MakeUsername(c.Namespace, c.Account) {
		return nil, false, errors.New("tokens: the token is of no service account")
	}
	if err := c.Claims.Validate(jwt.Expected{Issuer: legacyIssuer, Time: time.Now()}); err != nil {
		return nil, false, fmt.Errorf("tokens: %w", err)
	}
	audiences := authenticator.Audiences(i.config.Audiences)
	if wanted, ok := authenticator.AudiencesFrom(ctx); ok {
		if audiences = wanted.Intersect(audiences); len(audiences) == 0 {
			return nil, false, fmt.Errorf("tokens: a token in a secret is not for the target audiences %q", wanted)
		}
	}
	if i.config.Objects == nil {
		return nil, false, errors.New("tokens: the token may have been withdrawn")
	}
	if err := i.stands(ctx, &c, token); err != nil {
		return nil, false, err
	}
	who := &serviceaccount.ServiceAccountInfo{Namespace: c.Namespace, Name: c.Account, UID: c.AccountUID}
	return &authenticator.Response{User: who.UserInfo(), Audiences: audiences}, true, nil
}

// stands asks whether the secret still holds the token, and the account is the same.
func (i *Issuer) stands(ctx context.Context, c *legacyClaims, token string) error {
	objects := i.config.Objects()
	obj, err := objects.Get(ctx, schema.GroupResource{Resource: "secrets"}, c.Namespace, c.Secret)
	secret, ok := obj.(*corev1.Secret)
	switch {
	case err != nil || !ok || secret.DeletionTimestamp != nil:
		return errors.New("Token has been invalidated")
	case subtle.ConstantTimeCompare(secret.Data[corev1.ServiceAccountTokenKey], []byte(token)) == 0:
		return errors.New("Token does not match server's copy")
	}
	obj, err = objects.Get(ctx, schema.GroupResource{Resource: "serviceaccounts"}, c.Namespace, c.Account)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	account, ok := obj.(*corev1.ServiceAccount)
	switch {
	case !ok || account.DeletionTimestamp != nil:
		return fmt.Errorf("ServiceAccount %s/%s has been deleted", c.Namespace, c.Account)
	case string(account.UID) != c.AccountUID:
		return fmt.Errorf("ServiceAccount UID (%s) does not match claim (%s)", account.UID, c.AccountUID)
	}
	i.used(ctx, secret)
	if secret.Labels[invalidSinceLabel] != "" {
		return fmt.Errorf("the token in secret %s/%s for service account %s/%s has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '%s' label from the secret to temporarily allow use of this token",
			c.Namespace, c.Secret, c.Namespace, c.Account, invalidSinceLabel)
	}
	return nil
}

// used notes the day, once a day. Masters whose clocks differ do not take turns.
func (i *Issuer) used(ctx context.Context, secret *corev1.Secret) {
	now := time.Now().UTC()
	last := secret.Labels[LastUsedLabel]
	if i.config.Used == nil || last == now.Format(time.DateOnly) || last == now.AddDate(0, 0, 1).Format(time.DateOnly) {
		return
	}
	i.config.Used(ctx, secret, now.Format(time.DateOnly))
}
