package node

import (
	"context"
	"errors"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"
)

// held is a cluster of which nothing has been told yet.
type held struct {
	pods    []*corev1.Pod
	objects map[string]runtime.Object // by resource and name
	err     error
}

func (h *held) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if obj, ok := h.objects[of.Resource+"/"+name]; ok {
		return obj, h.err
	}
	return nil, errors.New("not found")
}

func (h *held) PodsOn(_ context.Context, node string) (on []*corev1.Pod, err error) {
	for _, p := range h.pods {
		if p.Spec.NodeName == node {
			on = append(on, p)
		}
	}
	return on, h.err
}

// What a node has seen before the index has is allowed all the same, and nothing else.
func TestAuthorizeBeforeTheIndex(t *testing.T) {
	now := &held{
		pods: []*corev1.Pod{podOn("n1", "a"), podOn("n2", "b"), mirror(podOn("n1", "m"))},
		objects: map[string]runtime.Object{
			"persistentvolumes/v": volumeOf("v", "a-claim"), "persistentvolumes/w": volumeOf("w", "b-claim"), "persistentvolumes/free": &corev1.PersistentVolume{},
			"volumeattachments/on-n1":     &storagev1.VolumeAttachment{Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1"}},
			"volumeattachments/on-n2":     &storagev1.VolumeAttachment{Spec: storagev1.VolumeAttachmentSpec{NodeName: "n2"}},
			"resourceslices/of-n1":        &resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{NodeName: ptr.To("n1")}},
			"resourceslices/of-all":       &resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{AllNodes: ptr.To(true)}},
			"podcertificaterequests/mine": &certificatesv1.PodCertificateRequest{Spec: certificatesv1.PodCertificateRequestSpec{NodeName: types.NodeName("n1")}},
		},
	}
	n := New(Config{Now: now})
	n.index.persistentVolume(volumeOf("v", "a-claim"), false)
	allows := func(verb, group, resource, sub, namespace, name string) bool {
		decision, why, err := n.Authorize(t.Context(), authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup}}, ResourceRequest: true,
			Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Namespace: namespace, Name: name,
		})
		if refused := "no relationship found between node 'n1' and this object"; err != nil || decision != authorizer.DecisionAllow && why != refused {
			t.Errorf("%s %s: %q, %v", verb, name, why, err)
		}
		return decision == authorizer.DecisionAllow
	}
	for _, test := range []struct {
		verb, group, resource, sub, namespace, name string
		want                                        bool
	}{
		{"get", "", "pods", "", "ns", "a", true},
		{"get", "", "pods", "", "ns", "b", false},
		{"get", "", "pods", "", "ns", "m", true},
		{"watch", "", "configmaps", "", "ns", "a-config", true},
		{"watch", "", "configmaps", "", "ns", "b-config", false},
		{"watch", "", "configmaps", "", "other", "a-config", false},
		{"watch", "", "configmaps", "", "ns", "m-config", false},
		{"list", "", "secrets", "", "ns", "a-env", true},
		{"get", "", "secrets", "", "csi", "v-stage", true},
		{"get", "", "secrets", "", "csi", "w-stage", false},
		{"create", "", "serviceaccounts", "token", "ns", "a-account", true},
		{"create", "", "serviceaccounts", "token", "ns", "b-account", false},
		{"get", "", "persistentvolumeclaims", "", "ns", "a-claim", true},
		{"get", "", "persistentvolumes", "", "", "v", true},
		{"get", "", "persistentvolumes", "", "", "w", false},
		{"get", "", "persistentvolumes", "", "", "free", false},
		{"get", "", "persistentvolumes", "", "", "none", false},
		{"get", "storage.k8s.io", "volumeattachments", "", "", "on-n1", true},
		{"get", "storage.k8s.io", "volumeattachments", "", "", "on-n2", false},
		{"update", "resource.k8s.io", "resourceslices", "", "", "of-n1", true},
		{"update", "resource.k8s.io", "resourceslices", "", "", "of-all", false},
		{"get", "certificates.k8s.io", "podcertificaterequests", "", "ns", "mine", true},
		{"get", "certificates.k8s.io", "podcertificaterequests", "", "ns", "none", false},
	} {
		if got := allows(test.verb, test.group, test.resource, test.sub, test.namespace, test.name); got != test.want {
			t.Errorf("%s %s %s/%s: %v", test.verb, test.resource, test.namespace, test.name, got)
		}
	}
	now.err = errors.New("nobody knows")
	if allows("get", "", "pods", "", "ns", "a") || allows("get", "", "persistentvolumes", "", "", "v") {
		t.Error("what cannot be read is allowed")
	}
}
