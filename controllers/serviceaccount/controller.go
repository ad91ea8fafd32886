// Package serviceaccount gives every namespace the service account "default",
// under which its pods run unless they name another.
package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
)

// Name is the name of the account.
const Name = "default"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "serviceaccount", Workers: 1, Setup: setup}
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	namespaces, accounts := core.Namespaces().Lister(), core.ServiceAccounts().Lister()
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Namespaces().Informer()},
			{Informer: core.ServiceAccounts().Informer(), Object: &corev1.ServiceAccount{}, Keys: func(c controllers.Change) []controllers.Key {
				if c.New != nil || c.Old.GetName() != Name {
					return nil
				}
				return []controllers.Key{{Name: c.Old.GetNamespace()}}
			}},
		},
		Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
			return reconcile(namespaces, accounts, key)
		},
	}, nil
}

func reconcile(namespaces corelisters.NamespaceLister, accounts corelisters.ServiceAccountLister, key controllers.Key) (controllers.Plan, error) {
	namespace, err := namespaces.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	_, err = accounts.ServiceAccounts(key.Name).Get(Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return controllers.Plan{}, err
	}
	return Reconcile(namespace, err == nil), nil
}

// Reconcile decides whether a namespace needs the account.
func Reconcile(namespace *corev1.Namespace, exists bool) controllers.Plan {
	if exists || namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating {
		return controllers.Plan{}
	}
	return controllers.Do(controllers.Write{
		Verb:   controllers.Create,
		Object: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: Name}},
		Ignore: apierrors.IsAlreadyExists,
	})
}
