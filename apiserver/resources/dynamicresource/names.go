package dynamicresource

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// driverName checks the name of a driver, which has the form of a CSI driver's.
func driverName(name string, path *field.Path) field.ErrorList {
	return volumes.CSIDriverName(name, path)
}

// poolName checks the name of a pool: subdomains with slashes between them.
func poolName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > resourcev1.PoolNameMaxLength {
		return field.ErrorList{field.TooLong(path, "", resourcev1.PoolNameMaxLength)}
	}
	for part := range strings.SplitSeq(name, "/") {
		errs = append(errs, rules.Subdomain(part, path)...)
	}
	return errs
}

// qualifiedName checks the name of an attribute or a capacity: an identifier of C, with
// or without a domain before it.
func qualifiedName(name resourcev1.QualifiedName, path *field.Path) field.ErrorList {
	parts := strings.Split(string(name), "/")
	switch len(parts) {
	case 1:
		return identifier(parts[0], path)
	case 2:
	default:
		return field.ErrorList{field.Invalid(path, string(name), "must not contain more than one slash")}
	}
	var errs field.ErrorList
	if parts[0] == "" {
		errs = append(errs, field.Invalid(path, "", "the domain must not be empty"))
	} else {
		errs = append(errs, driverName(parts[0], path)...)
	}
	if parts[1] == "" {
		return append(errs, field.Invalid(path, "", "the name must not be empty"))
	}
	return append(errs, identifier(parts[1], path)...)
}

func identifier(id string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DeviceMaxIDLength))
	}
	return append(errs, rules.Matches(id, path, content.IsCIdentifier(id))...)
}

// shortened is a key as it stands in a path: cut in the middle where it is too long.
func shortened(key string) string {
	const most, dots = resourcev1.DeviceMaxDomainLength + 1 + resourcev1.DeviceMaxIDLength, "..."
	if len(key) <= most {
		return key
	}
	rest := most - len(dots)
	return key[:(rest+1)/2] + dots + key[len(key)-rest/2:]
}

func labelName(name string, path *field.Path) field.ErrorList {
	return unversioned.ValidateLabelName(name, path)
}

var effects = []resourcev1.DeviceTaintEffect{
	resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone,
}

// taint checks a taint; an effect that it had before is not asked about again.
func taint(t resourcev1.DeviceTaint, old *resourcev1.DeviceTaint, path *field.Path) field.ErrorList {
	errs := labelName(t.Key, path.Child("key"))
	if t.Value != "" {
		errs = append(errs, rules.Matches(t.Value, path.Child("value"), validation.IsValidLabelValue(t.Value))...)
	}
	if old == nil || old.Effect != t.Effect {
		errs = append(errs, rules.Enum(t.Effect, path.Child("effect"), effects...)...)
	}
	return errs
}

func toleration(t resourcev1.DeviceToleration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, labelName(t.Key, path.Child("key"))...)
	}
	switch t.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		errs = append(errs, rules.Matches(t.Value, path.Child("value"), validation.IsValidLabelValue(t.Value))...)
	default:
		errs = append(errs, rules.Enum(t.Operator, path.Child("operator"), resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists)...)
	}
	if t.Effect != "" {
		errs = append(errs, rules.OneOf(t.Effect, path.Child("effect"), effects...)...)
	}
	return errs
}

// bindingConditions checks the conditions that let a pod be bound, or keep it from it:
// there are both or none, and no condition is in both.
func bindingConditions(conditions, failures []string, path *field.Path) field.ErrorList {
	at, failed := path.Child("bindingConditions"), path.Child("bindingFailureConditions")
	errs := list(conditions, resourcev1.BindingConditionsMaxSize, labelName, at)
	errs = append(errs, list(failures, resourcev1.BindingFailureConditionsMaxSize, labelName, failed)...)
	for i, c := range conditions {
		if slices.Contains(conditions[:i], c) {
			errs = append(errs, field.Duplicate(at.Index(i), c))
		}
	}
	for i, c := range failures {
		if slices.Contains(failures[:i], c) {
			errs = append(errs, field.Duplicate(failed.Index(i), c))
		}
		if slices.Contains(conditions, c) {
			errs = append(errs, field.Invalid(failed.Index(i), c, "bindingFailureConditions must not overlap with bindingConditions"))
		}
	}
	const message = "%s are required to use %s"
	if len(conditions) == 0 && len(failures) > 0 {
		errs = append(errs, field.Invalid(at, conditions, fmt.Sprintf(message, "bindingConditions", "bindingFailureConditions")))
	}
	if len(failures) == 0 && len(conditions) > 0 {
		errs = append(errs, field.Invalid(failed, failures, fmt.Sprintf(message, "bindingFailureConditions", "bindingConditions")))
	}
	return errs
}
