package strake_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/dynamic"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
)

// Ship is a type of the program's own.
type Ship struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ShipSpec `json:"spec"`
}

type ShipSpec struct {
	Crew int    `json:"crew"`
	Flag string `json:"flag,omitempty"`
}

type ShipList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Ship `json:"items"`
}

func (s *Ship) DeepCopyObject() runtime.Object {
	out := *s
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func (l *ShipList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = nil
	for i := range l.Items {
		out.Items = append(out.Items, *l.Items[i].DeepCopyObject().(*Ship))
	}
	return &out
}

// run runs a control plane in memory while use uses it.
func run(config strake.ControlPlaneConfig, use func(ctx context.Context, plane *strake.ControlPlane)) {
	plane, err := strake.NewControlPlane(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	select {
	case <-plane.Ready():
		use(ctx, plane)
	case err := <-done:
		done <- err
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
}

// A Go type of the program's own becomes a resource of the API, with everything that
// built-in ones have: kubectl, watches, apply, printed tables.
func ExampleControlPlaneConfig_resources() {
	ships := &resource.Resource{
		GVK:    schema.GroupVersionKind{Group: "fleet.example.com", Version: "v1", Kind: "Ship"},
		Plural: "ships", ShortNames: []string{"sh"}, Namespaced: true,
		New: func() runtime.Object { return &Ship{} }, NewList: func() runtime.Object { return &ShipList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) {
				if s := obj.(*Ship); s.Spec.Flag == "" {
					s.Spec.Flag = "plain"
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				if n := obj.(*Ship).Spec.Crew; n < 1 {
					return field.ErrorList{field.Invalid(field.NewPath("spec", "crew"), n, "nobody would steer")}
				}
				return nil
			},
		},
	}
	run(strake.ControlPlaneConfig{Resources: []*resource.Resource{ships}}, func(ctx context.Context, plane *strake.ControlPlane) {
		client, err := dynamic.NewForConfig(plane.RESTConfig(&user.DefaultInfo{Name: "admiral", Groups: []string{"system:masters"}}))
		if err != nil {
			fmt.Println(err)
			return
		}
		create := func(name string, crew int64) {
			made, err := client.Resource(ships.GroupVersionResource()).Namespace("default").Create(ctx, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "fleet.example.com/v1", "kind": "Ship", "metadata": map[string]any{"name": name}, "spec": map[string]any{"crew": crew},
			}}, metav1.CreateOptions{})
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(made.GetName(), "sails under the flag", made.Object["spec"].(map[string]any)["flag"])
		}
		create("argo", 50)
		create("ghost", 0)
	})
	// Output:
	// argo sails under the flag plain
	// Ship.fleet.example.com "ghost" is invalid: spec.crew: Invalid value: 0: nobody would steer
}

// noLatest is an admission plugin: it refuses images that may change.
type noLatest struct{}

func (noLatest) Name() string { return "NoLatest" }

func (noLatest) Validate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Create {
		return nil
	}
	for _, c := range pod.Spec.Containers {
		if c.ImagePullPolicy == corev1.PullAlways {
			return a.Forbidden(fmt.Errorf("the image %q has no fixed version", c.Image))
		}
	}
	return nil
}

// An admission plugin of the program's own looks at every write.
func ExampleControlPlaneConfig_admission() {
	run(strake.ControlPlaneConfig{Admission: []admission.Plugin{noLatest{}}}, func(ctx context.Context, plane *strake.ControlPlane) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
			ServiceAccountName: "default", Containers: []corev1.Container{{Name: "c", Image: "nginx"}},
		}}
		// Every namespace has a service account, from a moment after it was made.
		for {
			if _, err := plane.Client().CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err == nil {
				break
			}
		}
		_, err := plane.Client().CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		fmt.Println(err)
	})
	// Output:
	// pods "p" is forbidden: the image "nginx" has no fixed version
}

// Who a request comes from, and what that user may do, are the program's to say. The
// rest of the server, from access reviews to error messages, goes by it.
func ExampleControlPlaneConfig_authenticator() {
	config := strake.ControlPlaneConfig{
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			name := r.Header.Get("X-Badge")
			return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, name != "", nil
		}),
		Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetUser().GetName() == "reader" && a.IsReadOnly() {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		}),
	}
	run(config, func(_ context.Context, plane *strake.ControlPlane) {
		server := httptest.NewServer(plane.Handler())
		defer server.Close()
		for _, badge := range []string{"reader", "stranger", ""} {
			request, err := http.NewRequest(http.MethodGet, server.URL+"/api/v1/namespaces", nil)
			if err != nil {
				fmt.Println(err)
				return
			}
			request.Header.Set("X-Badge", badge)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				fmt.Println(err)
				return
			}
			response.Body.Close()
			fmt.Printf("%q: %d\n", badge, response.StatusCode)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	// Output:
	// "reader": 200
	// "stranger": 403
	// "": 401
}
