package apiserver_test

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store/memory"
)

// The resources of these tests: small ones, with as much of a strategy as shows
// that each of its functions is called where it should be.
func testResources() []*resource.Resource {
	return []*resource.Resource{namespaces(), configMaps(), pods(), deployments()}
}

func namespaces() *resource.Resource {
	return &resource.Resource{
		GVK: corev1.SchemeGroupVersion.WithKind("Namespace"), Plural: "namespaces", ShortNames: []string{"ns"},
		New: func() runtime.Object { return &corev1.Namespace{} }, NewList: func() runtime.Object { return &corev1.NamespaceList{} },
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				ns := obj.(*corev1.Namespace)
				ns.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
				ns.Status.Phase = corev1.NamespaceActive
			},
			PrepareForDelete: func(obj runtime.Object) { obj.(*corev1.Namespace).Status.Phase = corev1.NamespaceTerminating },
			Held:             func(obj runtime.Object) bool { return len(obj.(*corev1.Namespace).Spec.Finalizers) > 0 },
		},
		Subresources: []resource.Subresource{{Name: "finalize", Verbs: []string{"update"}, View: &resource.View{}}},
	}
}

func configMaps() *resource.Resource {
	return &resource.Resource{
		GVK: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Plural: "configmaps", ShortNames: []string{"cm"}, Namespaced: true,
		New: func() runtime.Object { return &corev1.ConfigMap{} }, NewList: func() runtime.Object { return &corev1.ConfigMapList{} },
		Strategy: resource.Strategy{
			AllowUnconditionalUpdate: true, AllowCreateOnUpdate: true,
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				if o := old.(*corev1.ConfigMap); o.Immutable != nil && *o.Immutable && !equality.Semantic.DeepEqual(o.Data, obj.(*corev1.ConfigMap).Data) {
					return field.ErrorList{field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")}
				}
				return nil
			},
		},
	}
}

func pods() *resource.Resource {
	status := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	return &resource.Resource{
		GVK: corev1.SchemeGroupVersion.WithKind("Pod"), Plural: "pods", ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
		New: func() runtime.Object { return &corev1.Pod{} }, NewList: func() runtime.Object { return &corev1.PodList{} },
		SelectableFields: func(obj runtime.Object) fields.Set {
			pod := obj.(*corev1.Pod)
			return fields.Set{"spec.nodeName": pod.Spec.NodeName, "status.phase": string(pod.Status.Phase)}
		},
		IndexedFields: []string{"spec.nodeName"},
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) {
				if pod := obj.(*corev1.Pod); pod.Spec.RestartPolicy == "" {
					pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
				}
			},
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*corev1.Pod).Status = corev1.PodStatus{Phase: corev1.PodPending}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) { obj.(*corev1.Pod).Status = old.(*corev1.Pod).Status },
			Validate: func(obj runtime.Object) field.ErrorList {
				if len(obj.(*corev1.Pod).Spec.Containers) == 0 {
					return field.ErrorList{field.Required(field.NewPath("spec", "containers"), "")}
				}
				return nil
			},
			Warnings: func(obj, _ runtime.Object) []string {
				if obj.(*corev1.Pod).Annotations["warn"] != "" {
					return []string{"metadata.annotations: \"warn\" warns"}
				}
				return nil
			},
			GracePeriod: func(obj runtime.Object, opts *metav1.DeleteOptions) int64 {
				if obj.(*corev1.Pod).Spec.NodeName == "" {
					return 0
				}
				if opts.GracePeriodSeconds != nil {
					return *opts.GracePeriodSeconds
				}
				return 30
			},
			AllowUnconditionalUpdate: true,
			ReturnsDeleted:           true,
			ResetFields:              status,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name"}, {Name: "Status", Type: "string"}},
			Cells: func(obj runtime.Object, _ time.Time) []any {
				p := obj.(*corev1.Pod)
				return []any{p.Name, string(p.Status.Phase)}
			},
		},
		Subresources: []resource.Subresource{
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) { obj.(*corev1.Pod).Spec = old.(*corev1.Pod).Spec },
				ResetFields:      fieldpath.NewSet(fieldpath.MakePathOrDie("spec")),
			}},
			{Name: "binding", GVK: corev1.SchemeGroupVersion.WithKind("Binding"), New: func() runtime.Object { return &corev1.Binding{} }, Create: bindPod},
			{Name: "eviction", GVK: policyv1.SchemeGroupVersion.WithKind("Eviction"), New: func() runtime.Object { return &policyv1.Eviction{} }, Create: evictPod},
			{Name: "exec", Connect: echo},
		},
	}
}

func deployments() *resource.Resource {
	return &resource.Resource{
		GVK: appsv1.SchemeGroupVersion.WithKind("Deployment"), Plural: "deployments", Namespaced: true,
		New: func() runtime.Object { return &appsv1.Deployment{} }, NewList: func() runtime.Object { return &appsv1.DeploymentList{} },
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { obj.(*appsv1.Deployment).Generation = 1 },
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				if d, o := obj.(*appsv1.Deployment), old.(*appsv1.Deployment); !equality.Semantic.DeepEqual(d.Spec, o.Spec) {
					d.Generation++
				}
			},
		},
		Subresources: []resource.Subresource{{
			Name: "scale", GVK: autoscalingv1.SchemeGroupVersion.WithKind("Scale"), New: func() runtime.Object { return &autoscalingv1.Scale{} },
			Projection: &resource.Projection{
				Read: func(obj runtime.Object) (runtime.Object, error) {
					d := obj.(*appsv1.Deployment)
					scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, UID: d.UID, ResourceVersion: d.ResourceVersion}}
					if d.Spec.Replicas != nil {
						scale.Spec.Replicas = *d.Spec.Replicas
					}
					return scale, nil
				},
				Write: func(obj, projected runtime.Object) error {
					obj.(*appsv1.Deployment).Spec.Replicas = &projected.(*autoscalingv1.Scale).Spec.Replicas
					return nil
				},
				Validate: func(projected runtime.Object) field.ErrorList {
					if n := projected.(*autoscalingv1.Scale).Spec.Replicas; n < 0 {
						return field.ErrorList{field.Invalid(field.NewPath("spec", "replicas"), n, "must be greater than or equal to 0")}
					}
					return nil
				},
			},
		}},
	}
}

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}

// start runs a server over the memory store until the test ends.
func start(t testing.TB, change ...func(*apiserver.Config)) *apiserver.Server {
	t.Helper()
	st, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	config := apiserver.Config{Store: st, Resources: testResources()}
	for _, c := range change {
		c(&config)
	}
	s, err := apiserver.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	<-s.Ready()
	return s
}

func client(t testing.TB, s *apiserver.Server) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(s.RESTConfig(admin))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clientWithNamespace has the namespace "default".
func clientWithNamespace(t testing.TB, s *apiserver.Server) kubernetes.Interface {
	t.Helper()
	c := client(t, s)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}
