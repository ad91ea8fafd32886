// Package rules has the small validation rules that many kinds share: enums,
// required names, ports, immutable fields. Each returns errors with the messages
// and field paths of the Kubernetes API, so that clients that match on them work.
//
// It stands below the packages of the API groups in apiserver/resources and
// knows none of their types.
package rules

import (
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Enum reports a value that is not one of allowed. An empty one is reported as
// missing.
func Enum[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return OneOf(value, path, allowed...)
}

// OneOf reports a value that is not one of allowed, the empty one included.
func OneOf[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

// Matches reports each message of a check from util/validation as an invalid
// value.
func Matches[T any](value T, path *field.Path, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(path, value, m))
	}
	return errs
}

// Label reports a value that is not a DNS-1123 label.
func Label(value string, path *field.Path) field.ErrorList {
	return Matches(value, path, validation.IsDNS1123Label(value))
}

// Subdomain reports a value that is not a DNS-1123 subdomain, the usual object
// name.
func Subdomain(value string, path *field.Path) field.ErrorList {
	return Matches(value, path, validation.IsDNS1123Subdomain(value))
}

// Port reports a number that is no port.
func Port(port int32, path *field.Path) field.ErrorList {
	return Matches(port, path, validation.IsValidPortNum(int(port)))
}

// PortOrName reports what is neither a port number nor a port name.
func PortOrName(port intstr.IntOrString, path *field.Path) field.ErrorList {
	switch port.Type {
	case intstr.Int:
		return Matches(port.IntValue(), path, validation.IsValidPortNum(port.IntValue()))
	case intstr.String:
		return Matches(port.StrVal, path, validation.IsValidPortName(port.StrVal))
	}
	return field.ErrorList{field.InternalError(path, errUnknownPortType(port))}
}

// NonNegative reports a number below zero.
func NonNegative(value int64, path *field.Path) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(value, path)
}

// Immutable reports that a field changed which may not.
func Immutable(value, old any, path *field.Path) field.ErrorList {
	return apivalidation.ValidateImmutableField(value, old, path)
}

// Labels reports malformed label keys and values.
func Labels(labels map[string]string, path *field.Path) field.ErrorList {
	return unversioned.ValidateLabels(labels, path)
}

// Selector reports a malformed label selector.
func Selector(selector *metav1.LabelSelector, path *field.Path) field.ErrorList {
	return unversioned.ValidateLabelSelector(selector, unversioned.LabelSelectorValidationOptions{}, path)
}

// Key reports a name that cannot be a key of a ConfigMap or Secret.
func Key(key string, path *field.Path) field.ErrorList {
	return Matches(key, path, validation.IsConfigMapKey(key))
}

// NonZeroIP reports an address that names no host that traffic may be sent to:
// unspecified, loopback or link-local.
func NonZeroIP(address string, path *field.Path) field.ErrorList {
	return specialIP(address, path)
}
