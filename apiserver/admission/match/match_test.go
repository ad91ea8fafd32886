package match_test

import (
	"context"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
	"github.com/strake-io/strake/apiserver/resource"
)

// gold is all objects: the one namespace "default".
type gold struct{ resource.Objects }

func (gold) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if of.Resource == "namespaces" && name == "default" {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"tier": "gold"}}}, nil
	}
	return nil, apierrors.NewNotFound(of, name)
}

// twins shows deployments in v1 and in v2.
type twins struct{ admission.Catalog }

func (twins) Equivalents(of schema.GroupVersionResource, subresource string) []admission.Served {
	if of.Resource != "deployments" || of.Version != "v2" {
		return nil
	}
	v1 := schema.GroupVersion{Group: "apps", Version: "v1"}
	return []admission.Served{{Resource: v1.WithResource("deployments"), Subresource: subresource, Kind: v1.WithKind("Deployment"), Namespaced: true}}
}

func rule(group, version, resource string, change ...func(*admissionv1.NamedRuleWithOperations)) []admissionv1.NamedRuleWithOperations {
	r := admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
	}}
	for _, c := range change {
		c(&r)
	}
	return []admissionv1.NamedRuleWithOperations{r}
}

func write(group, version, resource, sub, namespace string, change ...func(*admission.Attributes)) *admission.Attributes {
	a := &admission.Attributes{
		Operation: admission.Create, Resource: schema.GroupVersionResource{Group: group, Version: version, Resource: resource}, Subresource: sub,
		Kind: schema.GroupVersionKind{Group: group, Version: version, Kind: "K"}, Namespace: namespace, Name: "n",
		Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"app": "new"}}}, Objects: gold{}, Catalog: twins{},
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func TestMatch(t *testing.T) {
	pods := func() *admission.Attributes { return write("", "v1", "pods", "", "default") }
	scoped := func(s admissionv1.ScopeType) func(*admissionv1.NamedRuleWithOperations) {
		return func(r *admissionv1.NamedRuleWithOperations) { r.Scope = &s }
	}
	labels := func(k, v string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}
	}
	namespace := func(operation admission.Operation) *admission.Attributes {
		return write("", "v1", "namespaces", "", "n", func(a *admission.Attributes) {
			a.Operation = operation
			ns := func(tier string) *corev1.Namespace {
				return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"tier": tier}}}
			}
			a.Object, a.Old = ns("gold"), ns("silver")
			if operation == admission.Delete {
				a.Object = nil
			}
		})
	}
	any := func(r *admissionv1.NamedRuleWithOperations) {
		r.Operations = []admissionv1.OperationType{admissionv1.OperationAll}
	}
	tests := map[string]struct {
		of   admissionv1.MatchResources
		a    *admission.Attributes
		as   string // version that matched; "" is none
		fail bool
	}{
		"exact":                  {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods")}, a: pods(), as: "v1"},
		"another group":          {of: admissionv1.MatchResources{ResourceRules: rule("apps", "v1", "pods")}, a: pods()},
		"another version":        {of: admissionv1.MatchResources{ResourceRules: rule("", "v2", "pods")}, a: pods()},
		"another operation":      {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods", func(r *admissionv1.NamedRuleWithOperations) { r.Operations[0] = admissionv1.Delete })}, a: pods()},
		"stars":                  {of: admissionv1.MatchResources{ResourceRules: rule("*", "*", "*", any)}, a: pods(), as: "v1"},
		"no rules, all":          {a: pods(), as: "v1"},
		"star has no sub":        {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*")}, a: write("", "v1", "pods", "exec", "default")},
		"resource has no sub":    {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods")}, a: write("", "v1", "pods", "exec", "default")},
		"all of a resource":      {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods/*")}, a: write("", "v1", "pods", "exec", "default"), as: "v1"},
		"and itself":             {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods/*")}, a: pods(), as: "v1"},
		"a sub of all":           {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*/exec")}, a: write("", "v1", "pods", "exec", "default"), as: "v1"},
		"another sub of all":     {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*/scale")}, a: write("", "v1", "pods", "exec", "default")},
		"everything":             {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*/*")}, a: write("", "v1", "pods", "exec", "default"), as: "v1"},
		"namespaced":             {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*", scoped(admissionv1.NamespacedScope))}, a: pods(), as: "v1"},
		"not in the cluster":     {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*", scoped(admissionv1.ClusterScope))}, a: pods()},
		"nodes are":              {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*", scoped(admissionv1.ClusterScope))}, a: write("", "v1", "nodes", "", ""), as: "v1"},
		"and so are namespaces":  {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*", scoped(admissionv1.ClusterScope))}, a: namespace(admission.Create), as: "v1"},
		"by name":                {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods", func(r *admissionv1.NamedRuleWithOperations) { r.ResourceNames = []string{"n"} })}, a: pods(), as: "v1"},
		"by another name":        {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "pods", func(r *admissionv1.NamedRuleWithOperations) { r.ResourceNames = []string{"m"} })}, a: pods()},
		"excluded":               {of: admissionv1.MatchResources{ResourceRules: rule("", "v1", "*"), ExcludeResourceRules: rule("", "v1", "pods")}, a: pods()},
		"equivalent":             {of: admissionv1.MatchResources{ResourceRules: rule("apps", "v1", "deployments")}, a: write("apps", "v2", "deployments", "", "default"), as: "v1"},
		"its sub":                {of: admissionv1.MatchResources{ResourceRules: rule("apps", "v1", "deployments/scale")}, a: write("apps", "v2", "deployments", "scale", "default"), as: "v1"},
		"equivalent, but exact":  {of: admissionv1.MatchResources{ResourceRules: rule("apps", "v1", "deployments"), MatchPolicy: ptr.To(admissionv1.Exact)}, a: write("apps", "v2", "deployments", "", "default")},
		"excluded as equivalent": {of: admissionv1.MatchResources{ResourceRules: rule("apps", "*", "deployments"), ExcludeResourceRules: rule("apps", "v1", "deployments")}, a: write("apps", "v2", "deployments", "", "default")},
		"labels":                 {of: admissionv1.MatchResources{ObjectSelector: labels("app", "new")}, a: pods(), as: "v1"},
		"other labels":           {of: admissionv1.MatchResources{ObjectSelector: labels("app", "old")}, a: pods()},
		"labels that it had": {of: admissionv1.MatchResources{ObjectSelector: labels("app", "old")}, a: write("", "v1", "pods", "", "default", func(a *admission.Attributes) {
			a.Old = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "old"}}}
		}), as: "v1"},
		"what has no labels":      {of: admissionv1.MatchResources{ObjectSelector: labels("app", "new")}, a: write("", "v1", "pods", "exec", "default", func(a *admission.Attributes) { a.Object = &corev1.PodExecOptions{} })},
		"namespace":               {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "gold")}, a: pods(), as: "v1"},
		"another namespace":       {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "silver")}, a: pods()},
		"no namespace":            {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "silver")}, a: write("", "v1", "nodes", "", ""), as: "v1"},
		"a namespace as it is":    {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "gold")}, a: namespace(admission.Update), as: "v1"},
		"a namespace that goes":   {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "silver")}, a: namespace(admission.Delete), as: "v1"},
		"a namespace that is not": {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "gold")}, a: write("", "v1", "pods", "", "nowhere"), fail: true},
		"unless others differ":    {of: admissionv1.MatchResources{NamespaceSelector: labels("tier", "gold"), ResourceRules: rule("", "v1", "secrets")}, a: write("", "v1", "pods", "", "nowhere")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := match.Of(&tt.of)
			if err != nil {
				t.Fatal(err)
			}
			as, ok, err := c.Match(t.Context(), tt.a)
			if tt.fail {
				if !apierrors.IsNotFound(err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || ok != (tt.as != "") || ok && as.Resource.Version != tt.as {
				t.Errorf("matched %v as %s (%v), want %q", ok, as.Resource, err, tt.as)
			}
		})
	}
}

func TestExemptions(t *testing.T) {
	tests := []struct {
		group, resource    string
		webhooks, policies bool
	}{
		{"", "pods", false, false},
		{"admissionregistration.k8s.io", "validatingwebhookconfigurations", true, false},
		{"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", true, true},
		{"authorization.k8s.io", "subjectaccessreviews", true, true},
		{"authentication.k8s.io", "tokenreviews", true, true},
		{"example.com", "tokenreviews", false, false},
	}
	for _, tt := range tests {
		a := write(tt.group, "v1", tt.resource, "", "")
		if w, p := match.ExemptFromWebhooks(a), match.ExemptFromPolicies(a); w != tt.webhooks || p != tt.policies {
			t.Errorf("%s.%s: webhooks %v, policies %v", tt.resource, tt.group, w, p)
		}
	}
}
