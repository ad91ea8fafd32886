package dynamicresource

import (
	"fmt"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func resourceSlices() *resource.Resource {
	counted := typed.Counted(func(s *resourcev1.ResourceSlice) *resourcev1.ResourceSliceSpec { return &s.Spec })
	stampAll := func(spec *resourcev1.ResourceSliceSpec) {
		for i := range spec.Devices {
			for j := range spec.Devices[i].Taints {
				stamp(&spec.Devices[i].Taints[j])
			}
		}
	}
	return &resource.Resource{
		GVK: gvk("ResourceSlice"), Plural: "resourceslices", Singular: "resourceslice", StoragePrefix: "resourceslices",
		New: typed.New[resourcev1.ResourceSlice], NewList: typed.New[resourcev1.ResourceSliceList],
		Strategy: resource.Strategy{
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				spec := &obj.(*resourcev1.ResourceSlice).Spec
				dropFromSlice(spec, nil)
				stampAll(spec)
				counted.Create(req, obj)
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				spec := &obj.(*resourcev1.ResourceSlice).Spec
				stampAll(spec)
				// What is dropped counts as a change, as with upstream.
				counted.Update(req, obj, old)
				dropFromSlice(spec, &old.(*resourcev1.ResourceSlice).Spec)
			},
			Validate: typed.Validate(func(s *resourcev1.ResourceSlice) field.ErrorList { return validateSlice(&s.Spec, nil) }),
			ValidateChange: typed.Change(func(s, old *resourcev1.ResourceSlice) field.ErrorList {
				return validateSlice(&s.Spec, &old.Spec)
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(s, _ *resourcev1.ResourceSlice) []string {
				if s.Spec.Driver == strings.ToLower(s.Spec.Driver) {
					return nil
				}
				return []string{fmt.Sprintf("spec.driver: driver names should be lowercase; %q contains uppercase characters", s.Spec.Driver)}
			}),
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{Columns: sliceColumns(), Cells: typed.Cells(func(s *resourcev1.ResourceSlice, now time.Time) []any {
			return []any{s.Name, ptr.Deref(s.Spec.NodeName, ""), s.Spec.Driver, s.Spec.Pool.Name, columns.Age(s.CreationTimestamp, now)}
		})},
		SelectableFields: typed.Fields(func(s *resourcev1.ResourceSlice) fields.Set {
			return fields.Set{
				resourcev1.ResourceSliceSelectorNodeName: ptr.Deref(s.Spec.NodeName, ""),
				resourcev1.ResourceSliceSelectorDriver:   s.Spec.Driver, resourcev1.ResourceSliceSelectorPoolName: s.Spec.Pool.Name,
			}
		}),
		IndexedFields: []string{resourcev1.ResourceSliceSelectorNodeName},
	}
}

func sliceColumns() []metav1.TableColumnDefinition {
	spec := resourcev1.ResourceSliceSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Node", spec["nodeName"]), columns.String("Driver", spec["driver"]),
		columns.String("Pool", resourcev1.ResourcePool{}.SwaggerDoc()["name"]), columns.Created(),
	}
}

func validateSlice(spec, old *resourcev1.ResourceSliceSpec) field.ErrorList {
	path := field.NewPath("spec")
	pool := path.Child("pool")
	errs := driverName(spec.Driver, path.Child("driver"))
	errs = append(errs, poolName(spec.Pool.Name, pool.Child("name"))...)
	if n := spec.Pool.ResourceSliceCount; n <= 0 {
		errs = append(errs, field.Invalid(pool.Child("resourceSliceCount"), n, "must be greater than zero"))
	}
	if n := spec.Pool.Generation; n < 0 {
		errs = append(errs, field.Invalid(pool.Child("generation"), n, "must be greater than or equal to zero"))
	}
	if old != nil {
		errs = append(errs, rules.Immutable(spec.Pool.Name, old.Pool.Name, pool.Child("name"))...)
		errs = append(errs, rules.Immutable(spec.Driver, old.Driver, path.Child("driver"))...)
		errs = append(errs, rules.Immutable(spec.NodeName, old.NodeName, path.Child("nodeName"))...)
	}
	errs = append(errs, validateSliceNodes(spec, path)...)
	if spec.SharedCounters != nil && spec.Devices != nil {
		errs = append(errs, field.Invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	before := map[string]*resourcev1.Device{}
	if old != nil {
		for i := range old.Devices {
			before[old.Devices[i].Name] = &old.Devices[i]
		}
	}
	perDevice := ptr.Deref(spec.PerDeviceNodeSelection, false)
	name := func(d resourcev1.Device) string { return d.Name }
	errs = append(errs, set(spec.Devices, maxDevices(spec), name, func(d resourcev1.Device) any { return d.Name },
		func(d resourcev1.Device, at *field.Path) field.ErrorList {
			return validateDevice(&d, before[d.Name], perDevice, at)
		}, path.Child("devices"))...)
	return append(errs, set(spec.SharedCounters, resourcev1.ResourceSliceMaxCounterSets, func(c resourcev1.CounterSet) string { return c.Name }, whole,
		func(c resourcev1.CounterSet, at *field.Path) field.ErrorList {
			return counters(c.Name, "name", c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet, at)
		}, path.Child("sharedCounters"))...)
}

// maxDevices is how many devices a slice may have: fewer where they make more work.
func maxDevices(spec *resourcev1.ResourceSliceSpec) int {
	for _, d := range spec.Devices {
		if len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 {
			return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
		for _, a := range d.Attributes {
			if isList(a) {
				return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
			}
		}
	}
	return resourcev1.ResourceSliceMaxDevices
}

// validateSliceNodes: exactly one of four ways says which nodes have the devices.
func validateSliceNodes(spec *resourcev1.ResourceSliceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var ways []string
	if name := spec.NodeName; name != nil && *name == "" {
		errs = append(errs, field.Invalid(path.Child("nodeName"), "", "must be either unset or set to a non-empty string"))
	} else if name != nil {
		ways = append(ways, "`nodeName`")
		errs = append(errs, rules.Subdomain(*name, path.Child("nodeName"))...)
	}
	if s := spec.NodeSelector; s != nil {
		at := path.Child("nodeSelector")
		ways = append(ways, "`nodeSelector`")
		errs = append(errs, podspec.ValidateNodeSelector(s, at)...)
		if len(s.NodeSelectorTerms) != 1 {
			errs = append(errs, field.Invalid(at.Child("nodeSelectorTerms"), rules.Internal(s.NodeSelectorTerms), "must have exactly one node selector term"))
		}
	}
	for _, one := range []struct {
		name  string
		value *bool
	}{{"allNodes", spec.AllNodes}, {"perDeviceNodeSelection", spec.PerDeviceNodeSelection}} {
		if one.value != nil && *one.value {
			ways = append(ways, "`"+one.name+"`")
		} else if one.value != nil {
			errs = append(errs, field.Invalid(path.Child(one.name), false, "must be either unset or set to true"))
		}
	}
	const message = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	switch len(ways) {
	case 0:
		errs = append(errs, field.Required(path, message))
	case 1:
	default:
		errs = append(errs, field.Invalid(path, "{"+strings.Join(ways, ", ")+"}", message+", but multiple fields are set"))
	}
	return errs
}
