// Package namespace empties namespaces that are being deleted, whatever kinds
// of objects they hold, and keeps the namespaces that every cluster has.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
)

// pageSize bounds one list of what a namespace holds.
const pageSize = 500

// New registers the controller. It needs controllers.Config.Metadata.
func New() controllers.Registration {
	return controllers.Registration{Name: "namespace", Workers: 10, Setup: setup}
}

type controller struct {
	env        *controllers.Env
	namespaces corelisters.NamespaceLister
}

func setup(env *controllers.Env) (controllers.Controller, error) {
	if env.Metadata == nil {
		return controllers.Controller{}, errors.New("needs a metadata client")
	}
	core := env.Informers.Core().V1()
	c := &controller{env: env, namespaces: core.Namespaces().Lister()}
	return controllers.Controller{
		Watches: []controllers.Watch{
			{Informer: core.Namespaces().Informer(), Object: &corev1.Namespace{}, Keys: func(change controllers.Change) []controllers.Key {
				if change.New == nil || change.New.GetDeletionTimestamp() == nil {
					return nil
				}
				return controllers.OwnKey(change)
			}},
			{Informer: core.Pods().Informer(), Keys: c.podKeys},
		},
		Reconcile: c.reconcile,
	}, nil
}

// podKeys wakes a namespace that waits for its pods when one of them is gone.
func (c *controller) podKeys(change controllers.Change) []controllers.Key {
	if change.New != nil {
		return nil
	}
	ns, err := c.namespaces.Get(change.Old.GetNamespace())
	if err != nil || ns.DeletionTimestamp == nil {
		return nil
	}
	return []controllers.Key{{Name: ns.Name}}
}

func (c *controller) reconcile(ctx context.Context, key controllers.Key) (controllers.Plan, error) {
	ns, err := c.namespaces.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, err
	}
	v := View{Namespace: ns}
	if ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return controllers.Plan{}, nil
	}
	lists, err := discovery.ServerPreferredNamespacedResources(c.env.Client.Discovery())
	v.DiscoveryErr = err
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for i := range l.APIResources {
			r := &l.APIResources[i]
			if content, ok := c.content(ctx, ns.Name, gv, r); ok {
				v.Contents = append(v.Contents, content)
			}
		}
	}
	return Reconcile(v, time.Now()), nil
}

// content lists what the namespace holds of one resource. It is not ok for
// resources that cannot be listed and deleted: there is nothing to empty.
func (c *controller) content(ctx context.Context, namespace string, gv schema.GroupVersion, r *metav1.APIResource) (Content, bool) {
	if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") && !slices.Contains(r.Verbs, "deletecollection") {
		return Content{}, false
	}
	out := Content{Resource: gv.WithResource(r.Name), Collection: slices.Contains(r.Verbs, "deletecollection")}
	page, err := c.env.Metadata.Resource(out.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: pageSize})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
		return Content{}, false // the resource has gone since it was discovered
	case err != nil:
		out.Err = fmt.Errorf("list %s: %w", out.Resource.GroupResource(), err)
		return out, true
	}
	out.Items = page.Items
	if isPods(out.Resource) {
		for i := range out.Items {
			if s := out.Items[i].DeletionGracePeriodSeconds; s != nil {
				out.Grace = max(out.Grace, time.Duration(*s)*time.Second)
			}
		}
	}
	return out, true
}
