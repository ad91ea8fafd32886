package node

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "u"}
}

// podOn has one reference of each kind.
func podOn(node, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: named("ns", name),
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: name + "-account", ImagePullSecrets: []corev1.LocalObjectReference{{Name: name + "-pull"}},
			Containers: []corev1.Container{{
				Env:     []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name + "-env"}}}}},
				EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name + "-config"}}}},
			}},
			Volumes: []corev1.Volume{
				{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name + "-claim"}}},
				{Name: "e", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			},
			ResourceClaims: []corev1.PodResourceClaim{{Name: "d", ResourceClaimTemplateName: ptr.To("t")}},
		},
		Status: corev1.PodStatus{ResourceClaimStatuses: []corev1.PodResourceClaimStatus{{Name: "d", ResourceClaimName: ptr.To(name + "-device")}}},
	}
}

func volumeOf(name, claim string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: named("", name), Spec: corev1.PersistentVolumeSpec{
		ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: claim},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			NodeStageSecretRef:         &corev1.SecretReference{Namespace: "csi", Name: name + "-stage"},
			ControllerPublishSecretRef: &corev1.SecretReference{Namespace: "csi", Name: name + "-controller"},
		}},
	}}
}

func mirror(p *corev1.Pod) *corev1.Pod {
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	return p
}

