package controllers

//lint:file-ignore SA1019 Endpoints are still served, and still written.

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
)

// typedClient is the shape that client-go's generated clients share.
type typedClient[T Object] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, opts metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, opts metav1.UpdateOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// deleter and statusClient are the parts that not every kind has.
type deleter interface {
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

type statusClient[T Object] interface {
	UpdateStatus(ctx context.Context, object T, opts metav1.UpdateOptions) (T, error)
}

// send carries out one write with the client of its kind. The result is nil for a delete.
func send(ctx context.Context, c kubernetes.Interface, m metadata.Interface, w Write) (Object, error) {
	if w.Call != nil {
		return w.Call(ctx)
	}
	ns := w.Object.GetNamespace()
	switch o := w.Object.(type) {
	case *metav1.PartialObjectMetadata:
		return actAny(ctx, m, o, w)
	case *corev1.Pod:
		return act(ctx, c.CoreV1().Pods(ns), o, w)
	case *corev1.Node:
		return act(ctx, c.CoreV1().Nodes(), o, w)
	case *corev1.Service:
		return act(ctx, c.CoreV1().Services(ns), o, w)
	case *corev1.Endpoints:
		return act(ctx, c.CoreV1().Endpoints(ns), o, w)
	case *corev1.ConfigMap:
		return act(ctx, c.CoreV1().ConfigMaps(ns), o, w)
	case *corev1.Secret:
		return act(ctx, c.CoreV1().Secrets(ns), o, w)
	case *corev1.ServiceAccount:
		return act(ctx, c.CoreV1().ServiceAccounts(ns), o, w)
	case *corev1.ResourceQuota:
		return act(ctx, c.CoreV1().ResourceQuotas(ns), o, w)
	case *corev1.PersistentVolumeClaim:
		return act(ctx, c.CoreV1().PersistentVolumeClaims(ns), o, w)
	case *corev1.PersistentVolume:
		return act(ctx, c.CoreV1().PersistentVolumes(), o, w)
	case *storagev1.VolumeAttributesClass:
		return act(ctx, c.StorageV1().VolumeAttributesClasses(), o, w)
	case *corev1.ReplicationController:
		return act(ctx, c.CoreV1().ReplicationControllers(ns), o, w)
	case *corev1.Namespace:
		if w.Verb == Finalize {
			result, err := c.CoreV1().Namespaces().Finalize(ctx, o, metav1.UpdateOptions{})
			if err != nil {
				return nil, err
			}
			return result, nil
		}
		return act(ctx, c.CoreV1().Namespaces(), o, w)
	case *discoveryv1.EndpointSlice:
		return act(ctx, c.DiscoveryV1().EndpointSlices(ns), o, w)
	case *appsv1.ReplicaSet:
		return act(ctx, c.AppsV1().ReplicaSets(ns), o, w)
	case *appsv1.Deployment:
		return act(ctx, c.AppsV1().Deployments(ns), o, w)
	case *rbacv1.ClusterRole:
		return act(ctx, c.RbacV1().ClusterRoles(), o, w)
	case *networkingv1.ServiceCIDR:
		return act(ctx, c.NetworkingV1().ServiceCIDRs(), o, w)
	case *coordinationv1.Lease:
		return act(ctx, c.CoordinationV1().Leases(ns), o, w)
	}
	return nil, fmt.Errorf("no client for a write of %T", w.Object)
}

// live reads the object as the API has it now.
func live(ctx context.Context, c kubernetes.Interface, o Object) (Object, error) {
	return send(ctx, c, nil, Write{Verb: get, Object: o})
}

// get is the verb of a live read; plans cannot use it.
const get Verb = "get"

func act[T Object](ctx context.Context, c typedClient[T], o T, w Write) (Object, error) {
	var result T
	var err error
	switch w.Verb {
	case get:
		result, err = c.Get(ctx, o.GetName(), metav1.GetOptions{})
	case Create:
		result, err = c.Create(ctx, o, metav1.CreateOptions{})
	case Update:
		result, err = c.Update(ctx, o, metav1.UpdateOptions{})
	case UpdateStatus:
		sc, ok := c.(statusClient[T])
		if !ok {
			return nil, fmt.Errorf("%T has no status", o)
		}
		result, err = sc.UpdateStatus(ctx, o, metav1.UpdateOptions{})
	case Patch:
		var sub []string
		if w.Subresource != "" {
			sub = []string{w.Subresource}
		}
		result, err = c.Patch(ctx, o.GetName(), w.PatchType, w.PatchData, metav1.PatchOptions{}, sub...)
	case Delete:
		d, ok := any(c).(deleter)
		if !ok {
			return nil, fmt.Errorf("%T cannot be deleted", o)
		}
		return nil, d.Delete(ctx, o.GetName(), deleteOptions(o, w))
	default:
		return nil, fmt.Errorf("%T: no verb %q", o, w.Verb)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// deleteOptions makes sure that what is deleted is what was seen.
func deleteOptions(o Object, w Write) metav1.DeleteOptions {
	opts := w.DeleteOptions
	if opts.Preconditions == nil && o.GetUID() != "" {
		uid := o.GetUID()
		opts.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	return opts
}

// actAny carries out a write about an object of any kind.
func actAny(ctx context.Context, m metadata.Interface, o *metav1.PartialObjectMetadata, w Write) (Object, error) {
	if m == nil || w.Resource.Empty() {
		return nil, fmt.Errorf("%s of an object of any kind needs Config.Metadata and a resource", w.Verb)
	}
	var c metadata.ResourceInterface = m.Resource(w.Resource)
	if o.Namespace != "" {
		c = m.Resource(w.Resource).Namespace(o.Namespace)
	}
	switch w.Verb {
	case Patch:
		result, err := c.Patch(ctx, o.Name, w.PatchType, w.PatchData, metav1.PatchOptions{})
		if err != nil {
			return nil, err
		}
		return result, nil
	case Delete:
		return nil, c.Delete(ctx, o.Name, deleteOptions(o, w))
	case DeleteCollection:
		return nil, c.DeleteCollection(ctx, w.DeleteOptions, metav1.ListOptions{})
	}
	return nil, fmt.Errorf("objects of any kind: no verb %q", w.Verb)
}
