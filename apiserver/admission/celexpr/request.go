package celexpr

import (
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/admission"
)

// Request describes a write as webhooks and expressions see it, without its objects
// and its uid. as is the resource that matched, which may be another one than that
// of the request.
func Request(a *admission.Attributes, as admission.Served) *admissionv1.AdmissionRequest {
	dryRun := a.DryRun
	kind, resource := metav1.GroupVersionKind(a.Kind), metav1.GroupVersionResource(a.Resource)
	return &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(as.Kind), Resource: metav1.GroupVersionResource(as.Resource), SubResource: a.Subresource,
		RequestKind: &kind, RequestResource: &resource, RequestSubResource: a.Subresource,
		Name: a.Name, Namespace: a.Namespace, Operation: admissionv1.Operation(a.Operation),
		UserInfo: userInfo(a.User), DryRun: &dryRun, Options: runtime.RawExtension{Object: a.Options},
	}
}

func userInfo(u user.Info) authenticationv1.UserInfo {
	if u == nil {
		return authenticationv1.UserInfo{}
	}
	info := authenticationv1.UserInfo{
		Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: map[string]authenticationv1.ExtraValue{},
	}
	for k, v := range u.GetExtra() {
		info.Extra[k] = v
	}
	return info
}

// Checked is a write as the resource that authorizer.requestResource asks about.
type Checked struct{ *admission.Attributes }

func (c Checked) GetName() string                          { return c.Name }
func (c Checked) GetNamespace() string                     { return c.Namespace }
func (c Checked) GetResource() schema.GroupVersionResource { return c.Resource }
func (c Checked) GetSubresource() string                   { return c.Subresource }

// Namespace is what expressions see of a namespace; nil of nil.
func Namespace(ns *corev1.Namespace) *corev1.Namespace {
	if ns == nil {
		return nil
	}
	shown := &corev1.Namespace{Spec: ns.Spec, Status: ns.Status, ObjectMeta: ns.ObjectMeta}
	shown.ManagedFields, shown.OwnerReferences, shown.SelfLink = nil, nil, ""
	return shown
}