func TestAuthorize(t *testing.T) {
	client := fake.NewClientset(
		podOn("n1", "a"), podOn("n2", "b"), mirror(podOn("n1", "m")), volumeOf("v", "a-claim"), volumeOf("w", "b-claim"),
		&storagev1.VolumeAttachment{ObjectMeta: named("", "attached"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1"}},
		&resourcev1.ResourceSlice{ObjectMeta: named("", "slice"), Spec: resourcev1.ResourceSliceSpec{NodeName: ptr.To("n1")}},
	)
	factory := informers.NewSharedInformerFactory(client, 0)
	n := New(Config{
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"services", "secrets"}, Verbs: []string{"get", "list", "watch"}}},
		Proxy: []rbacv1.PolicyRule{{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list"}}},
	})
	synced, err := n.Follow(factory)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory.StartWithContext(ctx)
	defer func() { cancel(); factory.Shutdown() }()
	for _, one := range synced {
		<-one
	}

	const unrelated = "no relationship found between node 'n1' and this object"
	ask := func(verb, group, resource, sub, namespace, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup}}, ResourceRequest: true,
			Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Namespace: namespace, Name: name,
		}
	}
	selecting := func(a authorizer.AttributesRecord, selector string) authorizer.AttributesRecord {
		a.FieldSelectorRequirements = fields.ParseSelectorOrDie(selector).Requirements()
		return a
	}
	as := func(name string, a authorizer.AttributesRecord) authorizer.AttributesRecord {
		a.User = &user.DefaultInfo{Name: name, Groups: []string{user.NodesGroup}}
		return a
	}
	for _, test := range []struct {
		a   authorizer.AttributesRecord
		why string // "-": allowed
	}{
		{ask("get", "", "secrets", "", "ns", "a-env"), "-"},
		{ask("watch", "", "secrets", "", "ns", "a-pull"), "-"},
		{ask("get", "", "secrets", "", "ns", "b-env"), unrelated},
		{ask("get", "", "secrets", "", "other", "a-env"), unrelated},
		{ask("get", "", "secrets", "", "ns", "m-env"), unrelated},
		{ask("get", "", "secrets", "", "csi", "v-stage"), "-"},
		{ask("get", "", "secrets", "", "csi", "v-controller"), unrelated},
		{ask("get", "", "secrets", "", "csi", "w-stage"), unrelated},
		{ask("list", "", "secrets", "", "ns", ""), "No Object name found"},
		{ask("list", "", "secrets", "", "", ""), "can only read namespaced object of this type"},
		{ask("update", "", "secrets", "", "ns", "a-env"), "can only read resources of this type"},
		{ask("get", "", "configmaps", "", "ns", "a-config"), "-"},
		{ask("get", "", "persistentvolumeclaims", "", "ns", "a-claim"), "-"},
		{ask("get", "", "persistentvolumeclaims", "", "ns", "a-e"), "-"},
		{ask("list", "", "persistentvolumeclaims", "", "ns", ""), "can only get individual resources of this type"},
		{ask("patch", "", "persistentvolumeclaims", "status", "ns", "a-claim"), "-"},
		{ask("get", "", "persistentvolumes", "", "", "v"), "-"},
		{ask("get", "", "persistentvolumes", "", "", "w"), unrelated},
		{ask("get", "resource.k8s.io", "resourceclaims", "", "ns", "a-device"), "-"},
		{ask("get", "storage.k8s.io", "volumeattachments", "", "", "attached"), "-"},
		{ask("create", "", "serviceaccounts", "token", "ns", "a-account"), "-"},
		{ask("create", "", "serviceaccounts", "token", "ns", "b-account"), unrelated},
		{ask("create", "", "serviceaccounts", "", "ns", ""), "can only create tokens for individual service accounts"},
		{ask("get", "", "serviceaccounts", "", "ns", "a-account"), "-"},
		{ask("get", "", "pods", "", "ns", "a"), "-"},
		{ask("get", "", "pods", "", "ns", "m"), "-"},
		{ask("get", "", "pods", "", "ns", "b"), unrelated},
		{ask("list", "", "pods", "", "", ""), "can only list/watch pods with spec.nodeName field selector"},
		{selecting(ask("watch", "", "pods", "", "", ""), "spec.nodeName=n1"), "-"},
		{selecting(ask("watch", "", "pods", "", "", ""), "spec.nodeName=n2"), "can only list/watch pods with spec.nodeName field selector"},
		{ask("create", "", "pods", "eviction", "ns", "b"), "-"},
		{ask("update", "", "pods", "", "ns", "a"), ""},
		{ask("get", "", "nodes", "", "", "n1"), "-"},
		{ask("get", "", "nodes", "", "", "n2"), "node 'n1' cannot read 'n2', only its own Node object"},
		{ask("list", "", "nodes", "", "", ""), "node 'n1' cannot read all nodes, only its own Node object"},
		{ask("delete", "", "nodes", "", "", "n1"), ""},
		{ask("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n1"), "-"},
		{ask("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n2"), "can only access node lease with the same name as the requesting node"},
		{ask("get", "coordination.k8s.io", "leases", "", "kube-system", "n1"), `can only access leases in the "kube-node-lease" system namespace`},
		{ask("update", "storage.k8s.io", "csinodes", "", "", "n2"), "can only access CSINode with the same name as the requesting node"},
		{ask("delete", "resource.k8s.io", "resourceslices", "", "", "slice"), "-"},
		{ask("list", "resource.k8s.io", "resourceslices", "", "", ""), "can only list/watch/deletecollection resourceslices with nodeName field selector"},
		{selecting(ask("deletecollection", "resource.k8s.io", "resourceslices", "", "", ""), "spec.nodeName=n1"), "-"},
		{ask("list", "", "services", "", "", ""), "-"},
		{ask("list", "discovery.k8s.io", "endpointslices", "", "", ""), ""},
		{as("system:node:", ask("get", "", "services", "", "ns", "x")), `unknown node for user "system:node:"`},
		{as("alice", ask("get", "", "services", "", "ns", "x")), ""},
		{as(Shared, ask("get", "", "secrets", "", "ns", "b-env")), "-"},
		{as(Shared, ask("list", "", "secrets", "", "ns", "")), "No Object name found"},
		{as(Shared, ask("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n2")), "-"},
		{as(Shared, ask("list", "discovery.k8s.io", "endpointslices", "", "", "")), "-"},
	} {
		decision, why, err := n.Authorize(t.Context(), test.a)
		if decision == authorizer.DecisionAllow {
			why = "-"
		}
		if why != test.why || err != nil {
			t.Errorf("%s: %s %s/%s %s/%s: %q, %v, want %q", test.a.User.GetName(), test.a.Verb, test.a.Resource, test.a.Subresource, test.a.Namespace, test.a.Name, why, err, test.why)
		}
	}
}

// What is gone leaves nothing behind.
func TestIndexForgets(t *testing.T) {
	x := newIndex()
	x.pod(podOn("n1", "a"), false)
	x.pod(podOn("n1", "b"), false)
	x.persistentVolume(volumeOf("v", "a-claim"), false)
	stage := object{secret, "csi", "v-stage"}
	if !x.reaches("n1", object{secret, "ns", "a-env"}) || !x.reaches("n1", stage) || x.reaches("n2", stage) {
		t.Error("references are not found")
	}
	moved := podOn("n2", "a")
	x.pod(moved, false)
	if x.reaches("n1", object{secret, "ns", "a-env"}) || x.reaches("n1", stage) || !x.reaches("n2", stage) {
		t.Error("a pod of the same name on another node is not told apart")
	}
	x.pod(moved, true)
	x.pod(podOn("n1", "b"), true)
	x.persistentVolume(volumeOf("v", "a-claim"), true)
	if len(x.nodes)+len(x.owned)+len(x.volumes)+len(x.through) != 0 {
		t.Errorf("left behind: %v, %v, %v, %v", x.nodes, x.owned, x.volumes, x.through)
	}
}
