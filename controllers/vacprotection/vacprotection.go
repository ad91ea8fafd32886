// Package vacprotection keeps classes of volume attributes that a claim or a volume
// names from going: it takes their finalizer away when none does.
package vacprotection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/finalizer"
)

// Finalizer is that of protected classes.
const Finalizer = "kubernetes.io/vac-protection"

// byClass is the index of claims and volumes by the classes that they name.
const byClass = "volume-attributes-class"

// New registers the controller.
func New() controllers.Registration {
	return controllers.Registration{Name: "vacprotection", Workers: 1, Setup: setup}
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	informer := env.Informers.Storage().V1().VolumeAttributesClasses()
	classes := informer.Lister()
	core := env.Informers.Core().V1()
	watches := []controllers.Watch{{Informer: informer.Informer(), Object: &storagev1.VolumeAttributesClass{}, Keys: finalizer.Keys(Finalizer)}}
	users := []cache.SharedIndexInformer{core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer()}
	for _, i := range users {
		if err := controllers.AddIndex(i, byClass, func(o any) ([]string, error) { return named(o), nil }); err != nil {
			return controllers.Controller{}, err
		}
		watches = append(watches, controllers.Watch{Informer: i, Keys: released})
	}
	return controllers.Controller{Watches: watches, Reconcile: func(_ context.Context, key controllers.Key) (controllers.Plan, error) {
		class, err := classes.Get(key.Name)
		if apierrors.IsNotFound(err) {
			return controllers.Plan{}, nil
		}
		if err != nil {
			return controllers.Plan{}, err
		}
		used := false
		for _, i := range users {
			by, err := i.GetIndexer().ByIndex(byClass, class.Name)
			if err != nil {
				return controllers.Plan{}, err
			}
			used = used || len(by) > 0
		}
		return finalizer.Plan(class, Finalizer, used), nil
	}}, nil
}

// released are the classes that a claim or a volume does not name any more.
func released(c controllers.Change) (keys []controllers.Key) {
	if c.Old == nil {
		return nil
	}
	now := named(c.New)
	for _, name := range named(c.Old) {
		if !slices.Contains(now, name) {
			keys = append(keys, controllers.Key{Name: name})
		}
	}
	return keys
}

// named are the classes that a claim or a volume has, had and is to have.
func named(o any) (names []string) {
	add := func(name *string) {
		if name != nil && *name != "" && !slices.Contains(names, *name) {
			names = append(names, *name)
		}
	}
	switch o := o.(type) {
	case *corev1.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName)
		add(o.Status.CurrentVolumeAttributesClassName)
		if m := o.Status.ModifyVolumeStatus; m != nil {
			add(&m.TargetVolumeAttributesClassName)
		}
	case *corev1.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	}
	return names
}
