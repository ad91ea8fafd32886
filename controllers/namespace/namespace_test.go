package namespace_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/namespace"
	"github.com/strake-io/strake/controllers/rootca"
	"github.com/strake-io/strake/controllers/serviceaccount"
)

func TestNamespacesFillAndEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		api.ServeBuiltIn()
		fakeapi.Start(t, controllers.Config{
			Client: api.Client, Metadata: api.Metadata(),
			Controllers: []controllers.Registration{namespace.NewSystem(), namespace.New(), serviceaccount.New(), rootca.New([]byte("PEM"))},
		}, func(ctx context.Context) error { return api.Kubelet(ctx, time.Second, 5*time.Second) })
		time.Sleep(time.Second)
		core := api.Client.CoreV1()
		for _, name := range namespace.System() {
			if _, err := core.ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
				t.Error(err)
			}
			if cm, err := core.ConfigMaps(name).Get(t.Context(), rootca.Name, metav1.GetOptions{}); err != nil || cm.Data["ca.crt"] != "PEM" {
				t.Errorf("%v %v", cm, err)
			}
		}

		if _, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "work"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
		held := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/wait"}}}
		if _, err := core.Pods("work").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.Secrets("work").Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := core.Namespaces().Delete(t.Context(), "work", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if _, err := core.Secrets("work").Get(t.Context(), "held", metav1.GetOptions{}); err != nil {
			t.Error("the secret went before the pod")
		}
		time.Sleep(time.Minute)
		ns, err := core.Namespaces().Get(t.Context(), "work", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range ns.Status.Conditions {
			lines = append(lines, fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
		got := strings.Join(lines, "\n")
		for _, want := range []string{
			"NamespaceContentRemaining True SomeResourcesRemain: Some resources are remaining: secrets. has 1 resource instances",
			"NamespaceFinalizersRemaining True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/wait in 1 resource instances",
			"NamespaceDeletionContentFailure False ContentDeleted: All content successfully deleted, may be waiting on finalization",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no condition %q in\n%s", want, got)
			}
		}
		if _, err := core.Secrets("work").Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := core.Namespaces().Get(t.Context(), "work", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the namespace is still there: %v\n%s", err, strings.Join(api.Writes(), "\n"))
		}
		writes := api.Writes()
		if i, j := slices.Index(writes, "delete pods work/p"), slices.Index(writes, "delete secrets work/held"); i < 0 || j < i {
			t.Errorf("pods do not go first: %d, %d", i, j)
		}
	})
}
