package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Bounds of the policies, upstream's.
const (
	maxPolicyRules       = 20
	maxExitCodes         = 255
	maxPolicyPatterns    = 20
	maxSucceededIndexes  = 64 << 10 // bytes
	exitCodeValuesNeeded = "at least one value is required"
)

func validateFailurePolicy(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("rules")
	if n := len(s.PodFailurePolicy.Rules); n > maxPolicyRules {
		errs = append(errs, field.TooMany(at, n, maxPolicyRules))
	}
	names := map[string]bool{}
	for _, list := range [][]corev1.Container{s.Template.Spec.Containers, s.Template.Spec.InitContainers} {
		for i := range list {
			names[list[i].Name] = true
		}
	}
	for i := range s.PodFailurePolicy.Rules {
		errs = append(errs, validateFailureRule(s, &s.PodFailurePolicy.Rules[i], names, at.Index(i))...)
	}
	return errs
}

func validateFailureRule(s *batchv1.JobSpec, r *batchv1.PodFailurePolicyRule, names map[string]bool, path *field.Path) field.ErrorList {
	errs := oneOf(r.Action, path.Child("action"),
		batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)
	if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Invalid(path.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
	}
	if r.OnExitCodes != nil {
		errs = append(errs, validateExitCodes(r.OnExitCodes, names, path.Child("onExitCodes"))...)
	}
	if n := len(r.OnPodConditions); n > 0 {
		at := path.Child("onPodConditions")
		if n > maxPolicyPatterns {
			errs = append(errs, field.TooMany(at, n, maxPolicyPatterns))
		}
		for i, p := range r.OnPodConditions {
			errs = append(errs, rules.Matches(p.Type, at.Index(i).Child("type"), validation.IsQualifiedName(string(p.Type)))...)
			errs = append(errs, oneOf(p.Status, at.Index(i).Child("status"), corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
		}
	}
	switch both := r.OnExitCodes != nil && len(r.OnPodConditions) > 0; {
	case both:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
	case r.OnExitCodes == nil && len(r.OnPodConditions) == 0:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
	}
	return errs
}

// oneOf is rules.Enum, but a missing value is told what it may be.
func oneOf[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q", allowed))}
	}
	return rules.OneOf(value, path, allowed...)
}

func validateExitCodes(r *batchv1.PodFailurePolicyOnExitCodesRequirement, names map[string]bool, path *field.Path) field.ErrorList {
	errs := oneOf(r.Operator, path.Child("operator"), batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if r.ContainerName != nil && !names[*r.ContainerName] {
		errs = append(errs, field.Invalid(path.Child("containerName"), *r.ContainerName, "must be one of the container or initContainer names in the pod template"))
	}
	at := path.Child("values")
	switch n := len(r.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(at, r.Values, exitCodeValuesNeeded))
	case n > maxExitCodes:
		errs = append(errs, field.TooMany(at, n, maxExitCodes))
	}
	seen := map[int32]bool{}
	for i, v := range r.Values {
		if r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			errs = append(errs, field.Invalid(at.Index(i), v, "must not be 0 for the In operator"))
		}
		if seen[v] {
			errs = append(errs, field.Duplicate(at.Index(i), v))
		}
		seen[v] = true
	}
	if !slices.IsSorted(r.Values) {
		errs = append(errs, field.Invalid(at, r.Values, "must be ordered"))
	}
	return errs
}

func validateSuccessPolicy(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	at := path.Child("successPolicy")
	if !indexed(s) {
		return field.ErrorList{field.Invalid(at, rules.Internal(s.SuccessPolicy), "requires indexed completion mode")}
	}
	var errs field.ErrorList
	switch n := len(s.SuccessPolicy.Rules); {
	case n == 0:
		errs = append(errs, field.Required(at.Child("rules"), "at least one rules must be specified when the successPolicy is specified"))
	case n > maxPolicyRules:
		errs = append(errs, field.TooMany(at.Child("rules"), n, maxPolicyRules))
	}
	completions := ptr.Deref(s.Completions, 0)
	for i, r := range s.SuccessPolicy.Rules {
		at := at.Child("rules").Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			errs = append(errs, field.Required(at, "at least one of succeededCount or succeededIndexes must be specified"))
		}
		var total int32
		if r.SucceededIndexes != nil {
			where := at.Child("succeededIndexes")
			if len(*r.SucceededIndexes) > maxSucceededIndexes {
				errs = append(errs, field.TooLong(where, "", maxSucceededIndexes))
			}
			n, err := countIndexes(*r.SucceededIndexes, completions)
			if err != nil {
				n, errs = 0, append(errs, field.Invalid(where, *r.SucceededIndexes, fmt.Sprintf("error parsing succeededIndexes: %s", err.Error())))
			}
			total = n
		}
		if r.SucceededCount != nil {
			where := at.Child("succeededCount")
			errs = append(errs, rules.NonNegative(int64(*r.SucceededCount), where)...)
			if *r.SucceededCount > completions {
				errs = append(errs, field.Invalid(where, *r.SucceededCount, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
			}
			if r.SucceededIndexes != nil && *r.SucceededCount > total {
				errs = append(errs, field.Invalid(where, *r.SucceededCount, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total)))
			}
		}
	}
	return errs
}

// countIndexes reads a list of indexes and intervals ("1,3-5"), which must rise and
// stay below completions, and counts them.
func countIndexes(text string, completions int32) (int32, error) {
	spans, err := readIndexes(text, completions)
	n := int32(0)
	for _, s := range spans {
		n += s.last - s.first + 1
	}
	return n, err
}

// span is an interval of indexes, both ends in it.
type span struct{ first, last int32 }

func readIndexes(text string, completions int32) ([]span, error) {
	if text == "" {
		return nil, nil
	}
	var spans []span
	last := int32(-1)
	for _, part := range strings.Split(text, ",") {
		from, to, interval := strings.Cut(part, "-")
		if !interval {
			to = from
		}
		first, err := index(from, completions)
		if err != nil {
			return nil, err
		}
		end, err := index(to, completions)
		if err != nil {
			return nil, err
		}
		if first <= last {
			return nil, fmt.Errorf("non-increasing order, previous: %d, current: %d", last, first)
		}
		if interval && end <= first {
			return nil, fmt.Errorf("non-increasing order, previous: %d, current: %d", first, end)
		}
		spans = append(spans, span{first, end})
		last = end
	}
	return spans, nil
}

// commonIndex is the first index that is in both lists; malformed ones have none.
func commonIndex(a, b string, completions int32) (int32, bool) {
	x, err := readIndexes(a, completions)
	if err != nil {
		return 0, false
	}
	y, err := readIndexes(b, completions)
	if err != nil {
		return 0, false
	}
	for len(x) > 0 && len(y) > 0 {
		switch {
		case x[0].last < y[0].first:
			x = x[1:]
		case y[0].last < x[0].first:
			y = y[1:]
		default:
			return max(x[0].first, y[0].first), true
		}
	}
	return 0, false
}

func index(text string, completions int32) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot convert string to integer for index: %q", text)
	}
	if int32(n) >= completions {
		return 0, fmt.Errorf("too large index: %q", text)
	}
	return int32(n), nil
}
