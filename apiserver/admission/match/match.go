// Package match decides which writes a webhook or a policy is about: by operation,
// resource, scope, and the labels of the object and its namespace. Webhooks and CEL
// policies share it.
package match

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
)

// Criteria are what something matches. They do not change, and are safe for
// concurrent use.
type Criteria struct {
	rules, exclude []admissionv1.NamedRuleWithOperations
	equivalent     bool
	// all: without rules, every resource is meant.
	all               bool
	namespace, object labels.Selector
}

// New reads the rules and selectors of a webhook or a policy. A selector that is nil
// matches everything.
func New(rules, exclude []admissionv1.NamedRuleWithOperations, policy *admissionv1.MatchPolicyType, namespace, object *metav1.LabelSelector) (*Criteria, error) {
	c := &Criteria{rules: rules, exclude: exclude, equivalent: policy == nil || *policy == admissionv1.Equivalent}
	var err error
	if c.namespace, err = selector(namespace); err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	if c.object, err = selector(object); err != nil {
		return nil, fmt.Errorf("objectSelector: %w", err)
	}
	return c, nil
}

// Of reads what a policy or its binding matches. Without rules it matches every
// resource, and nil matches everything.
func Of(m *admissionv1.MatchResources) (*Criteria, error) {
	if m == nil {
		m = &admissionv1.MatchResources{}
	}
	c, err := New(m.ResourceRules, m.ExcludeResourceRules, m.MatchPolicy, m.NamespaceSelector, m.ObjectSelector)
	if err == nil {
		c.all = len(m.ResourceRules) == 0
	}
	return c, err
}

func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

// Named are rules without names of objects.
func Named(rules []admissionv1.RuleWithOperations) []admissionv1.NamedRuleWithOperations {
	out := make([]admissionv1.NamedRuleWithOperations, len(rules))
	for i := range rules {
		out[i].RuleWithOperations = rules[i]
	}
	return out
}

// ExemptFromWebhooks says that no webhook is asked about a write: it is about
// admission itself, or about who may do what, and a webhook in its way could not be
// taken out of it any more.
func ExemptFromWebhooks(a *admission.Attributes) bool {
	return ExemptFromPolicies(a) || a.Resource.Group == admissionv1.GroupName &&
		(a.Resource.Resource == "validatingwebhookconfigurations" || a.Resource.Resource == "mutatingwebhookconfigurations")
}

// ExemptFromPolicies is the same for policies, which do look at webhooks.
func ExemptFromPolicies(a *admission.Attributes) bool {
	switch a.Resource.Group {
	case admissionv1.GroupName:
		switch a.Resource.Resource {
		case "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings":
			return true
		}
	case authenticationv1.GroupName:
		return a.Resource.Resource == "tokenreviews" || a.Resource.Resource == "selfsubjectreviews"
	case authorizationv1.GroupName:
		switch a.Resource.Resource {
		case "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews":
			return true
		}
	}
	return false
}

// Match says whether a write is matched, and as which resource: where the rules name
// another version of the object's kind only, the object is shown in that one.
func (c *Criteria) Match(ctx context.Context, a *admission.Attributes) (as admission.Served, ok bool, err error) {
	as, ok = c.Resource(a)
	if !ok || !c.Object(a) {
		return as, false, nil
	}
	ok, err = c.Namespace(ctx, a)
	return as, ok, err
}

// Resource looks at the rules alone.
func (c *Criteria) Resource(a *admission.Attributes) (as admission.Served, ok bool) {
	self := admission.Served{Resource: a.Resource, Subresource: a.Subresource, Kind: a.Kind, Namespaced: a.Namespace != ""}
	if anyRule(c.exclude, a, a.Resource) {
		return self, false
	}
	if c.all || anyRule(c.rules, a, a.Resource) {
		return self, !c.excludedElsewhere(a)
	}
	if !c.equivalent || a.Catalog == nil {
		return self, false
	}
	for _, other := range a.Catalog.Equivalents(a.Resource, a.Subresource) {
		if anyRule(c.rules, a, other.Resource) {
			return other, !c.excludedElsewhere(a)
		}
	}
	return self, false
}

func (c *Criteria) excludedElsewhere(a *admission.Attributes) bool {
	if len(c.exclude) == 0 || !c.equivalent || a.Catalog == nil {
		return false
	}
	return slices.ContainsFunc(a.Catalog.Equivalents(a.Resource, a.Subresource), func(o admission.Served) bool { return anyRule(c.exclude, a, o.Resource) })
}

func anyRule(rules []admissionv1.NamedRuleWithOperations, a *admission.Attributes, as schema.GroupVersionResource) bool {
	for i := range rules {
		if rule(&rules[i], a, as) {
			return true
		}
	}
	return false
}

func rule(r *admissionv1.NamedRuleWithOperations, a *admission.Attributes, as schema.GroupVersionResource) bool {
	return inOrStar(r.Operations, admissionv1.OperationType(a.Operation)) && inOrStar(r.APIGroups, as.Group) && inOrStar(r.APIVersions, as.Version) &&
		resource(r.Resources, as.Resource, a.Subresource) && scope(r.Scope, a) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.Name))
}

func inOrStar[T ~string](list []T, value T) bool {
	return slices.Contains(list, value) || slices.Contains(list, "*")
}

func resource(list []string, name, sub string) bool {
	for _, r := range list {
		of, below, _ := strings.Cut(r, "/")
		if (of == "*" || of == name) && (below == "*" || below == sub) {
			return true
		}
	}
	return false
}

var namespaces = schema.GroupResource{Resource: "namespaces"}

func scope(s *admissionv1.ScopeType, a *admission.Attributes) bool {
	if s == nil || *s == admissionv1.AllScopes {
		return true
	}
	// A namespace is in none, though its attributes name it.
	namespaced := a.Namespace != "" && a.Resource.GroupResource() != namespaces
	return namespaced == (*s == admissionv1.NamespacedScope)
}

// Object looks at the labels of the object as it was and as it shall be: one is
// enough.
func (c *Criteria) Object(a *admission.Attributes) bool {
	return c.object.Empty() || c.labelled(c.object, a.Object) || c.labelled(c.object, a.Old)
}

func (c *Criteria) labelled(s labels.Selector, obj runtime.Object) bool {
	if obj == nil {
		return false
	}
	m, err := meta.Accessor(obj)
	return err == nil && s.Matches(labels.Set(m.GetLabels()))
}

// Namespace looks at the labels of the object's namespace, or of the object where it
// is a namespace. Other objects without a namespace match.
func (c *Criteria) Namespace(ctx context.Context, a *admission.Attributes) (bool, error) {
	if c.namespace.Empty() {
		return true, nil
	}
	if a.Resource.GroupResource() == namespaces {
		if a.Object != nil && (a.Operation == admission.Create || a.Operation == admission.Update) && a.Subresource == "" {
			return c.labelled(c.namespace, a.Object), nil
		}
		if a.Old != nil {
			return c.labelled(c.namespace, a.Old), nil
		}
	}
	if a.Namespace == "" {
		return true, nil
	}
	ns, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	if apierrors.IsNotFound(err) {
		// Admission of namespaces refuses the write by itself.
		return false, err
	}
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	return c.labelled(c.namespace, ns), nil
}
