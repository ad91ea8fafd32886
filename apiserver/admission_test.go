package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
)

// recorder writes down what admission is told.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (*recorder) Name() string { return "recorder" }

func (r *recorder) note(step string, a *admission.Attributes) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	options := "none"
	if a.Options != nil {
		options = a.Options.GetObjectKind().GroupVersionKind().Kind
	}
	objects := fmt.Sprintf("%T", a.Object)
	if a.Old != nil {
		objects += fmt.Sprintf(" was %T", a.Old)
	}
	if pod, ok := a.Object.(*corev1.Pod); ok && a.Operation == admission.Create {
		objects += fmt.Sprintf(" uid=%v", pod.UID != "")
	}
	r.seen = append(r.seen, fmt.Sprintf("%s %s %s %s/%s named %q in %q: %s, %s, dry %v",
		step, a.Operation, a.Kind.Kind, a.Resource.Resource, a.Subresource, a.Name, a.Namespace, objects, options, a.DryRun))
	return nil
}

func (r *recorder) Admit(_ context.Context, a *admission.Attributes) error {
	return r.note("mutate", a)
}

func (r *recorder) Validate(_ context.Context, a *admission.Attributes) error {
	if a.Name != "" && len(a.Name) == len("web-abcde") {
		b := *a
		b.Name = "web-?"
		return r.note("validate", &b)
	}
	return r.note("validate", a)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func TestWhatAdmissionSees(t *testing.T) {
	seen := &recorder{}
	s := start(t, func(c *apiserver.Config) { c.Admission = []admission.Plugin{seen} })
	client := client(t, s)
	ctx := t.Context()
	pods, deployments := client.CoreV1().Pods("default"), client.AppsV1().Deployments("default")
	replicas := int32(1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	step := func(name string, do func() error, want ...string) {
		t.Helper()
		seen.take()
		must(do())
		if diff := cmp.Diff(want, seen.take()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	generated := pod("")
	generated.GenerateName = "web-"
	step("a name to be generated", func() error {
		_, err := pods.Create(ctx, generated, metav1.CreateOptions{DryRun: []string{"All"}})
		return err
	}, `mutate CREATE Pod pods/ named "" in "default": *v1.Pod uid=false, CreateOptions, dry true`,
		`validate CREATE Pod pods/ named "web-?" in "default": *v1.Pod uid=true, CreateOptions, dry true`)

	_, err := pods.Create(ctx, pod("p"), metav1.CreateOptions{})
	must(err)
	step("a patch", func() error {
		_, err := pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		return err
	}, `mutate UPDATE Pod pods/ named "p" in "default": *v1.Pod was *v1.Pod, UpdateOptions, dry false`,
		`validate UPDATE Pod pods/ named "p" in "default": *v1.Pod was *v1.Pod, UpdateOptions, dry false`)
	step("an eviction", func() error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p"}})
	}, `mutate CREATE Eviction pods/eviction named "p" in "default": *v1.Eviction, CreateOptions, dry false`,
		`validate CREATE Eviction pods/eviction named "p" in "default": *v1.Eviction, CreateOptions, dry false`)

	_, err = deployments.Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}, metav1.CreateOptions{})
	must(err)
	scale, err := deployments.GetScale(ctx, "d", metav1.GetOptions{})
	must(err)
	scale.Spec.Replicas = 3
	step("a scale", func() error { _, err := deployments.UpdateScale(ctx, "d", scale, metav1.UpdateOptions{}); return err },
		`mutate UPDATE Scale deployments/scale named "d" in "default": *v1.Scale was *v1.Scale, UpdateOptions, dry false`,
		`validate UPDATE Scale deployments/scale named "d" in "default": *v1.Scale was *v1.Scale, UpdateOptions, dry false`)
	step("a collection", func() error {
		return deployments.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	}, `mutate DELETE Deployment deployments/ named "" in "default": <nil> was *v1.Deployment, DeleteOptions, dry false`,
		`validate DELETE Deployment deployments/ named "" in "default": <nil> was *v1.Deployment, DeleteOptions, dry false`)
}

// again changes pods late in the chain.
type again struct{ label string }

func (again) Name() string { return "again" }

func (p again) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok {
		return nil
	}
	pod = pod.DeepCopy()
	pod.Labels = map[string]string{"trail": pod.Labels["trail"] + p.label}
	a.Object = pod
	if p.label == "b" && !a.Reinvoked() {
		a.Reinvoke()
	}
	return nil
}

func TestMutatorsMayReplaceAndRunAgain(t *testing.T) {
	s := start(t, func(c *apiserver.Config) { c.Admission = []admission.Plugin{again{"a"}, again{"b"}} })
	created, err := client(t, s).CoreV1().Pods("default").Create(t.Context(), pod("p"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := created.Labels["trail"]; got != "abab" {
		t.Errorf("trail of mutators: %q", got)
	}
}

func TestApplyCreatesOnlyWhereOneMayCreate(t *testing.T) {
	s := start(t, func(c *apiserver.Config) {
		c.Admission = []admission.Plugin{}
		c.Authorizer = authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetVerb() == "create" && a.GetName() != "yes" {
				return authorizer.DecisionDeny, "no", nil
			}
			return authorizer.DecisionAllow, "", nil
		})
	})
	pods := client(t, s).CoreV1().Pods("default")
	apply := func(name string) error {
		_, err := pods.Patch(t.Context(), name, types.ApplyYAMLPatchType,
			[]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"`+name+`"},"spec":{"containers":[{"name":"c","image":"i"}]}}`), metav1.PatchOptions{FieldManager: "m"})
		return err
	}
	if err := apply("yes"); err != nil {
		t.Error(err)
	}
	err := apply("not")
	if !apierrors.IsForbidden(err) {
		t.Errorf("apply of what one may not create: %v", err)
	}
	if status, ok := err.(apierrors.APIStatus); ok && status.Status().Code != http.StatusForbidden {
		t.Errorf("status %v", status.Status())
	}
}
