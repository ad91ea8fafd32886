package strake

import (
	"context"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/namespaceautoprovision"
	"github.com/strake-io/strake/apiserver/admission/ownerreferencespermissionenforcement"
)

// A program adds plugins of upstream's that need the control plane itself: one makes
// namespaces, before another would say that there is none, and one asks who may what.
func TestPluginsOfAProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plane *ControlPlane
		plane, err := NewControlPlane(ControlPlaneConfig{Admission: []admission.Plugin{
			ownerreferencespermissionenforcement.Plugin{Authorizer: authorizer.AuthorizerFunc(
				func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
					return plane.Authorizer().Authorize(ctx, a)
				})},
			namespaceautoprovision.Plugin{Create: func(ctx context.Context, ns *corev1.Namespace) error {
				_, err := plane.Client().CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
				return err
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, plane.Run, plane.Ready())
		defer stop()
		owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u", BlockOwnerDeletion: ptr.To(true)},
		}}}
		if _, err := plane.Client().CoreV1().ConfigMaps("new").Create(t.Context(), owned, metav1.CreateOptions{}); err != nil {
			t.Errorf("in a namespace that comes by itself: %v", err)
		}
		// It may write config maps, but not the finalizers of nodes.
		other, err := kubernetes.NewForConfig(plane.RESTConfig(&user.DefaultInfo{
			Name: "system:serviceaccount:kube-system:root-ca-cert-publisher", Groups: []string{user.AllAuthenticated},
		}))
		if err != nil {
			t.Fatal(err)
		}
		owned.Name = "other"
		const want = `configmaps "other" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>`
		if _, err := other.CoreV1().ConfigMaps("new").Create(t.Context(), owned, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || err.Error() != want {
			t.Errorf("by who may not hold nodes back: %v", err)
		}
	})
}
