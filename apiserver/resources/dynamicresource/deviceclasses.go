package dynamicresource

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func deviceClasses() *resource.Resource {
	counted := typed.Counted(func(c *resourcev1.DeviceClass) *resourcev1.DeviceClassSpec { return &c.Spec })
	return &resource.Resource{
		GVK: gvk("DeviceClass"), Plural: "deviceclasses", Singular: "deviceclass", StoragePrefix: "deviceclasses",
		New: typed.New[resourcev1.DeviceClass], NewList: typed.New[resourcev1.DeviceClassList],
		Strategy: resource.Strategy{
			PrepareForCreate: counted.Create,
			PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(c *resourcev1.DeviceClass) field.ErrorList {
				return validateDeviceClass(&c.Spec, nil, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(func(c, old *resourcev1.DeviceClass) field.ErrorList {
				return validateDeviceClass(&c.Spec, &old.Spec, field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{Columns: nameAndAge(), Cells: typed.Cells(func(c *resourcev1.DeviceClass, now time.Time) []any {
			return []any{c.Name, columns.Age(c.CreationTimestamp, now)}
		})},
	}
}

func validateDeviceClass(spec, old *resourcev1.DeviceClassSpec, path *field.Path) field.ErrorList {
	stored := old != nil && apiequality.Semantic.DeepEqual(spec.Selectors, old.Selectors)
	errs := selectors(spec.Selectors, stored, path.Child("selectors"))
	stored = old != nil && apiequality.Semantic.DeepEqual(spec.Config, old.Config)
	errs = append(errs, list(spec.Config, resourcev1.DeviceConfigMaxSize, func(c resourcev1.DeviceClassConfiguration, at *field.Path) field.ErrorList {
		return configuration(c.DeviceConfiguration, stored, at)
	}, path.Child("config"))...)
	if name := spec.ExtendedResourceName; name != nil {
		errs = append(errs, is(*name, validate.ExtendedResourceName, path.Child("extendedResourceName"))...)
	}
	return errs
}
