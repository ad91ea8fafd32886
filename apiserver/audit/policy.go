package audit

import (
	"fmt"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/yaml"
)

// The values that a policy may have.
var (
	levels = []auditv1.Level{auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse}
	stages = []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted, auditv1.StageResponseComplete, auditv1.StagePanic}
)

// ParsePolicy reads a policy in YAML or JSON, as upstream's --audit-policy-file has it.
// Errors name the field.
func ParsePolicy(data []byte) (*auditv1.Policy, error) {
	var policy auditv1.Policy
	if err := yaml.UnmarshalStrict(data, &policy); err != nil {
		return nil, fmt.Errorf("audit policy: %w", err)
	}
	if want := auditv1.SchemeGroupVersion.WithKind("Policy"); policy.GroupVersionKind() != want {
		return nil, fmt.Errorf("audit policy: it is a %q of %q, want a Policy of %s", policy.Kind, policy.APIVersion, auditv1.SchemeGroupVersion)
	}
	if len(policy.Rules) == 0 {
		return nil, fmt.Errorf("audit policy: %w", field.Required(field.NewPath("rules"), "a policy without rules keeps nothing"))
	}
	if errs := validate(&policy); len(errs) > 0 {
		return nil, fmt.Errorf("audit policy: %w", errs.ToAggregate())
	}
	return &policy, nil
}

func validate(policy *auditv1.Policy) field.ErrorList {
	errs := validateStages(policy.OmitStages, field.NewPath("omitStages"))
	for i := range policy.Rules {
		errs = append(errs, validateRule(&policy.Rules[i], field.NewPath("rules").Index(i))...)
	}
	return errs
}

func validateRule(rule *auditv1.PolicyRule, path *field.Path) field.ErrorList {
	errs := validateStages(rule.OmitStages, path.Child("omitStages"))
	switch {
	case rule.Level == "":
		errs = append(errs, field.Required(path.Child("level"), ""))
	case !slices.Contains(levels, rule.Level):
		errs = append(errs, field.NotSupported(path.Child("level"), rule.Level, levels))
	}
	urls := path.Child("nonResourceURLs")
	for i, url := range rule.NonResourceURLs {
		if url == "*" {
			continue
		}
		if !strings.HasPrefix(url, "/") {
			errs = append(errs, field.Invalid(urls.Index(i), url, "must begin with a '/'"))
		}
		if star := strings.Index(url, "*"); star >= 0 && star != len(url)-1 {
			errs = append(errs, field.Invalid(urls.Index(i), url, "a '*' must be the last character"))
		}
	}
	if len(rule.NonResourceURLs) > 0 && len(rule.Resources)+len(rule.Namespaces) > 0 {
		errs = append(errs, field.Invalid(urls, rule.NonResourceURLs, "a rule is for resources or for other URLs, not for both"))
	}
	for i, of := range rule.Resources {
		at := path.Child("resources").Index(i)
		if of.Group != "" && of.Group != "*" {
			for _, message := range apivalidation.NameIsDNSSubdomain(of.Group, false) {
				errs = append(errs, field.Invalid(at.Child("group"), of.Group, message))
			}
		}
		if len(of.ResourceNames) > 0 && len(of.Resources) == 0 {
			errs = append(errs, field.Invalid(at.Child("resourceNames"), of.ResourceNames, "needs resources"))
		}
	}
	return errs
}

func validateStages(omitted []auditv1.Stage, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, stage := range omitted {
		if !slices.Contains(stages, stage) {
			errs = append(errs, field.NotSupported(path.Index(i), stage, stages))
		}
	}
	return errs
}

// decision is how much is kept of a request.
type decision struct {
	level         auditv1.Level
	omit          []auditv1.Stage
	managedFields bool
}

// policy is a policy with what holds for all rules put into each.
type policy struct {
	rules []auditv1.PolicyRule
	each  []decision
}

func compile(from *auditv1.Policy) policy {
	p := policy{rules: from.Rules, each: make([]decision, len(from.Rules))}
	for i, rule := range from.Rules {
		omit := from.OmitManagedFields
		if rule.OmitManagedFields != nil {
			omit = *rule.OmitManagedFields
		}
		p.each[i] = decision{
			level: rule.Level, managedFields: !omit,
			omit: append(slices.Clone(from.OmitStages), rule.OmitStages...),
		}
	}
	return p
}

// decide is by the first rule that fits; a request that none fits is left out.
func (p policy) decide(a authorizer.Attributes) decision {
	for i := range p.rules {
		if fits(&p.rules[i], a) {
			return p.each[i]
		}
	}
	return decision{level: auditv1.LevelNone}
}

// fits says that a rule is for a request. An empty list of a rule is for all.
func fits(rule *auditv1.PolicyRule, a authorizer.Attributes) bool {
	if len(rule.Users)+len(rule.UserGroups) > 0 && a.GetUser() == nil {
		return false
	}
	if len(rule.Users) > 0 && !slices.Contains(rule.Users, a.GetUser().GetName()) {
		return false
	}
	if len(rule.UserGroups) > 0 && !slices.ContainsFunc(a.GetUser().GetGroups(), func(g string) bool { return slices.Contains(rule.UserGroups, g) }) {
		return false
	}
	if len(rule.Verbs) > 0 && !slices.Contains(rule.Verbs, a.GetVerb()) {
		return false
	}
	switch {
	case len(rule.Namespaces)+len(rule.Resources) > 0:
		return a.IsResourceRequest() && fitsResource(rule, a)
	case len(rule.NonResourceURLs) > 0:
		return !a.IsResourceRequest() && slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
			start, open := strings.CutSuffix(url, "*")
			return url == a.GetPath() || open && strings.HasPrefix(a.GetPath(), start)
		})
	}
	return true
}

func fitsResource(rule *auditv1.PolicyRule, a authorizer.Attributes) bool {
	if len(rule.Namespaces) > 0 && !slices.Contains(rule.Namespaces, a.GetNamespace()) {
		return false
	}
	if len(rule.Resources) == 0 {
		return true
	}
	return slices.ContainsFunc(rule.Resources, func(of auditv1.GroupResources) bool {
		if of.Group != "*" && of.Group != a.GetAPIGroup() {
			return false
		}
		if len(of.Resources) == 0 {
			return true
		}
		if len(of.ResourceNames) > 0 && !slices.Contains(of.ResourceNames, a.GetName()) {
			return false
		}
		return slices.ContainsFunc(of.Resources, func(name string) bool { return named(name, a.GetResource(), a.GetSubresource()) })
	})
}

// named says that a resource of a rule ("pods", "pods/log", "pods/*", "*/scale", "*")
// is the one of a request.
func named(rule, resource, sub string) bool {
	of, below, isBelow := strings.Cut(rule, "/")
	switch {
	case rule == "*":
		return true
	case !isBelow:
		return sub == "" && of == resource
	case below == "*":
		return of == resource
	}
	return sub != "" && below == sub && (of == "*" || of == resource)
}
