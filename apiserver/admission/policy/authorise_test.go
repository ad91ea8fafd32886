package policy_test

import (
	"context"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/policy"
	"github.com/strake-io/strake/apiserver/resource"
)

type secrets struct{ admission.Catalog }

func (secrets) ForKind(kind schema.GroupVersionKind) (admission.Served, bool) {
	return admission.Served{Resource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}}, kind.Kind == "Secret"
}

type onlyPolicy struct{ resource.Objects }

func (onlyPolicy) Get(context.Context, schema.GroupResource, string, string) (runtime.Object, error) {
	return policyOf("Secret"), nil
}

func policyOf(kind string) *admissionv1.ValidatingAdmissionPolicy {
	return &admissionv1.ValidatingAdmissionPolicy{Spec: admissionv1.ValidatingAdmissionPolicySpec{ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: kind}}}
}

// TestParametersOnlyForReaders: who may not read parameters writes no policy that does.
func TestParametersOnlyForReaders(t *testing.T) {
	binding := func(ref *admissionv1.ParamRef) *admissionv1.ValidatingAdmissionPolicyBinding {
		return &admissionv1.ValidatingAdmissionPolicyBinding{Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p", ParamRef: ref}}
	}
	named, selected := &admissionv1.ParamRef{Name: "s", Namespace: "n"}, &admissionv1.ParamRef{Selector: &metav1.LabelSelector{}}
	tests := map[string]struct {
		obj, old runtime.Object
		groups   []string
		asked    string
		want     string
	}{
		"a policy":          {obj: policyOf("Secret"), asked: "get secrets.v1. * in *", want: `spec.paramKind: Forbidden: user &{u  [] map[]} must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)`},
		"of an unknown":     {obj: policyOf("Other"), asked: "get *.v1. * in *", want: `spec.paramKind: Forbidden: `},
		"that had it":       {obj: policyOf("Secret"), old: policyOf("Secret")},
		"a binding":         {obj: binding(named), asked: "get secrets.v1. s in n", want: `spec.paramRef: Forbidden: user get does not have "&{u  [] map[]}" permission on the object referenced by paramRef`},
		"a selecting one":   {obj: binding(selected), asked: "list secrets.v1.  in ", want: `spec.paramRef: Forbidden: `},
		"one that had it":   {obj: binding(named), old: binding(&admissionv1.ParamRef{Name: "s", Namespace: "n"})},
		"without reference": {obj: binding(nil)},
		"a master":          {obj: policyOf("Secret"), groups: []string{user.SystemPrivilegedGroup}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := ""
			p := policy.NewValidating(policy.Config{Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
				asked = a.GetVerb() + " " + a.GetResource() + "." + a.GetAPIVersion() + "." + a.GetAPIGroup() + " " + a.GetName() + " in " + a.GetNamespace()
				return authorizer.DecisionNoOpinion, "", nil
			})})
			a := &admission.Attributes{
				Operation: admission.Create, Object: tt.obj, Old: tt.old, User: &user.DefaultInfo{Name: "u", Groups: tt.groups}, Name: "x",
				Resource: admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies"), Catalog: secrets{}, Objects: onlyPolicy{},
			}
			err := p.Validate(t.Context(), a)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || asked != tt.asked {
				t.Errorf("asked %q: %v\nwant %q: %s", asked, err, tt.asked, tt.want)
			}
		})
	}
}
