package customresources_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clientset "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/customresources"
	"github.com/strake-io/strake/apiserver/openapi"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/apiextensions"
	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

// world is a server that serves definitions and what they define.
type world struct {
	t      testing.TB
	server *apiserver.Server
	store  store.Store
	config *rest.Config
	crds   clientset.Interface
	client dynamic.Interface
}

func start(t testing.TB) *world {
	t.Helper()
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, s)
}

func startOn(t testing.TB, s store.Store) *world {
	t.Helper()
	namespaces := &resource.Resource{
		GVK: corev1.SchemeGroupVersion.WithKind("Namespace"), Plural: "namespaces",
		New: func() runtime.Object { return &corev1.Namespace{} }, NewList: func() runtime.Object { return &corev1.NamespaceList{} },
	}
	server, err := apiserver.New(apiserver.Config{
		Store: s, Resources: append(apiextensions.Resources(), namespaces), OpenAPI: openapi.New(openapi.Config{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: server, store: s}
	w.config = server.RESTConfig(&user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
	w.config.WarningHandler = rest.NoWarnings{}
	if w.crds, err = clientset.NewForConfig(w.config); err != nil {
		t.Fatal(err)
	}
	if w.client, err = dynamic.NewForConfig(w.config); err != nil {
		t.Fatal(err)
	}
	caller := webhook.New(webhook.Config{})
	manager, err := customresources.New(customresources.Config{
		Server: server, Client: w.crds.ApiextensionsV1().CustomResourceDefinitions(), Webhooks: caller,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- server.Run(ctx) }()
	<-server.Ready()
	managed, stop := context.WithCancel(ctx)
	go func() { done <- manager.Run(managed) }()
	<-manager.Ready()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		caller.Close()
	})
	if _, err := w.client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Create(ctx, object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: default}}"), metav1.CreateOptions{}); err != nil && s == nil {
		t.Fatal(err)
	}
	return w
}

// object reads YAML.
func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func definition(t testing.TB, text string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

// define creates a definition and waits until it is established.
func (w *world) define(text string) *apiextensionsv1.CustomResourceDefinition {
	w.t.Helper()
	crd := definition(w.t, text)
	if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Create(context.Background(), crd, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return w.await(crd.Name, apiextensionsv1.Established, apiextensionsv1.ConditionTrue)
}

// await waits for a condition of a definition.
func (w *world) await(name string, condition apiextensionsv1.CustomResourceDefinitionConditionType, status apiextensionsv1.ConditionStatus) *apiextensionsv1.CustomResourceDefinition {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		crd, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == condition && c.Status == status {
				return crd
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *world) of(version string) dynamic.ResourceInterface {
	return w.client.Resource(schema.GroupVersionResource{Group: "example.com", Version: version, Resource: "ships"}).Namespace("default")
}
