package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	strakeresource "github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func limitRanges() *strakeresource.Resource {
	return &strakeresource.Resource{
		GVK: gvk("LimitRange"), Plural: "limitranges", Singular: "limitrange", ShortNames: []string{"limits"},
		Namespaced: true, StoragePrefix: "limitranges",
		New: typed.New[corev1.LimitRange], NewList: typed.New[corev1.LimitRangeList],
		Strategy: strakeresource.Strategy{
			Default: typed.Default(func(l *corev1.LimitRange) {
				for i := range l.Spec.Limits {
					defaultLimit(&l.Spec.Limits[i])
				}
			}),
			Validate: typed.Validate(func(l *corev1.LimitRange) field.ErrorList {
				return validateLimits(l.Spec.Limits, field.NewPath("spec", "limits"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowCreateOnUpdate:      true,
			AllowUnconditionalUpdate: true,
		},
		Table: strakeresource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Created At", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]),
			},
			Cells: typed.Cells(func(l *corev1.LimitRange, _ time.Time) []any {
				return []any{l.Name, l.CreationTimestamp.UTC().Format(time.RFC3339)}
			}),
		},
	}
}

// defaultLimit: a container without limits gets the largest allowed, and requests
// what it is limited to, or else the least allowed.
func defaultLimit(item *corev1.LimitRangeItem) {
	if item.Type != corev1.LimitTypeContainer {
		return
	}
	fill := func(to *corev1.ResourceList, from corev1.ResourceList) {
		if *to == nil {
			*to = corev1.ResourceList{}
		}
		for name, q := range from {
			if _, set := (*to)[name]; !set {
				(*to)[name] = q.DeepCopy()
			}
		}
	}
	fill(&item.Default, item.Max)
	fill(&item.DefaultRequest, item.Default)
	fill(&item.DefaultRequest, item.Min)
}

func validateLimits(limits []corev1.LimitRangeItem, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.LimitType]bool{}
	for i := range limits {
		at, item := path.Index(i), &limits[i]
		errs = append(errs, limitType(string(item.Type), at.Child("type"))...)
		if seen[item.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), item.Type))
		}
		seen[item.Type] = true
		errs = append(errs, validateLimit(item, at)...)
	}
	return errs
}

func limitType(value string, path *field.Path) field.ErrorList {
	if messages := validation.IsQualifiedName(value); len(messages) > 0 {
		return rules.Matches(value, path, messages)
	}
	standard := value == string(corev1.LimitTypePod) || value == string(corev1.LimitTypeContainer) || value == string(corev1.LimitTypePersistentVolumeClaim)
	if !strings.Contains(value, "/") && !standard {
		return field.ErrorList{field.Invalid(path, value, "must be a standard limit type or fully qualified")}
	}
	return nil
}

func validateLimit(item *corev1.LimitRangeItem, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[corev1.ResourceName]bool{}
	collect := func(name string, list corev1.ResourceList) {
		for _, key := range slices.Sorted(maps.Keys(list)) {
			names[key] = true
			check := podspec.ResourceName
			if item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer {
				check = podspec.ContainerResourceName
			}
			errs = append(errs, check(key, at.Child(name).Key(string(key)))...)
		}
	}
	collect("max", item.Max)
	collect("min", item.Min)
	if item.Type == corev1.LimitTypePod {
		for name, list := range map[string]corev1.ResourceList{"default": item.Default, "defaultRequest": item.DefaultRequest} {
			if len(list) > 0 {
				errs = append(errs, field.Forbidden(at.Child(name), "may not be specified when `type` is 'Pod'"))
			}
		}
	} else {
		collect("default", item.Default)
		collect("defaultRequest", item.DefaultRequest)
	}
	collect("maxLimitRequestRatio", item.MaxLimitRequestRatio)
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, hasMin := item.Min[corev1.ResourceStorage]
		_, hasMax := item.Max[corev1.ResourceStorage]
		if !hasMin && !hasMax {
			errs = append(errs, field.Required(at.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		errs = append(errs, compareLimits(item, name, at)...)
	}
	return errs
}

// compareLimits checks the order min ≤ default request ≤ default ≤ max for one
// resource, and its ratio.
func compareLimits(item *corev1.LimitRangeItem, name corev1.ResourceName, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	low, hasLow := item.Min[name]
	high, hasHigh := item.Max[name]
	request, hasRequest := item.DefaultRequest[name]
	limit, hasLimit := item.Default[name]
	ordered := func(both bool, a, b resource.Quantity, in string, value resource.Quantity, message string) {
		if both && a.Cmp(b) > 0 {
			errs = append(errs, field.Invalid(at.Child(in).Key(string(name)), value, fmt.Sprintf(message, a.String(), b.String())))
		}
	}
	ordered(hasLow && hasHigh, low, high, "min", low, "min value %s is greater than max value %s")
	ordered(hasRequest && hasLow, low, request, "defaultRequest", request, "min value %s is greater than default request value %s")
	ordered(hasRequest && hasHigh, request, high, "defaultRequest", request, "default request value %s is greater than max value %s")
	ordered(hasRequest && hasLimit, request, limit, "defaultRequest", request, "default request value %s is greater than default limit value %s")
	ordered(hasLimit && hasLow, low, limit, "default", low, "min value %s is greater than default value %s")
	ordered(hasLimit && hasHigh, limit, high, "default", high, "default value %s is greater than max value %s")

	ratio, hasRatio := item.MaxLimitRequestRatio[name]
	if !hasRatio {
		return errs
	}
	where := at.Child("maxLimitRequestRatio").Key(string(name))
	if ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
		errs = append(errs, field.Invalid(where, ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	if hasLow && hasHigh && low.Sign() > 0 {
		if most := high.AsApproximateFloat64() / low.AsApproximateFloat64(); ratio.AsApproximateFloat64() > most {
			errs = append(errs, field.Invalid(where, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), most)))
		}
	}
	return errs
}
