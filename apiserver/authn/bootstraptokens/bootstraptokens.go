// Package bootstraptokens believes the short tokens by which new nodes ask for their
// first certificate. A token ID.SECRET is good while a secret bootstrap-token-ID in
// kube-system says so; whoever shows it is system:bootstrap:ID, of the group
// system:bootstrappers and those of its sub-groups that the secret names. What these
// may do is for roles to say.
//
// Upstream's document: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/.
package bootstraptokens

import (
	"context"
	"crypto/subtle"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Group is that of all who come with such a token.
const Group = "system:bootstrappers"

// Keys of the secret's data.
const (
	idKey         = "token-id"
	secretKey     = "token-secret"
	expirationKey = "expiration"
	groupsKey     = "auth-extra-groups"
	usageKey      = "usage-bootstrap-authentication"
)

var (
	form     = regexp.MustCompile(`\A([a-z0-9]{6})\.([a-z0-9]{16})\z`)
	subgroup = regexp.MustCompile(`\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`)
)

// Reader reads secrets. resource.Objects is one.
type Reader interface {
	Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error)
}

// New makes an authenticator that asks objects, each time, for the secret of a token
// that has the form of one. It says nothing of audiences, and is safe for concurrent
// use.
func New(objects func() Reader) authenticator.Token {
	return authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		parts := form.FindStringSubmatch(token)
		if parts == nil {
			return nil, false, nil
		}
		obj, err := objects().Get(ctx, corev1.Resource("secrets"), metav1.NamespaceSystem, "bootstrap-token-"+parts[1])
		if apierrors.IsNotFound(err) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		secret, ok := obj.(*corev1.Secret)
		if !ok || !good(secret, parts[1], parts[2], time.Now()) {
			return nil, false, nil
		}
		groups, ok := groupsOf(secret)
		if !ok {
			return nil, false, nil
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: "system:bootstrap:" + parts[1], Groups: groups}}, true, nil
	})
}

// good says whether a secret vouches for a token.
func good(secret *corev1.Secret, id, key string, now time.Time) bool {
	return secret.DeletionTimestamp == nil && secret.Type == corev1.SecretTypeBootstrapToken &&
		subtle.ConstantTimeCompare(secret.Data[secretKey], []byte(key)) == 1 &&
		string(secret.Data[idKey]) == id &&
		!expired(string(secret.Data[expirationKey]), now) &&
		string(secret.Data[usageKey]) == "true"
}

// expired: a time that nobody can read is past.
func expired(at string, now time.Time) bool {
	if at == "" {
		return false
	}
	t, err := time.Parse(time.RFC3339, at)
	return err != nil || !now.Before(t)
}

// groupsOf are sorted and each there once; a secret that names any other group is not
// good at all.
func groupsOf(secret *corev1.Secret) ([]string, bool) {
	groups := []string{Group}
	if extra := string(secret.Data[groupsKey]); extra != "" {
		for group := range strings.SplitSeq(extra, ",") {
			if !subgroup.MatchString(group) {
				return nil, false
			}
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), true
}
