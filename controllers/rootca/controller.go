// Package rootca gives every namespace a config map with the certificates that
// pods trust the API server by. The token volume of every pod includes it.
package rootca

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
)

// Name is the name of the config map, Key that of its only entry.
const (
	Name = "kube-root-ca.crt"
	Key  = "ca.crt"
)

// New registers the controller. RootCA is the bundle, PEM certificates.
func New(rootCA []byte) controllers.Registration {
	return controllers.Registration{Name: "root_ca_cert_publisher", Workers: 1, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		return setup(env, string(rootCA))
	}}
}

func setup(env *controllers.Env, bundle string) (controllers.Controller, error) {
	core := env.Informers.Core().V1()
	namespaces, maps := core.Namespaces().Lister(), core.ConfigMaps().Lister()
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Namespaces().Informer()},
			{Informer: core.ConfigMaps().Informer(), Object: &corev1.ConfigMap{}, Keys: func(c controllers.Change) []controllers.Key {
				if c.Object().GetName() != Name {
					return nil
				}
				return []controllers.Key{{Name: c.Object().GetNamespace()}}
			}},
		},
		Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
			return reconcile(namespaces, maps, bundle, key)
		},
	}, nil
}

func reconcile(namespaces corelisters.NamespaceLister, maps corelisters.ConfigMapLister, bundle string, key controllers.Key) (controllers.Plan, error) {
	namespace, err := namespaces.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	current, err := maps.ConfigMaps(key.Name).Get(Name)
	if apierrors.IsNotFound(err) {
		current, err = nil, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	return Reconcile(namespace, current, bundle), nil
}

// Reconcile decides what to write. Current is nil if there is no such config map.
func Reconcile(namespace *corev1.Namespace, current *corev1.ConfigMap, bundle string) controllers.Plan {
	if namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating {
		return controllers.Plan{}
	}
	if current == nil {
		return controllers.Do(controllers.Write{Verb: controllers.Create, Ignore: apierrors.IsAlreadyExists, Object: &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: Name, Annotations: map[string]string{
				"kubernetes.io/description": "The certificates by which the API server proves itself to pods of this cluster. They are meant for nothing else.",
			}},
			Data: map[string]string{Key: bundle},
		}})
	}
	if len(current.Data) == 1 && current.Data[Key] == bundle && len(current.BinaryData) == 0 {
		return controllers.Plan{}
	}
	updated := current.DeepCopy()
	updated.Data, updated.BinaryData = map[string]string{Key: bundle}, nil
	return controllers.Do(controllers.Write{Verb: controllers.Update, Object: updated})
}
