package fakeapi

import (
	"context"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/metadata"
)

// Serve sets what discovery tells: the resources of each group version.
func (a *API) Serve(lists ...*metav1.APIResourceList) {
	a.Client.Discovery().(*fakediscovery.FakeDiscovery).Resources = lists
}

// Resource describes a resource with all verbs.
func Resource(name, kind string, namespaced bool) metav1.APIResource {
	return metav1.APIResource{Name: name, Kind: kind, Namespaced: namespaced, Verbs: metav1.Verbs{
		"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
	}}
}

// ServeBuiltIn serves the kinds that most tests need.
func (a *API) ServeBuiltIn() {
	a.Serve(
		&metav1.APIResourceList{GroupVersion: "v1", APIResources: []metav1.APIResource{
			Resource("pods", "Pod", true), Resource("configmaps", "ConfigMap", true), Resource("secrets", "Secret", true),
			Resource("services", "Service", true), Resource("namespaces", "Namespace", false), Resource("nodes", "Node", false),
			Resource("serviceaccounts", "ServiceAccount", true),
		}},
		&metav1.APIResourceList{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			Resource("deployments", "Deployment", true), Resource("replicasets", "ReplicaSet", true),
		}},
	)
}

// Metadata is a client for the metadata of any kind.
func (a *API) Metadata() metadata.Interface { return metadataClient{a} }

type metadataClient struct{ api *API }

func (c metadataClient) Resource(gvr schema.GroupVersionResource) metadata.Getter {
	return metadataResource{c.api, gvr, ""}
}

// IsWatchListSemanticsUnSupported keeps reflectors from asking for what this server cannot do.
func (c metadataClient) IsWatchListSemanticsUnSupported() bool { return true }

type metadataResource struct {
	api *API
	gvr schema.GroupVersionResource
	ns  string
}

func (r metadataResource) Namespace(ns string) metadata.ResourceInterface {
	return metadataResource{r.api, r.gvr, ns}
}

func (r metadataResource) Delete(_ context.Context, name string, opts metav1.DeleteOptions, _ ...string) error {
	return r.api.delete(r.gvr, r.ns, name, opts)
}

func (r metadataResource) DeleteCollection(_ context.Context, opts metav1.DeleteOptions, _ metav1.ListOptions) error {
	return r.api.deleteCollection(r.gvr, r.ns, opts)
}

func (r metadataResource) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*metav1.PartialObjectMetadata, error) {
	o, err := r.api.get(r.gvr, r.ns, name)
	if err != nil {
		return nil, err
	}
	return partial(o), nil
}

func (r metadataResource) List(context.Context, metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	items, revision := r.api.snapshot(r.gvr, r.ns, nil)
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatInt(revision, 10)}}
	for _, o := range items {
		list.Items = append(list.Items, *partial(o))
	}
	return list, nil
}

func (r metadataResource) Watch(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := r.api.watch(r.gvr, r.ns, opts)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		e.Object = partial(e.Object)
		return e, true
	}), nil
}

func (r metadataResource) Patch(_ context.Context, name string, pt types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*metav1.PartialObjectMetadata, error) {
	o, err := r.api.patch(r.gvr, r.ns, name, pt, data, "")
	if err != nil {
		return nil, err
	}
	return partial(o), nil
}

func partial(o runtime.Object) *metav1.PartialObjectMetadata {
	m := accessor(o)
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(),
		OwnerReferences: m.GetOwnerReferences(), Finalizers: m.GetFinalizers(), Labels: m.GetLabels(),
		DeletionTimestamp: m.GetDeletionTimestamp(), DeletionGracePeriodSeconds: m.GetDeletionGracePeriodSeconds(),
	}}
}

// Events are the events of a namespace, as "Kind Reason: message" lines.
func (a *API) Events(namespace string) (lines []string) {
	items, _ := a.snapshot(corev1.SchemeGroupVersion.WithResource("events"), namespace, nil)
	for _, o := range items {
		if e, ok := o.(*corev1.Event); ok {
			lines = append(lines, e.InvolvedObject.Kind+" "+e.Reason+": "+e.Message)
		}
	}
	return lines
}
