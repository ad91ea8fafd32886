package dynamicresource

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validateDevice checks one device of a slice; old is what it was, nil where it is new.
func validateDevice(d, old *resourcev1.Device, perDevice bool, path *field.Path) field.ErrorList {
	errs := rules.Label(d.Name, path.Child("name"))
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf(
			"the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	if n := countValues(d); n > resourcev1.ResourceSliceMaxAttributeValuesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf(
			"the total number of attribute values must not exceed %d", resourcev1.ResourceSliceMaxAttributeValuesPerDevice)))
	}
	errs = append(errs, qualified(d.Attributes, validateAttribute, path.Child("attributes"))...)
	if old == nil || !apiequality.Semantic.DeepEqual(old.Capacity, d.Capacity) {
		check := exclusiveCapacity
		if ptr.Deref(d.AllowMultipleAllocations, false) {
			check = sharedCapacity
		}
		errs = append(errs, qualified(d.Capacity, check, path.Child("capacity"))...)
	}
	if old == nil || !apiequality.Semantic.DeepEqual(old.Taints, d.Taints) {
		errs = append(errs, list(d.Taints, resourcev1.DeviceTaintsMaxLength, func(t resourcev1.DeviceTaint, at *field.Path) field.ErrorList {
			return taint(t, nil, at)
		}, path.Child("taints"))...)
	}
	errs = append(errs, set(d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice,
		func(c resourcev1.DeviceCounterConsumption) string { return c.CounterSet }, whole,
		func(c resourcev1.DeviceCounterConsumption, at *field.Path) field.ErrorList {
			return counters(c.CounterSet, "counterSet", c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption, at)
		}, path.Child("consumesCounters"))...)
	errs = append(errs, validateDeviceNodes(d, perDevice, path)...)
	return append(errs, bindingConditions(d.BindingConditions, d.BindingFailureConditions, path)...)
}

// countValues is how many values the attributes of a device have.
func countValues(d *resourcev1.Device) int {
	n := 0
	for _, a := range d.Attributes {
		n += max(1, len(a.BoolValues)+len(a.IntValues)+len(a.StringValues)+len(a.VersionValues))
	}
	return n
}

// qualified checks the names and the values of a map.
func qualified[T any](m map[resourcev1.QualifiedName]T, check func(T, *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(m)) {
		errs = append(errs, qualifiedName(name, path)...)
		errs = append(errs, check(m[name], path.Key(shortened(string(name))))...)
	}
	return errs
}

// counters checks a set of counters, or what a device takes of one.
func counters(set, name string, all map[string]resourcev1.Counter, most int, path *field.Path) field.ErrorList {
	errs := required(set, validate.ShortName, path.Child(name))
	at := path.Child("counters")
	if len(all) == 0 {
		return append(errs, field.Required(at, ""))
	}
	if len(all) > most {
		return append(errs, field.TooMany(at, len(all), most))
	}
	for _, counter := range slices.Sorted(maps.Keys(all)) {
		errs = append(errs, is(counter, validate.ShortName, at)...)
	}
	return errs
}

// semantic is a version by semver.org, 2.0.0.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

func validateAttribute(a resourcev1.DeviceAttribute, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var members []string
	for _, m := range []struct {
		name  string
		set   bool
		text  []string // the values that are text
		check func(string, *field.Path) field.ErrorList
	}{
		{name: "int", set: a.IntValue != nil},
		{name: "bool", set: a.BoolValue != nil},
		{name: "string", set: a.StringValue != nil, text: text(a.StringValue), check: bounded},
		{name: "version", set: a.VersionValue != nil, text: text(a.VersionValue), check: version},
		{name: "ints", set: a.IntValues != nil},
		{name: "bools", set: a.BoolValues != nil},
		{name: "strings", set: a.StringValues != nil, text: a.StringValues, check: bounded},
		{name: "versions", set: a.VersionValues != nil, text: a.VersionValues, check: version},
	} {
		if !m.set {
			continue
		}
		members = append(members, m.name)
		for i, value := range m.text {
			at := path.Child(m.name)
			if strings.HasSuffix(m.name, "s") {
				at = at.Index(i)
			}
			errs = append(errs, m.check(value, at)...)
		}
	}
	const all = "int, bool, string, version, ints, bools, strings, versions"
	switch len(members) {
	case 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: "+quoted(all)))
	case 1:
	default:
		errs = append(errs, field.Invalid(path, "{"+strings.Join(members, ", ")+"}", "must specify exactly one of: "+quoted(all)))
	}
	return errs
}

// quoted puts each of the names of a list in backquotes.
func quoted(names string) string { return "`" + strings.ReplaceAll(names, ", ", "`, `") + "`" }

func text(s *string) []string {
	if s == nil {
		return nil
	}
	return []string{*s}
}

func bounded(value string, path *field.Path) field.ErrorList {
	if len(value) > resourcev1.DeviceAttributeMaxValueLength {
		return field.ErrorList{field.TooLong(path, "", resourcev1.DeviceAttributeMaxValueLength)}
	}
	return nil
}

func version(value string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !semantic.MatchString(value) {
		errs = append(errs, field.Invalid(path, value, "must be a string compatible with semver.org spec 2.0.0"))
	}
	return append(errs, bounded(value, path)...)
}

// validateDeviceNodes: where each device says which nodes have it, exactly one way does.
func validateDeviceNodes(d *resourcev1.Device, perDevice bool, path *field.Path) field.ErrorList {
	if !perDevice {
		if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
			return field.ErrorList{field.Invalid(path, nil,
				"`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")}
		}
		return nil
	}
	var errs field.ErrorList
	var ways []string
	if name := d.NodeName; name != nil && *name == "" {
		errs = append(errs, field.Invalid(path.Child("nodeName"), "", "must not be empty"))
	} else if name != nil {
		ways = append(ways, "`nodeName`")
		errs = append(errs, rules.Subdomain(*name, path.Child("nodeName"))...)
	}
	if d.NodeSelector != nil {
		ways = append(ways, "`nodeSelector`")
		errs = append(errs, podspec.ValidateNodeSelector(d.NodeSelector, path.Child("nodeSelector"))...)
	}
	if all := d.AllNodes; all != nil && *all {
		ways = append(ways, "`allNodes`")
	} else if all != nil {
		errs = append(errs, field.Invalid(path.Child("allNodes"), false, "must be either unset or set to true"))
	}
	const message = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	switch len(ways) {
	case 0:
		errs = append(errs, field.Required(path, message))
	case 1:
	default:
		errs = append(errs, field.Invalid(path, "{"+strings.Join(ways, ", ")+"}", message))
	}
	return errs
}
