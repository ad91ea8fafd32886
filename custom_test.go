package strake

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var ships = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "ships"}

func shipDefinition() *apiextensionsv1.CustomResourceDefinition {
	open := true
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "ships.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: ships.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: ships.Resource, Kind: "Ship"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: ships.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: &open,
				}},
			}},
		},
	}
}

// TestCustomResourcesInACluster: the garbage collector and the deletion of
// namespaces know kinds that came at run time.
func TestCustomResourcesInACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{FakeNodes: 1})
		defer stop()
		ctx := t.Context()
		definitions, err := apiextensions.NewForConfig(c.RESTConfig())
		if err != nil {
			t.Fatal(err)
		}
		objects, err := dynamic.NewForConfig(c.RESTConfig())
		if err != nil {
			t.Fatal(err)
		}
		crds := definitions.ApiextensionsV1().CustomResourceDefinitions()
		if _, err := crds.Create(ctx, shipDefinition(), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := c.Client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "harbour"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		ship := func(namespace, name string) *unstructured.Unstructured {
			u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"masts": int64(3)}}}
			u.SetGroupVersionKind(ships.GroupVersion().WithKind("Ship"))
			u.SetName(name)
			made, err := objects.Resource(ships).Namespace(namespace).Create(ctx, u, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		mother := ship("default", "mother")
		boat := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "boat", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "example.com/v1", Kind: "Ship", Name: "mother", UID: mother.GetUID(),
		}}}}
		if _, err := c.Client().CoreV1().ConfigMaps("default").Create(ctx, boat, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		ship("harbour", "other")
		time.Sleep(time.Minute) // for the collector to discover the kind
		if _, err := c.Client().CoreV1().ConfigMaps("default").Get(ctx, "boat", metav1.GetOptions{}); err != nil {
			t.Fatalf("it has an owner: %v", err)
		}

		if err := objects.Resource(ships).Namespace("default").Delete(ctx, "mother", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Client().CoreV1().Namespaces().Delete(ctx, "harbour", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := c.Client().CoreV1().ConfigMaps("default").Get(ctx, "boat", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("its owner is gone: %v", err)
		}
		if _, err := c.Client().CoreV1().Namespaces().Get(ctx, "harbour", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the namespace: %v", err)
		}

		// An object with a finalizer keeps its definition until it is let go.
		kept := ship("default", "kept")
		kept.SetFinalizers([]string{"example.com/crew"})
		if kept, err = objects.Resource(ships).Namespace("default").Update(ctx, kept, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := crds.Delete(ctx, "ships.example.com", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		crd, err := crds.Get(ctx, "ships.example.com", metav1.GetOptions{})
		if err != nil || crd.DeletionTimestamp == nil {
			t.Fatalf("%v %v", crd, err)
		}
		again := ship1("late")
		if _, err := objects.Resource(ships).Namespace("default").Create(ctx, again, metav1.CreateOptions{}); !apierrors.IsMethodNotSupported(err) {
			t.Errorf("a new object of a kind that goes: %v", err)
		}
		if kept, err = objects.Resource(ships).Namespace("default").Get(ctx, "kept", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // longer than a cleanup waits quietly
		kept.SetFinalizers(nil)
		if _, err := objects.Resource(ships).Namespace("default").Update(ctx, kept, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := crds.Get(ctx, "ships.example.com", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the definition: %v", err)
		}
	})
}

func ship1(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(ships.GroupVersion().WithKind("Ship"))
	u.SetName(name)
	return u
}
