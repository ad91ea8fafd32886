package namespace

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
)

// System are the namespaces that every cluster has.
func System() []string {
	return []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}
}

// NewSystem registers the controller that creates those namespaces, and any
// others that are named, and creates them again if they should go.
func NewSystem(more ...string) controllers.Registration {
	names := append(System(), more...)
	return controllers.Registration{Name: "system_namespaces", Workers: 1, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		namespaces := env.Informers.Core().V1().Namespaces()
		lister := namespaces.Lister()
		wanted := map[string]bool{}
		for _, name := range names {
			wanted[name] = true
		}
		return controllers.Controller{
			Watches: []controllers.Watch{{Informer: namespaces.Informer(), Object: &corev1.Namespace{}, Keys: func(c controllers.Change) []controllers.Key {
				if c.New != nil || !wanted[c.Old.GetName()] {
					return nil
				}
				return controllers.OwnKey(c)
			}}},
			Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
				_, err := lister.Get(key.Name)
				if !apierrors.IsNotFound(err) {
					return controllers.Plan{}, err
				}
				return controllers.Do(controllers.Write{
					Verb: controllers.Create, Ignore: apierrors.IsAlreadyExists,
					Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: key.Name}},
				}), nil
			},
			Run: func(ctx context.Context) error {
				for _, name := range names {
					env.Enqueue(controllers.Key{Name: name})
				}
				<-ctx.Done()
				return nil
			},
		}, nil
	}}
}
