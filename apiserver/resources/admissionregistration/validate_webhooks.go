package admissionregistration

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

type errorList = field.ErrorList

// forgiven is what an update may still have wrong, because the object had it wrong
// before.
type forgiven struct {
	sideEffects, reviewVersions, duplicates, labelValues bool
	// conditions that did not change are not looked at.
	conditions bool
	// stored are expressions that were accepted before.
	stored sets.Set[string]
}

var (
	reviewVersions  = []string{"v1", "v1beta1"}
	allSideEffects  = []admissionv1.SideEffectClass{admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun, admissionv1.SideEffectClassSome, admissionv1.SideEffectClassUnknown}
	noSideEffects   = allSideEffects[:2]
	failurePolicies = []admissionv1.FailurePolicyType{admissionv1.Fail, admissionv1.Ignore}
	matchPolicies   = []admissionv1.MatchPolicyType{admissionv1.Equivalent, admissionv1.Exact}
	reinvocations   = []admissionv1.ReinvocationPolicyType{admissionv1.IfNeededReinvocationPolicy, admissionv1.NeverReinvocationPolicy}
)

func forgive(hooks []admissionv1.MutatingWebhook, old *[]admissionv1.MutatingWebhook) forgiven {
	f := forgiven{stored: sets.New[string]()}
	if old == nil {
		return f
	}
	names := sets.New[string]()
	f.conditions = len(hooks) == len(*old)
	for i := range *old {
		h := &(*old)[i]
		f.sideEffects = f.sideEffects || h.SideEffects == nil || !slices.Contains(noSideEffects, *h.SideEffects)
		f.reviewVersions = f.reviewVersions || len(h.AdmissionReviewVersions) > 0 && !knowsReview(h.AdmissionReviewVersions)
		f.duplicates = f.duplicates || names.Has(h.Name)
		names.Insert(h.Name)
		strict := metavalidation.LabelSelectorValidationOptions{}
		for _, s := range []*metav1.LabelSelector{h.NamespaceSelector, h.ObjectSelector} {
			f.labelValues = f.labelValues || s != nil && len(metavalidation.ValidateLabelSelector(s, strict, nil)) > 0
		}
		for _, m := range h.MatchConditions {
			f.stored.Insert(m.Expression)
		}
		f.conditions = f.conditions && reflect.DeepEqual(h.MatchConditions, hooks[i].MatchConditions)
	}
	return f
}

func knowsReview(versions []string) bool {
	return slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(reviewVersions, v) })
}

// validateWebhooks checks the webhooks of a configuration; old is nil for a new one.
func validateWebhooks(hooks []admissionv1.MutatingWebhook, old *[]admissionv1.MutatingWebhook) errorList {
	f := forgive(hooks, old)
	var errs errorList
	names := sets.New[string]()
	for i := range hooks {
		h, path := &hooks[i], field.NewPath("webhooks").Index(i)
		errs = append(errs, validateWebhook(h, f, path)...)
		errs = append(errs, validateReviewVersions(h.AdmissionReviewVersions, f, path.Child("admissionReviewVersions"))...)
		if !f.duplicates && h.Name != "" {
			if names.Has(h.Name) {
				errs = append(errs, field.Duplicate(path.Child("name"), h.Name))
			}
			names.Insert(h.Name)
		}
	}
	return errs
}

func validateWebhook(h *admissionv1.MutatingWebhook, f forgiven, path *field.Path) errorList {
	errs := validation.IsFullyQualifiedName(path.Child("name"), h.Name)
	for i := range h.Rules {
		errs = append(errs, validateRule(&h.Rules[i], path.Child("rules").Index(i))...)
	}
	errs = append(errs, optional(h.FailurePolicy, path.Child("failurePolicy"), failurePolicies)...)
	errs = append(errs, optional(h.MatchPolicy, path.Child("matchPolicy"), matchPolicies)...)
	allowed := noSideEffects
	if f.sideEffects {
		allowed = allSideEffects
	}
	if h.SideEffects == nil {
		errs = append(errs, field.Required(path.Child("sideEffects"), "must specify one of "+join(allowed)))
	}
	errs = append(errs, optional(h.SideEffects, path.Child("sideEffects"), allowed)...)
	if t := h.TimeoutSeconds; t != nil && (*t > 30 || *t < 1) {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	opts := metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: f.labelValues}
	if h.NamespaceSelector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(h.NamespaceSelector, opts, path.Child("namespaceSelector"))...)
	}
	if h.ObjectSelector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(h.ObjectSelector, opts, path.Child("objectSelector"))...)
	}
	errs = append(errs, optional(h.ReinvocationPolicy, path.Child("reinvocationPolicy"), reinvocations)...)
	errs = append(errs, validateClient(&h.ClientConfig, path.Child("clientConfig"))...)
	if !f.conditions {
		errs = append(errs, validateConditions(h.MatchConditions, celexpr.Declares{Authorizer: true}, f.stored, path.Child("matchConditions"))...)
	}
	return errs
}

func validateClient(c *admissionv1.WebhookClientConfig, path *field.Path) errorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return errorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return rules.WebhookURL(*c.URL, path.Child("url"))
	}
	port := int32(0)
	if c.Service.Port != nil {
		port = *c.Service.Port
	}
	// Upstream has the two names the wrong way round here, and so its error messages.
	return rules.WebhookService(c.Service.Namespace, c.Service.Name, c.Service.Path, port, path.Child("service"))
}

func validateReviewVersions(versions []string, f forgiven, path *field.Path) errorList {
	if len(versions) == 0 {
		return errorList{field.Required(path, "must specify one of "+join(reviewVersions))}
	}
	var errs errorList
	seen := sets.New[string]()
	for i, v := range versions {
		if seen.Has(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		seen.Insert(v)
		for _, m := range validation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, m))
		}
	}
	if !f.reviewVersions && !knowsReview(versions) {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of "+join(reviewVersions)))
	}
	return errs
}

func join[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}

// optional reports a value that is there and not one of allowed.
func optional[T ~string](value *T, path *field.Path, allowed []T) errorList {
	if value == nil || slices.Contains(allowed, *value) {
		return nil
	}
	return errorList{field.NotSupported(path, *value, allowed)}
}

// required reports a value that is missing, or not one of allowed.
func required[T ~string](value *T, path *field.Path, allowed []T) errorList {
	if value == nil {
		return errorList{field.Required(path, "")}
	}
	return optional(value, path, allowed)
}

func onlyWildcard[T ~string](values []T, path *field.Path, what string) errorList {
	if len(values) > 1 && slices.Contains(values, "*") {
		return errorList{field.Invalid(path, values, fmt.Sprintf("if '*' is present, must not specify other %s", what))}
	}
	return nil
}
