package storage

import (
	"maps"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func volumeAttributesClasses() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("VolumeAttributesClass"), Plural: "volumeattributesclasses", Singular: "volumeattributesclass",
		ShortNames: []string{"vac"}, StoragePrefix: "volumeattributesclasses",
		New: typed.New[storagev1.VolumeAttributesClass], NewList: typed.New[storagev1.VolumeAttributesClassList],
		Strategy: resource.Strategy{
			Validate: typed.Validate(func(c *storagev1.VolumeAttributesClass) field.ErrorList {
				errs := validateProvisioner(c.DriverName, field.NewPath("driverName"))
				return append(errs, validateParameters(c.Parameters, false, field.NewPath("parameters"))...)
			}),
			ValidateUpdate: typed.Change(func(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
				var errs field.ErrorList
				if c.DriverName != old.DriverName {
					errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
				}
				if !maps.Equal(c.Parameters, old.Parameters) {
					errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
				}
				return errs
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("DriverName", storagev1.VolumeAttributesClass{}.SwaggerDoc()["driverName"]), columns.Created(),
			},
			Cells: typed.Cells(func(c *storagev1.VolumeAttributesClass, now time.Time) []any {
				return []any{
					marked(c.Name, isDefault(c.Annotations, "volumeattributesclass.alpha.kubernetes.io/is-default-class")),
					c.DriverName, columns.Age(c.CreationTimestamp, now),
				}
			}),
		},
	}
}
