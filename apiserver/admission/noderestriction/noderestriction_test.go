package noderestriction

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/authz/node"
	registry "github.com/strake-io/strake/apiserver/resource"
)

// stored objects are found by resource and name.
type stored struct {
	registry.Objects
	objects map[string]runtime.Object
}

func (s stored) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if obj := s.objects[of.Resource+"/"+name]; obj != nil {
		return obj, nil
	}
	return nil, apierrors.NewNotFound(of, name)
}

func pod(changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "p-uid"}, Spec: corev1.PodSpec{NodeName: "n1", ServiceAccountName: "sa"}}
	for _, change := range changes {
		change(p)
	}
	return p
}

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

// static makes the image of a pod that n1 runs on its own.
func static(p *corev1.Pod) {
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	p.Spec.ServiceAccountName = ""
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "n1-uid", Controller: ptr.To(true)}}
}

func with(v corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: v})
	}
}

func nodeOf(change func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "n1-uid", Labels: map[string]string{}}}
	change(n)
	return n
}

func token(name string, audiences ...string) *authenticationv1.TokenRequest {
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: name, UID: "p-uid"},
	}}
}

func claim(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
	change(c)
	return c
}

func TestAdmit(t *testing.T) {
	audience := func(of string) func(*corev1.Pod) {
		return with(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: of}},
			{PodCertificate: &corev1.PodCertificateProjection{SignerName: "a.io/s"}},
		}}})
	}
	objects := stored{objects: map[string]runtime.Object{
		"nodes/n1": nodeOf(func(*corev1.Node) {}), "pods/p": pod(audience("vault")), "pods/other": pod(on("n2")),
		"pods/csi":                 pod(with(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}})),
		"serviceaccounts/sa":       &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{UID: "sa-uid"}},
		"csidrivers/d":             &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: "disk"}}}},
		"persistentvolumes/pv":     &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d"}}}},
		"persistentvolumeclaims/c": claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv" }),
	}}
	certificate := func(change func(*certificatesv1.PodCertificateRequestSpec)) *certificatesv1.PodCertificateRequest {
		r := &certificatesv1.PodCertificateRequest{Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: "a.io/s", PodName: "p", PodUID: "p-uid", ServiceAccountName: "sa", ServiceAccountUID: "sa-uid", NodeName: "n1", NodeUID: "n1-uid",
		}}
		change(&r.Spec)
		return r
	}
	const create, update, remove = admission.Create, admission.Update, admission.Delete
	for _, test := range []struct {
		what     string // group/resource/subresource
		op       admission.Operation
		name     string
		obj, old runtime.Object
		want     string // a part of the message; "": admitted
	}{
		{"/pods", create, "p", pod(), nil, `pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods`},
		{"/pods", create, "p", pod(static), nil, ""},
		{"/pods", create, "p", pod(static, on("n2")), nil, `node "n1" can only create pods with spec.nodeName set to itself`},
		{"/pods", create, "p", pod(static, func(p *corev1.Pod) { p.OwnerReferences = nil }), nil, "an owner reference set to itself"},
		{"/pods", create, "p", pod(static, func(p *corev1.Pod) { p.OwnerReferences[0].UID = "x" }), nil, "node n1 UID mismatch: expected x got n1-uid"},
		{"/pods", create, "p", pod(static, func(p *corev1.Pod) { p.Spec.ServiceAccountName = "sa" }), nil, `node "n1" can not create pods that reference serviceaccounts`},
		{"/pods", create, "p", pod(static, with(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}})), nil, "that reference secrets"},
		{"/pods", create, "p", pod(static, with(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}})), nil, "that reference persistentvolumeclaims"},
		{"/pods", create, "p", pod(static, audience("")), nil, "that reference serviceaccounts (via projected volumes)"},
		{"/pods", create, "p", pod(static, with(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})), nil, ""},
		{"/pods", remove, "p", nil, nil, ""},
		{"/pods", remove, "other", nil, nil, `node "n1" can only delete pods with spec.nodeName set to itself`},
		{"/pods", remove, "gone", nil, nil, `pod "gone" not found`},
		{"/pods", update, "p", pod(), pod(), `unexpected operation "UPDATE", node "n1" can only create and delete mirror pods`},
		{"/pods/log", update, "p", pod(), pod(), `unexpected pod subresource "log", only 'status' and 'eviction' are allowed`},
		{"/pods/status", update, "p", pod(), pod(), ""},
		{"/pods/status", update, "p", pod(), pod(on("n2")), "can only update pod status for pods with spec.nodeName set to itself"},
		{"/pods/status", update, "p", pod(func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }), pod(), "cannot update labels through pod status"},
		{"/pods/eviction", create, "other", &policyv1.Eviction{}, nil, "node n1 can only evict pods with spec.nodeName set to itself"},
		{"/pods/eviction", create, "p", &policyv1.Eviction{}, nil, ""},
		{"/nodes", create, "n2", nodeOf(func(*corev1.Node) {}), nil, `node "n1" is not allowed to modify node "n2"`},
		{"/nodes", create, "n1", nodeOf(func(n *corev1.Node) { n.Labels["node-restriction.kubernetes.io/a"], n.Labels["k8s.io/b"] = "x", "y" }), nil,
			`node "n1" is not allowed to set the following labels: k8s.io/b, node-restriction.kubernetes.io/a`},
		{"/nodes", create, "n1", nodeOf(func(n *corev1.Node) {
			n.Labels["a"], n.Labels["node.kubernetes.io/b"], n.Labels["kubernetes.io/os"] = "x", "y", "z"
		}), nil, ""},
		{"/nodes/status", update, "n1", nodeOf(func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "a"}} }), nodeOf(func(*corev1.Node) {}), "is not allowed to modify taints"},
		{"/nodes", update, "n1", nodeOf(func(*corev1.Node) {}), nodeOf(func(n *corev1.Node) { n.Labels["x.k8s.io/a"] = "b" }), "is not allowed to modify labels: x.k8s.io/a"},
		{"/persistentvolumeclaims", update, "c", claim(func(*corev1.PersistentVolumeClaim) {}), claim(func(*corev1.PersistentVolumeClaim) {}), "may only update PVC status"},
		{"/persistentvolumeclaims/status", update, "c", claim(func(c *corev1.PersistentVolumeClaim) {
			c.Status.Capacity = corev1.ResourceList{"storage": resource.MustParse("1Gi")}
		}), claim(func(*corev1.PersistentVolumeClaim) {}), ""},
		{"/persistentvolumeclaims/status", update, "c", claim(func(c *corev1.PersistentVolumeClaim) { c.Labels = map[string]string{"a": "b"} }),
			claim(func(*corev1.PersistentVolumeClaim) {}), `node "n1" is not allowed to update fields other than status.quantity and status.conditions: `},
		{"/serviceaccounts/token", create, "sa", &authenticationv1.TokenRequest{}, nil, "node requested token not bound to a pod"},
		{"/serviceaccounts/token", create, "sa", token("p", "vault"), nil, ""},
		{"/serviceaccounts/token", create, "sa", token("p", "else"), nil, `system:node:n1 is not authorized to request tokens for audience "else"`},
		{"/serviceaccounts/token", create, "sa", token("p", "a", "b"), nil, "node may only request 0 or 1 audiences"},
		{"/serviceaccounts/token", create, "sa", token("csi", "disk"), nil, ""},
		{"/serviceaccounts/token", create, "sa", token("other"), nil, "node requested token bound to a pod scheduled on a different node"},
		{"certificates.k8s.io/podcertificaterequests", create, "r", certificate(func(*certificatesv1.PodCertificateRequestSpec) {}), nil, ""},
		{"certificates.k8s.io/podcertificaterequests", create, "r", certificate(func(s *certificatesv1.PodCertificateRequestSpec) { s.SignerName = "b.io/s" }), nil,
			`pod "ns/p" does not mount a podCertificate projected volume for signer "b.io/s"`},
		{"certificates.k8s.io/podcertificaterequests", create, "r", certificate(func(s *certificatesv1.PodCertificateRequestSpec) { s.NodeName = "n2" }), nil,
			`PodCertificateRequest.Spec.NodeName="n2", which is not the requesting node "n1"`},
		{"certificates.k8s.io/podcertificaterequests", create, "r", certificate(func(s *certificatesv1.PodCertificateRequestSpec) { s.ServiceAccountUID = "x" }), nil,
			`names service account UID "x", which differs from the running service account ("sa-uid")`},
		{"coordination.k8s.io/leases", create, "", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, nil, `can only access leases in the "kube-node-lease" system namespace`},
		{"storage.k8s.io/csinodes", create, "", &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, nil, "can only access CSINode with the same name as the requesting node"},
		{"resource.k8s.io/resourceslices", create, "", &resourcev1.ResourceSlice{}, nil, "can only create ResourceSlice with the same NodeName as the requesting node"},
		{"resource.k8s.io/resourceslices", remove, "", nil, &resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{NodeName: ptr.To("n1")}}, ""},
		{"certificates.k8s.io/certificatesigningrequests", create, "", &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeletServingSignerName, Request: []byte("x")}}, nil, "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"},
		{"/events", create, "e", &corev1.Event{}, nil, ""},
	} {
		path := strings.Split(test.what, "/")
		a := &admission.Attributes{
			Operation: test.op, Resource: schema.GroupVersionResource{Group: path[0], Version: "v1", Resource: path[1]}, Namespace: "ns", Name: test.name,
			Object: test.obj, Old: test.old, Objects: objects, User: &user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup}},
		}
		if len(path) > 2 {
			a.Subresource = path[2]
		}
		err := Plugin{}.Admit(t.Context(), a)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s %s: %v, want %q", test.op, test.what, test.name, err, test.want)
		}
		a.User = &user.DefaultInfo{Name: node.Shared, Groups: []string{user.NodesGroup}}
		if err := (Plugin{}).Admit(t.Context(), a); err != nil {
			t.Errorf("%s %s: a shared credential is refused: %v", test.op, test.what, err)
		}
	}
}
