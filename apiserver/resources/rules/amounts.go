package rules

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// IntOrPercent reports what is neither a number from zero on nor a percentage.
func IntOrPercent(v intstr.IntOrString, path *field.Path) field.ErrorList {
	switch v.Type {
	case intstr.String:
		return Matches(v, path, validation.IsValidPercent(v.StrVal))
	case intstr.Int:
		return NonNegative(int64(v.IntValue()), path)
	}
	return field.ErrorList{field.Invalid(path, v, "must be an integer or percentage (e.g '5%%')")}
}

// Amount is the number, of a percentage without its sign; 0 where there is none.
func Amount(v intstr.IntOrString) int {
	if v.Type == intstr.Int {
		return v.IntValue()
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	if err != nil {
		return 0
	}
	return n
}

// AtMostAll refuses more than 100 %.
func AtMostAll(v intstr.IntOrString, path *field.Path) field.ErrorList {
	if v.Type == intstr.String && Amount(v) > 100 {
		return field.ErrorList{field.Invalid(path, v, "must not be greater than 100%")}
	}
	return nil
}
