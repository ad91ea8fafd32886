package ownerreferencespermissionenforcement

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

type kinds struct{ admission.Catalog }

func (kinds) ForKind(kind schema.GroupVersionKind) (admission.Served, bool) {
	switch kind.Kind {
	case "Node":
		return admission.Served{Resource: kind.GroupVersion().WithResource("nodes")}, true
	case "ReplicaSet":
		return admission.Served{Resource: kind.GroupVersion().WithResource("replicasets"), Namespaced: true}, true
	}
	return admission.Served{}, false
}

func owned(refs ...metav1.OwnerReference) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", OwnerReferences: refs}}
}

func TestValidate(t *testing.T) {
	ref := func(apiVersion, kind string, block bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: "o", UID: types.UID(kind), BlockOwnerDeletion: ptr.To(block)}
	}
	set, blocking := ref("apps/v1", "ReplicaSet", false), ref("apps/v1", "ReplicaSet", true)
	node, unknown := ref("v1", "Node", true), ref("example.com/v1", "Unknown", true)
	for name, test := range map[string]struct {
		now, old *corev1.Pod
		below    string
		may      []string
		want     string
	}{
		"nothing":                      {now: owned()},
		"an owner at birth":            {now: owned(set)},
		"no change":                    {now: owned(blocking), old: owned(blocking)},
		"an owner":                     {now: owned(set), old: owned(), may: []string{"delete pods/ ns/p"}},
		"an owner, by who may not":     {now: owned(set), old: owned(), want: "cannot set an ownerRef on a resource you can't delete: no, <nil>"},
		"less, by who may not":         {now: owned(), old: owned(set), want: "cannot set an ownerRef on a resource you can't delete: no, <nil>"},
		"status":                       {now: owned(set), old: owned(), below: "status"},
		"blocks":                       {now: owned(blocking), may: []string{"update replicasets/finalizers ns/o"}},
		"blocks in the cluster":        {now: owned(node), may: []string{"update nodes/finalizers /o"}},
		"blocks, by who may all":       {now: owned(blocking, unknown), may: []string{"update */finalizers /*"}},
		"blocks, by who may not":       {now: owned(blocking), want: "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: no, <nil>"},
		"begins to block":              {now: owned(blocking), old: owned(set), may: []string{"delete pods/ ns/p"}, want: "refers to a resource you can't set finalizers on"},
		"goes on to block, and is one": {now: owned(blocking, set), old: owned(blocking), may: []string{"delete pods/ ns/p"}},
		"blocks what is not served":    {now: owned(unknown), want: `cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion example.com/v1 Kind Unknown: no matches for kind "Unknown" in version "example.com/v1"`},
	} {
		a := &admission.Attributes{
			Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Subresource: test.below, Namespace: "ns", Name: "p",
			Object: test.now, User: &user.DefaultInfo{Name: "me"}, Catalog: kinds{},
		}
		if test.old != nil {
			a.Operation, a.Old = admission.Update, test.old
		}
		err := Plugin{Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if slices.Contains(test.may, a.GetVerb()+" "+a.GetResource()+"/"+a.GetSubresource()+" "+a.GetNamespace()+"/"+a.GetName()) {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "no", nil
		})}.Validate(t.Context(), a)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
