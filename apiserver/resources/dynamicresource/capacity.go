package dynamicresource

import (
	"fmt"
	"math"

	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxChoices is how many values a policy may offer.
const maxChoices = 10

// exclusiveCapacity is that of a device which only one request gets at a time.
func exclusiveCapacity(c resourcev1.DeviceCapacity, path *field.Path) field.ErrorList {
	if c.RequestPolicy != nil {
		return field.ErrorList{field.Forbidden(path.Child("requestPolicy"), "allowMultipleAllocations must be true")}
	}
	return nil
}

// sharedCapacity is that of a device of which many requests get a part (KEP-5075).
func sharedCapacity(c resourcev1.DeviceCapacity, path *field.Path) field.ErrorList {
	p, at := c.RequestPolicy, path.Child("requestPolicy")
	switch {
	case p == nil, len(p.ValidValues) == 0 && p.ValidRange == nil:
		return nil
	case len(p.ValidValues) > 0 && p.ValidRange != nil:
		return field.ErrorList{field.Forbidden(at, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	case len(p.ValidValues) > 0 && p.Default == nil:
		return field.ErrorList{field.Required(at.Child("default"), "required when validValues is defined")}
	case len(p.ValidValues) > 0:
		return choices(p.ValidValues, *p.Default, c.Value, at.Child("validValues"))
	case p.Default == nil:
		return field.ErrorList{field.Required(at.Child("default"), "required when validRange is defined")}
	}
	return capacityRange(p.ValidRange, *p.Default, c.Value, at.Child("validRange"))
}

func choices(values []apiresource.Quantity, chosen, most apiresource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := 1; i < len(values); i++ {
		if values[i-1].Cmp(values[i]) > 0 {
			errs = append(errs, field.Invalid(path.Index(i), values[i].String(), "values must be sorted in ascending order"))
		}
	}
	found := false
	decimal := func(q apiresource.Quantity) string { return q.AsDec().String() }
	errs = append(errs, set(values, maxChoices, decimal, func(q apiresource.Quantity) any { return decimal(q) }, func(q apiresource.Quantity, at *field.Path) field.ErrorList {
		found = found || q.Cmp(chosen) == 0
		if q.Cmp(most) > 0 {
			return field.ErrorList{field.Invalid(at, q.String(), fmt.Sprintf("option is larger than capacity value: %s", most.String()))}
		}
		return nil
	}, path)...)
	if !found {
		errs = append(errs, field.Invalid(path, chosen.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

func capacityRange(r *resourcev1.CapacityRequestPolicyRange, chosen, most apiresource.Quantity, path *field.Path) field.ErrorList {
	low, high := path.Child("min"), path.Child("max")
	if r.Min == nil {
		return field.ErrorList{field.Required(low, "required when validRange is defined")}
	}
	var errs field.ErrorList
	if r.Min.Cmp(most) > 0 {
		errs = append(errs, field.Invalid(low, r.Min.String(), fmt.Sprintf("min is larger than capacity value: %s", most.String())))
	}
	if chosen.Cmp(*r.Min) < 0 {
		errs = append(errs, field.Invalid(path.Child("default"), chosen.String(), fmt.Sprintf("default is less than min: %s", r.Min.String())))
	}
	if r.Max != nil {
		if r.Min.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(high, r.Min.String(), fmt.Sprintf("min is larger than max: %s", r.Max.String())))
		}
		if r.Max.Cmp(most) > 0 {
			errs = append(errs, field.Invalid(high, r.Max.String(), fmt.Sprintf("max is larger than capacity value: %s", most.String())))
		}
		if chosen.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(path.Child("default"), chosen.String(), fmt.Sprintf("default is more than max: %s", r.Max.String())))
		}
	}
	return append(errs, steps(r, chosen, most, path)...)
}

// steps checks that the default and the end of a range can be reached from its start.
// Whole numbers are compared as such; where one has a fraction, thousandths are.
func steps(r *resourcev1.CapacityRequestPolicyRange, chosen, most apiresource.Quantity, path *field.Path) field.ErrorList {
	all := []struct {
		name string
		q    *apiresource.Quantity
	}{{"default", &chosen}, {"min", r.Min}, {"max", r.Max}, {"step", r.Step}}
	fractions := false
	for _, one := range all {
		fractions = fractions || one.q != nil && fractional(*one.q)
	}
	var errs field.ErrorList
	if fractions {
		for _, one := range all {
			if one.q != nil && one.q.Cmp(*apiresource.NewMilliQuantity(one.q.MilliValue(), one.q.Format)) != 0 {
				errs = append(errs, field.Invalid(path.Child(one.name), one.q.String(), "value cannot be represented as a milli value"))
			}
		}
		if len(errs) > 0 {
			return errs
		}
	}
	at := path.Child("step")
	if r.Step == nil {
		return nil
	}
	if r.Step.Sign() <= 0 {
		return field.ErrorList{field.Invalid(at, r.Step.String(), "must be greater than zero")}
	}
	one := r.Min.DeepCopy()
	one.Add(*r.Step)
	if one.Cmp(most) > 0 {
		errs = append(errs, field.Invalid(at, r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", one.String(), most.String())))
	}
	if !fractions {
		unsafe := false
		for _, one := range all {
			if one.q == nil {
				continue
			}
			if one.q.Sign() < 0 {
				unsafe, errs = true, append(errs, field.Invalid(path.Child(one.name), one.q.String(), apivalidation.IsNegativeErrorMsg))
			} else if one.q.CmpInt64(math.MaxInt64) > 0 {
				unsafe, errs = true, append(errs, field.Invalid(path.Child(one.name), one.q.String(), fmt.Sprintf("must not be larger than %d", int64(math.MaxInt64))))
			}
		}
		if unsafe {
			return errs
		}
	}
	number := func(q apiresource.Quantity) int64 {
		if fractions {
			return q.MilliValue()
		}
		return q.Value()
	}
	for _, q := range []*apiresource.Quantity{&chosen, r.Max} {
		if q != nil && (number(*q)-number(*r.Min))%number(*r.Step) != 0 {
			errs = append(errs, field.Invalid(at, q.String(), fmt.Sprintf(
				"value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String())))
		}
	}
	return errs
}

// fractional says whether a quantity is no whole number.
func fractional(q apiresource.Quantity) bool {
	q = q.DeepCopy()
	return !q.RoundUp(0)
}
