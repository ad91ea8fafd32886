package dynamicresource

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// requestNames are the requests of a claim, each with the names of its alternatives.
type requestNames map[string][]string

func namesOf(claim *resourcev1.DeviceClaim) requestNames {
	names := requestNames{}
	for _, r := range claim.Requests {
		names[r.Name] = nil
		for _, sub := range r.FirstAvailable {
			names[r.Name] = append(names[r.Name], sub.Name)
		}
	}
	return names
}

// reference checks "request" or "request/alternative".
func (n requestNames) reference(name string, path *field.Path) field.ErrorList {
	wrong := field.Invalid(path, name, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'")
	segments := strings.Split(name, "/")
	if len(segments) > 2 {
		return field.ErrorList{wrong}
	}
	var errs field.ErrorList
	for _, s := range segments {
		errs = append(errs, rules.Label(s, path)...)
	}
	alternatives, ok := n[segments[0]]
	if !ok || len(segments) == 2 && !slices.Contains(alternatives, segments[1]) {
		errs = append(errs, wrong)
	}
	return errs
}

func (n requestNames) references(names []string, path *field.Path) field.ErrorList {
	return set(names, resourcev1.DeviceRequestsMaxSize, itself, whole, n.reference, path)
}

// validateClaim checks a new claim.
func validateClaim(claim *resourcev1.DeviceClaim, path *field.Path) field.ErrorList {
	names := namesOf(claim)
	errs := set(claim.Requests, resourcev1.DeviceRequestsMaxSize, func(r resourcev1.DeviceRequest) string { return r.Name }, whole,
		validateRequest, path.Child("requests"))
	errs = append(errs, list(claim.Constraints, resourcev1.DeviceConstraintsMaxSize, func(c resourcev1.DeviceConstraint, at *field.Path) field.ErrorList {
		return validateConstraint(&c, names, at)
	}, path.Child("constraints"))...)
	return append(errs, list(claim.Config, resourcev1.DeviceConfigMaxSize, func(c resourcev1.DeviceClaimConfiguration, at *field.Path) field.ErrorList {
		return append(names.references(c.Requests, at.Child("requests")), configuration(c.DeviceConfiguration, false, at)...)
	}, path.Child("config"))...)
}

func validateRequest(r resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
	const one = "exactly one of `exactly` or `firstAvailable` is required"
	errs := rules.Label(r.Name, path.Child("name"))
	switch e, alternatives := r.Exactly, len(r.FirstAvailable) > 0; {
	case e == nil && !alternatives:
		return append(errs, field.Required(path, one))
	case e != nil && alternatives:
		errs = append(errs, field.Invalid(path, nil, one+", but multiple fields are set"))
		return append(errs, validateBoth(&r, path)...)
	}
	if e := r.Exactly; e != nil {
		errs = append(errs, validateWanted(e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, e.Tolerations, path.Child("exactly"))...)
	}
	if len(r.FirstAvailable) == 0 {
		return errs
	}
	return append(errs, set(r.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize,
		func(s resourcev1.DeviceSubRequest) string { return s.Name }, whole,
		func(s resourcev1.DeviceSubRequest, at *field.Path) field.ErrorList {
			errs := rules.Label(s.Name, at.Child("name"))
			return append(errs, validateWanted(s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count, s.Tolerations, at)...)
		}, path.Child("firstAvailable"))...)
}

// validateBoth checks what upstream declares of a request's two forms, and so looks
// at even where both are there.
func validateBoth(r *resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
	at := path.Child("exactly")
	errs := allocationMode(r.Exactly.AllocationMode, at)
	errs = append(errs, list(r.Exactly.Tolerations, resourcev1.DeviceTolerationsMaxLength, toleration, at.Child("tolerations"))...)
	for i, s := range r.FirstAvailable {
		at := path.Child("firstAvailable").Index(i)
		errs = append(errs, required(s.DeviceClassName, validate.LongName, at.Child("deviceClassName"))...)
		errs = append(errs, allocationMode(s.AllocationMode, at)...)
		errs = append(errs, list(s.Tolerations, resourcev1.DeviceTolerationsMaxLength, toleration, at.Child("tolerations"))...)
	}
	return errs
}

func allocationMode(mode resourcev1.DeviceAllocationMode, path *field.Path) field.ErrorList {
	return rules.OneOf(mode, path.Child("allocationMode"), resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount)
}

func validateWanted(class string, s []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64, tolerations []resourcev1.DeviceToleration, path *field.Path) field.ErrorList {
	errs := required(class, validate.LongName, path.Child("deviceClassName"))
	errs = append(errs, selectors(s, false, path.Child("selectors"))...)
	const all, exact = resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount
	switch at := path.Child("count"); {
	case mode == all && count != 0:
		errs = append(errs, field.Invalid(at, count, fmt.Sprintf("must not be specified when allocationMode is '%s'", mode)))
	case mode == exact && count <= 0:
		errs = append(errs, field.Invalid(at, count, "must be greater than zero"))
	case mode != all && mode != exact:
		errs = append(errs, allocationMode(mode, path)...)
	}
	return append(errs, list(tolerations, resourcev1.DeviceTolerationsMaxLength, toleration, path.Child("tolerations"))...)
}

func validateConstraint(c *resourcev1.DeviceConstraint, names requestNames, path *field.Path) field.ErrorList {
	errs := names.references(c.Requests, path.Child("requests"))
	if c.MatchAttribute == nil && c.DistinctAttribute == nil {
		return append(errs, field.Required(path, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
	}
	if c.MatchAttribute != nil {
		errs = append(errs, is(*c.MatchAttribute, validate.ResourceFullyQualifiedName, path.Child("matchAttribute"))...)
	}
	if c.DistinctAttribute != nil {
		errs = append(errs, is(*c.DistinctAttribute, validate.ResourceFullyQualifiedName, path.Child("distinctAttribute"))...)
	}
	return errs
}
