package garbagecollector_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/garbagecollector"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
)

func start(t *testing.T, api *fakeapi.API) {
	api.ServeBuiltIn()
	fakeapi.Start(t, controllers.Config{
		Client: api.Client, Metadata: api.Metadata(),
		Controllers: []controllers.Registration{garbagecollector.New(garbagecollector.Config{})},
	})
	time.Sleep(time.Second)
}

// object is a config map with the UID "uid-name" and the owners of those names.
func object(ns, name string, owners ...string) *corev1.ConfigMap {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + name)}}
	for _, owner := range owners {
		block := true
		o.OwnerReferences = append(o.OwnerReferences, metav1.OwnerReference{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner, UID: types.UID("uid-" + owner), BlockOwnerDeletion: &block,
		})
	}
	return o
}

func create(t *testing.T, api *fakeapi.API, objects ...*corev1.ConfigMap) {
	t.Helper()
	for _, o := range objects {
		if _, err := api.Client.CoreV1().ConfigMaps(o.Namespace).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
}

func remove(t *testing.T, api *fakeapi.API, name string, policy metav1.DeletionPropagation) {
	t.Helper()
	err := api.Client.CoreV1().ConfigMaps("ns").Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
}

func names(t *testing.T, api *fakeapi.API) string {
	t.Helper()
	list, err := api.Client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, api *fakeapi.API, wanted string) {
	t.Helper()
	if got := names(t, api); got != wanted {
		t.Errorf("left: %q, want %q", got, wanted)
	}
}

func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		start(t, api)
		create(t, api, object("ns", "a"), object("ns", "b", "a"), object("ns", "c", "b"), object("ns", "d", "a", "x"), object("ns", "x"))
		remove(t, api, "a", metav1.DeletePropagationBackground)
		want(t, api, "d x") // d has another owner
		d, _ := api.Client.CoreV1().ConfigMaps("ns").Get(t.Context(), "d", metav1.GetOptions{})
		if len(d.OwnerReferences) != 1 || d.OwnerReferences[0].Name != "x" {
			t.Errorf("owners of d: %v", d.OwnerReferences)
		}
	})
}

func TestForegroundGoesBottomUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		start(t, api)
		create(t, api, object("ns", "a"), object("ns", "b", "a"), object("ns", "c", "b"))
		held := object("ns", "held", "b")
		held.Finalizers = []string{"example.com/wait"}
		create(t, api, held)
		remove(t, api, "a", metav1.DeletePropagationForeground)
		want(t, api, "a b held")
		_, err := api.Client.CoreV1().ConfigMaps("ns").Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		want(t, api, "")
	})
}

func TestOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		start(t, api)
		create(t, api, object("ns", "a"), object("ns", "b", "a"), object("ns", "c", "b"))
		remove(t, api, "a", metav1.DeletePropagationOrphan)
		want(t, api, "b c")
		b, _ := api.Client.CoreV1().ConfigMaps("ns").Get(t.Context(), "b", metav1.GetOptions{})
		if len(b.OwnerReferences) != 0 {
			t.Errorf("owners of b: %v", b.OwnerReferences)
		}
	})
}

func TestOwnersThatNeverWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// There before the collector starts, in a chain.
		api := fakeapi.New(object("ns", "b", "never"), object("ns", "c", "b"), object("ns", "e"))
		unknown := object("ns", "u")
		unknown.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Gone", Name: "g", UID: "uid-g"}}
		start(t, api)
		create(t, api, unknown)
		time.Sleep(time.Hour)
		want(t, api, "e u") // an owner of an unknown kind may well exist
	})
}

func TestOwnerInAnotherNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		start(t, api)
		create(t, api, object("other", "a"), object("other", "good", "a"))
		create(t, api, object("ns", "b", "a"))
		time.Sleep(10 * time.Second)
		want(t, api, "a good")
		if events := strings.Join(api.Events("ns"), "\n"); !strings.Contains(events, "OwnerRefInvalidNamespace") || !strings.Contains(events, `does not exist in namespace "ns"`) {
			t.Errorf("events: %s", events)
		}
	})
}

func TestACycleInForeground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		start(t, api)
		create(t, api, object("ns", "a", "b"), object("ns", "b", "a"))
		remove(t, api, "a", metav1.DeletePropagationForeground)
		time.Sleep(time.Minute)
		if _, err := api.Client.CoreV1().ConfigMaps("ns").Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("a is still there: %v, all: %s", err, names(t, api))
		}
	})
}

func TestAWrongReferenceProvesNothingAboutItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		// The owner's kind is watched with a delay, so that its dependents are
		// known before it is.
		api.Lag = func(gvr schema.GroupVersionResource) time.Duration {
			if gvr.Resource == "secrets" {
				return time.Minute
			}
			return 0
		}
		start(t, api)
		owner := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "owner", UID: "uid-owner"}}
		if _, err := api.Client.CoreV1().Secrets("ns").Create(t.Context(), owner, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		wrong, right := object("ns", "a-wrong"), object("ns", "b-right", "second")
		wrong.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: "other", UID: "uid-owner"}}
		right.OwnerReferences = append(right.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Secret", Name: "owner", UID: "uid-owner"})
		create(t, api, object("ns", "second"), wrong)
		create(t, api, right)
		remove(t, api, "second", metav1.DeletePropagationBackground)
		time.Sleep(time.Hour)
		want(t, api, "b-right")
	})
}
