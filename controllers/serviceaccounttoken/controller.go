// Package serviceaccounttoken fills the secrets of type
// kubernetes.io/service-account-token that somebody makes with a token of the account
// that they name, and removes them with it. Such tokens do not expire: those of the
// token sub-resource are better wherever they can be had (KEP-2799).
package serviceaccounttoken

import (
	"bytes"
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
)

// Config of the controller.
type Config struct {
	// Token makes a token of an account that is good as long as it stands in the
	// secret. Required; safe for concurrent use.
	Token func(namespace, account string, uid types.UID, secret string) (string, error)
	// RootCA is what clients know the API server by, PEM certificates; empty puts
	// none beside the token.
	RootCA []byte
}

// New registers the controller.
func New(c Config) controllers.Registration {
	return controllers.Registration{Name: "serviceaccount-token", Workers: 5, Setup: c.setup}
}

// byAccount finds the token secrets of an account: namespace/name.
const byAccount = "serviceaccount"

func accountOf(obj any) ([]string, error) {
	s, ok := obj.(*corev1.Secret)
	if !ok || s.Type != corev1.SecretTypeServiceAccountToken {
		return nil, nil
	}
	return []string{s.Namespace + "/" + s.Annotations[corev1.ServiceAccountNameKey]}, nil
}

func (c Config) setup(env *controllers.Env) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	secrets, accounts := core.Secrets(), core.ServiceAccounts().Lister()
	if err := controllers.AddIndex(secrets.Informer(), byAccount, accountOf); err != nil {
		return controllers.Controller{}, err
	}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: secrets.Informer(), Object: &corev1.Secret{}, Keys: func(change controllers.Change) []controllers.Key {
				if s, ok := change.New.(*corev1.Secret); ok && s.Type == corev1.SecretTypeServiceAccountToken {
					return []controllers.Key{controllers.KeyOf(s)}
				}
				return nil
			}},
			{Informer: core.ServiceAccounts().Informer(), Keys: func(change controllers.Change) []controllers.Key {
				if change.Old != nil && change.New != nil && change.Old.GetUID() == change.New.GetUID() {
					return nil
				}
				account := change.Object()
				// It fails where there is no such index.
				found, _ := secrets.Informer().GetIndexer().ByIndex(byAccount, account.GetNamespace()+"/"+account.GetName())
				var keys []controllers.Key
				for _, obj := range found {
					if s, ok := obj.(*corev1.Secret); ok {
						keys = append(keys, controllers.KeyOf(s))
					}
				}
				return keys
			}},
		},
		Reconcile: func(ctx context.Context, key controllers.Key) (controllers.Plan, error) {
			secret, err := secrets.Lister().Secrets(key.Namespace).Get(key.Name)
			if apierrors.IsNotFound(err) {
				return controllers.Plan{}, nil
			}
			if err != nil {
				return controllers.Plan{}, err
			}
			name := secret.Annotations[corev1.ServiceAccountNameKey]
			account, err := accounts.ServiceAccounts(key.Namespace).Get(name)
			if apierrors.IsNotFound(err) && name != "" {
				// The cache may be behind, and a secret that is deleted does not come back.
				account, err = env.Client.CoreV1().ServiceAccounts(key.Namespace).Get(ctx, name, metav1.GetOptions{})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				return controllers.Plan{}, err
			}
			if err != nil {
				account = nil
			}
			return c.Reconcile(secret, account)
		},
	}, nil
}

// Reconcile decides what a secret lacks; account is the one that it names, nil where
// there is none.
func (c Config) Reconcile(secret *corev1.Secret, account *corev1.ServiceAccount) (controllers.Plan, error) {
	if secret.Type != corev1.SecretTypeServiceAccountToken || secret.DeletionTimestamp != nil {
		return controllers.Plan{}, nil
	}
	uid := secret.Annotations[corev1.ServiceAccountUIDKey]
	if account == nil || uid != "" && uid != string(account.UID) {
		return controllers.Do(controllers.Write{Verb: controllers.Delete, Object: secret, Ignore: superseded}), nil
	}
	needsCA := len(c.RootCA) > 0 && !bytes.Equal(secret.Data[corev1.ServiceAccountRootCAKey], c.RootCA)
	needsNamespace := len(secret.Data[corev1.ServiceAccountNamespaceKey]) == 0
	needsToken := len(secret.Data[corev1.ServiceAccountTokenKey]) == 0
	if !needsCA && !needsNamespace && !needsToken {
		return controllers.Plan{}, nil
	}
	filled := secret.DeepCopy()
	if filled.Data == nil {
		filled.Data = map[string][]byte{}
	}
	if needsCA {
		filled.Data[corev1.ServiceAccountRootCAKey] = c.RootCA
	}
	if needsNamespace {
		filled.Data[corev1.ServiceAccountNamespaceKey] = []byte(secret.Namespace)
	}
	if needsToken {
		token, err := c.Token(secret.Namespace, account.Name, account.UID, secret.Name)
		if err != nil {
			return controllers.Plan{}, err
		}
		filled.Data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	metav1.SetMetaDataAnnotation(&filled.ObjectMeta, corev1.ServiceAccountNameKey, account.Name)
	metav1.SetMetaDataAnnotation(&filled.ObjectMeta, corev1.ServiceAccountUIDKey, string(account.UID))
	return controllers.Do(controllers.Write{Verb: controllers.Update, Object: filled, Ignore: superseded}), nil
}

// superseded: there will be another event.
func superseded(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }
