package namespacelifecycle_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/namespaceautoprovision"
	"github.com/strake-io/strake/apiserver/admission/namespaceexists"
	"github.com/strake-io/strake/apiserver/admission/namespacelifecycle"
	"github.com/strake-io/strake/apiserver/resource"
)

type namespaces struct {
	resource.Objects
	phases map[string]corev1.NamespacePhase
}

func (n namespaces) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	switch phase := n.phases[name]; phase {
	case "":
		return nil, apierrors.NewNotFound(of, name)
	case "broken":
		return nil, errors.New("broken")
	default:
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NamespaceStatus{Phase: phase}}, nil
	}
}

// The three plugins about namespaces, each by itself.
func TestNamespaces(t *testing.T) {
	pods, all := corev1.SchemeGroupVersion.WithResource("pods"), corev1.SchemeGroupVersion.WithResource("namespaces")
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "localsubjectaccessreviews"}
	const gone, broken = `namespaces "gone" not found`, "Internal error occurred: broken"
	for name, test := range map[string]struct {
		a                       admission.Attributes
		lifecycle, exists, made string
	}{
		"create":                 {a: admission.Attributes{Operation: admission.Create, Resource: pods, Namespace: "here", Name: "p"}},
		"create in none":         {a: admission.Attributes{Operation: admission.Create, Resource: pods, Namespace: "gone", Name: "p"}, lifecycle: gone, exists: gone, made: "gone"},
		"a dry run in none":      {a: admission.Attributes{Operation: admission.Create, Resource: pods, Namespace: "gone", Name: "p", DryRun: true}, lifecycle: gone, exists: gone},
		"create in a broken one": {a: admission.Attributes{Operation: admission.Create, Resource: pods, Namespace: "broken", Name: "p"}, lifecycle: broken, exists: broken, made: `pods "p" is forbidden: broken`},
		"create while it goes": {a: admission.Attributes{Operation: admission.Create, Resource: pods, Namespace: "going", Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}}},
			lifecycle: `pods "p-" is forbidden: unable to create new content in namespace going because it is being terminated`},
		"update in none":          {a: admission.Attributes{Operation: admission.Update, Resource: pods, Namespace: "gone", Name: "p"}, exists: gone},
		"delete in none":          {a: admission.Attributes{Operation: admission.Delete, Resource: pods, Namespace: "gone", Name: "p"}, exists: gone},
		"connect in none":         {a: admission.Attributes{Operation: admission.Connect, Resource: pods, Subresource: "exec", Namespace: "gone", Name: "p"}},
		"a question":              {a: admission.Attributes{Operation: admission.Create, Resource: reviews, Namespace: "gone"}, exists: gone, made: "gone"},
		"of the cluster":          {a: admission.Attributes{Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("nodes"), Name: "n"}},
		"a namespace":             {a: admission.Attributes{Operation: admission.Create, Resource: all, Namespace: "gone", Name: "gone"}},
		"a namespace goes":        {a: admission.Attributes{Operation: admission.Delete, Resource: all, Namespace: "here", Name: "here"}},
		"a namespace of a system": {a: admission.Attributes{Operation: admission.Delete, Resource: all, Namespace: "kube-public", Name: "kube-public"}, lifecycle: `namespaces "kube-public" is forbidden: this namespace may not be deleted`},
	} {
		made := ""
		provision := namespaceautoprovision.Plugin{Create: func(_ context.Context, ns *corev1.Namespace) error {
			made = ns.Name
			return apierrors.NewAlreadyExists(all.GroupResource(), ns.Name) // another was quicker
		}}
		a := test.a
		a.Objects = namespaces{phases: map[string]corev1.NamespacePhase{"here": corev1.NamespaceActive, "going": corev1.NamespaceTerminating, "broken": "broken"}}
		for _, check := range []struct {
			plugin, want string
			err          error
		}{
			{plugin: "NamespaceLifecycle", want: test.lifecycle, err: namespacelifecycle.Plugin{}.Admit(t.Context(), &a)},
			{plugin: "NamespaceExists", want: test.exists, err: namespaceexists.Plugin{}.Validate(t.Context(), &a)},
		} {
			if got := text(check.err); got != check.want {
				t.Errorf("%s: %s says %q, want %q", name, check.plugin, got, check.want)
			}
		}
		if err := provision.Admit(t.Context(), &a); err != nil {
			made = err.Error()
		}
		if made != test.made {
			t.Errorf("%s: made %q, want %q", name, made, test.made)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
