// Package pvprotection keeps volumes that are bound to a claim from going: it takes
// their finalizer away when they are not.
package pvprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/finalizer"
)

// Finalizer is that of protected volumes.
const Finalizer = "kubernetes.io/pv-protection"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "pvprotection", Workers: 1, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		informer := env.Informers.Core().V1().PersistentVolumes()
		volumes := informer.Lister()
		return controllers.Controller{
			Watches: []controllers.Watch{{Informer: informer.Informer(), Object: &corev1.PersistentVolume{}, Keys: finalizer.Keys(Finalizer)}},
			Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
				volume, err := volumes.Get(key.Name)
				if apierrors.IsNotFound(err) {
					return controllers.Plan{}, nil
				}
				if err != nil {
					return controllers.Plan{}, err
				}
				return Reconcile(volume), nil
			},
		}, nil
	}}
}

// Reconcile decides what to write. A volume is in use while its status says so, which
// is for the controller that binds it to say.
func Reconcile(v *corev1.PersistentVolume) controllers.Plan {
	return finalizer.Plan(v, Finalizer, v.Status.Phase == corev1.VolumeBound)
}
