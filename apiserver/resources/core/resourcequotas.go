package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	strakeresource "github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func resourceQuotas() *strakeresource.Resource {
	return &strakeresource.Resource{
		GVK: gvk("ResourceQuota"), Plural: "resourcequotas", Singular: "resourcequota", ShortNames: []string{"quota"},
		Namespaced: true, StoragePrefix: "resourcequotas",
		New: typed.New[corev1.ResourceQuota], NewList: typed.New[corev1.ResourceQuotaList],
		Strategy: strakeresource.Strategy{
			PrepareForCreate: func(_ strakeresource.Request, obj runtime.Object) {
				obj.(*corev1.ResourceQuota).Status = corev1.ResourceQuotaStatus{}
			},
			PrepareForUpdate: func(_ strakeresource.Request, obj, old runtime.Object) {
				obj.(*corev1.ResourceQuota).Status = old.(*corev1.ResourceQuota).Status
			},
			Validate: typed.Validate(func(q *corev1.ResourceQuota) field.ErrorList {
				return validateQuota(&q.Spec, field.NewPath("spec"))
			}),
			ValidateUpdate: typed.Change(func(q, old *corev1.ResourceQuota) field.ErrorList {
				// The order of scopes says nothing.
				now, was := slices.Sorted(slices.Values(q.Spec.Scopes)), slices.Sorted(slices.Values(old.Spec.Scopes))
				if !apiequality.Semantic.DeepEqual(now, was) {
					return field.ErrorList{field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, apivalidation.FieldImmutableErrorMsg)}
				}
				return nil
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
			ResetFields: statusReset(),
		},
		Table: strakeresource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(),
				columns.String("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
				columns.String("Limit", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
				columns.Created(),
			},
			Cells: typed.Cells(quotaCells),
		},
		Subresources: []strakeresource.Subresource{{Name: "status", View: &strakeresource.View{
			PrepareForUpdate: func(_ strakeresource.Request, obj, old runtime.Object) {
				obj.(*corev1.ResourceQuota).Spec = old.(*corev1.ResourceQuota).Spec
			},
			Validate: typed.Change(func(q, _ *corev1.ResourceQuota) field.ErrorList {
				path := field.NewPath("status")
				return append(quotaAmounts(q.Status.Hard, path.Child("hard")), quotaAmounts(q.Status.Used, path.Child("used"))...)
			}),
			ResetFields: specReset(),
		}}},
	}
}

func validateQuota(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	errs := quotaAmounts(spec.Hard, path.Child("hard"))
	errs = append(errs, quotaScopes(spec, path)...)
	if spec.ScopeSelector != nil {
		errs = append(errs, scopeSelector(spec, path.Child("scopeSelector"))...)
	}
	return errs
}

func quotaAmounts(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		at, q := path.Key(string(name)), list[name]
		errs = append(errs, quotaResource(string(name), at)...)
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(at, q.String(), "must be greater than or equal to 0"))
		}
		if countsObjects(name) && q.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(at, q.String(), "must be an integer"))
		}
	}
	return errs
}

func quotaResource(name string, path *field.Path) field.ErrorList {
	errs := podspec.ResourceName(corev1.ResourceName(name), path)
	if !strings.Contains(name, "/") && !quotaNames(corev1.ResourceName(name)) {
		errs = append(errs, field.Invalid(path, name, "must be a standard resource for quota"))
	}
	return errs
}

// quotaNames says that a resource without a domain may be limited by a quota.
func quotaNames(name corev1.ResourceName) bool {
	return podspec.StandardResource(name) && name != corev1.ResourceStorage
}

// countsObjects says that a resource is a number of objects.
func countsObjects(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	return strings.HasPrefix(string(name), "count/")
}

// scopes that a quota may have.
var quotaScopeNames = []corev1.ResourceQuotaScope{
	corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
	corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity,
	corev1.ResourceQuotaScopeVolumeAttributesClass,
}

// scopeTakes says whether a scope may be used for a resource: scopes are about
// pods, best effort about their number only, attributes classes about claims.
func scopeTakes(scope corev1.ResourceQuotaScope, name corev1.ResourceName) bool {
	if scope == corev1.ResourceQuotaScopeVolumeAttributesClass {
		return name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage
	}
	if !slices.Contains(quotaScopeNames, scope) || name == corev1.ResourcePods {
		return true
	}
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory:
		return scope != corev1.ResourceQuotaScopeBestEffort
	}
	return false
}

func quotaScopes(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	at := path.Child("scopes")
	var errs field.ErrorList
	have := map[corev1.ResourceQuotaScope]bool{}
	for _, scope := range spec.Scopes {
		if !slices.Contains(quotaScopeNames, scope) {
			errs = append(errs, field.Invalid(at, spec.Scopes, "unsupported scope"))
		}
		for _, name := range slices.Sorted(maps.Keys(spec.Hard)) {
			if podspec.StandardResource(name) && !scopeTakes(scope, name) {
				errs = append(errs, field.Invalid(at, spec.Scopes, "unsupported scope applied to resource"))
			}
		}
		have[scope] = true
	}
	if have[corev1.ResourceQuotaScopeTerminating] && have[corev1.ResourceQuotaScopeNotTerminating] ||
		have[corev1.ResourceQuotaScopeBestEffort] && have[corev1.ResourceQuotaScopeNotBestEffort] {
		errs = append(errs, field.Invalid(at, spec.Scopes, "conflicting scopes"))
	}
	return errs
}

func scopeSelector(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("matchExpressions")
	for i := range spec.ScopeSelector.MatchExpressions {
		r := &spec.ScopeSelector.MatchExpressions[i]
		if !slices.Contains(quotaScopeNames, r.ScopeName) {
			errs = append(errs, field.Invalid(at.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		for _, name := range slices.Sorted(maps.Keys(spec.Hard)) {
			if podspec.StandardResource(name) && !scopeTakes(r.ScopeName, name) {
				errs = append(errs, field.Invalid(at, rules.Internal(spec.ScopeSelector), "unsupported scope applied to resource"))
			}
		}
		switch r.ScopeName {
		case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
			corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			if r.Operator != corev1.ScopeSelectorOpExists {
				errs = append(errs, field.Invalid(at.Child("operator"), r.Operator,
					"must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
			}
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(at.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Invalid(at.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
		}
	}
	return append(errs, conflictingScopes(spec, path)...)
}

// conflictingScopes of a selector; the message shows the spec's other list, as upstream's
// does.
func conflictingScopes(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	have := map[corev1.ResourceQuotaScope]bool{}
	for _, r := range spec.ScopeSelector.MatchExpressions {
		have[r.ScopeName] = true
	}
	if have[corev1.ResourceQuotaScopeTerminating] && have[corev1.ResourceQuotaScopeNotTerminating] ||
		have[corev1.ResourceQuotaScopeBestEffort] && have[corev1.ResourceQuotaScopeNotBestEffort] {
		return field.ErrorList{field.Invalid(path.Child("matchExpressions"), spec.Scopes, "conflicting scopes")}
	}
	return nil
}

func quotaCells(q *corev1.ResourceQuota, now time.Time) []any {
	var requests, limits []string
	for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
		used, hard := q.Status.Used[name], q.Status.Hard[name]
		text := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
		if strings.HasPrefix(string(name), "limits") {
			limits = append(limits, text)
		} else {
			requests = append(requests, text)
		}
	}
	return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), columns.Age(q.CreationTimestamp, now)}
}
