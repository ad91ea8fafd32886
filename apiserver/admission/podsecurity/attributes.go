package podsecurity

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
)

// attributes are a write as the checks see it.
type attributes struct{ a *admission.Attributes }

func (w attributes) GetName() string                          { return w.a.Name }
func (w attributes) GetNamespace() string                     { return w.a.Namespace }
func (w attributes) GetResource() schema.GroupVersionResource { return w.a.Resource }
func (w attributes) GetKind() schema.GroupVersionKind         { return w.a.Kind }
func (w attributes) GetSubresource() string                   { return w.a.Subresource }
func (w attributes) GetOperation() admissionv1.Operation      { return admissionv1.Operation(w.a.Operation) }
func (w attributes) GetObject() (runtime.Object, error)       { return w.a.Object, nil }
func (w attributes) GetOldObject() (runtime.Object, error)    { return w.a.Old, nil }
func (w attributes) GetUserName() string {
	if w.a.User == nil {
		return ""
	}
	return w.a.User.GetName()
}

// cluster is where the checks find namespaces and pods.
type cluster struct{ objects resource.Objects }

func (c cluster) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	obj, err := c.objects.Get(ctx, corev1.Resource("namespaces"), "", name)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}

func (c cluster) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	all, err := c.objects.List(ctx, corev1.Resource("pods"), namespace)
	if err != nil {
		return nil, err
	}
	pods := make([]*corev1.Pod, 0, len(all))
	for _, obj := range all {
		if pod, ok := obj.(*corev1.Pod); ok {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}
