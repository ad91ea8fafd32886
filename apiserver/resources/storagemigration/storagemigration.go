// Package storagemigration declares the resources of storagemigration.k8s.io/v1: who
// wants the stored objects of a resource written again (KEP-4192).
package storagemigration

import (
	"fmt"
	"strings"
	"time"

	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK:        migrationv1.SchemeGroupVersion.WithKind("StorageVersionMigration"),
		StoredForm: &resource.StoredForm{Version: "v1beta1"},
		Plural:     "storageversionmigrations",
		Singular:   "storageversionmigration", StoragePrefix: "storageversionmigrations",
		New: typed.New[migrationv1.StorageVersionMigration], NewList: typed.New[migrationv1.StorageVersionMigrationList],
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*migrationv1.StorageVersionMigration).Status = migrationv1.StorageVersionMigrationStatus{}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*migrationv1.StorageVersionMigration).Status = old.(*migrationv1.StorageVersionMigration).Status
			},
			Validate: typed.Validate(validate),
			ValidateUpdate: typed.Change(func(m, old *migrationv1.StorageVersionMigration) field.ErrorList {
				return rules.ImmutableInternal(m.Spec, old.Spec, field.NewPath("spec"))
			}),
			NameError:   apivalidation.NameIsDNSSubdomain,
			ResetFields: typed.Reset("status"),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{columns.Name(), columns.Created()},
			Cells: typed.Cells(func(m *migrationv1.StorageVersionMigration, now time.Time) []any {
				return []any{m.Name, columns.Age(m.CreationTimestamp, now)}
			}),
		},
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				m, was := obj.(*migrationv1.StorageVersionMigration), old.(*migrationv1.StorageVersionMigration)
				m.Spec = was.Spec
				metav1.ResetObjectMetaForStatus(m, was)
			},
			Validate:    typed.Change(validateStatus),
			ResetFields: typed.Reset("spec", "metadata"),
		}}},
	}}
}

func validate(m *migrationv1.StorageVersionMigration) field.ErrorList {
	path := field.NewPath("spec", "resource")
	var errs field.ErrorList
	invalid := func(name, value string, messages []string) {
		if len(messages) > 0 {
			errs = append(errs, field.Invalid(path.Child(name), value, strings.Join(messages, ",")))
		}
	}
	if r := m.Spec.Resource.Resource; r == "" {
		errs = append(errs, field.Required(path.Child("resource"), "resource is required to be set"))
	} else {
		invalid("resource", r, validation.IsDNS1035Label(r))
	}
	if g := m.Spec.Resource.Group; g != "" {
		invalid("group", g, validation.IsDNS1123Subdomain(g))
	}
	return errs
}

func validateStatus(m, old *migrationv1.StorageVersionMigration) field.ErrorList {
	path := field.NewPath("status")
	version, conditions := path.Child("resourceVersion"), path.Child("conditions")
	var errs field.ErrorList
	if _, err := resourceversion.CompareResourceVersion(m.Status.ResourceVersion, m.Status.ResourceVersion); m.Status.ResourceVersion != "" && err != nil {
		errs = append(errs, field.Invalid(version, m.Status.ResourceVersion, err.Error()))
	}
	errs = append(errs, unversioned.ValidateConditions(m.Status.Conditions, conditions)...)
	if was := old.Status.ResourceVersion; was != "" && was != m.Status.ResourceVersion {
		errs = append(errs, field.Invalid(version, m.Status.ResourceVersion, "field is immutable"))
	}
	is := func(m *migrationv1.StorageVersionMigration, kind migrationv1.MigrationConditionType) bool {
		return meta.IsStatusConditionTrue(m.Status.Conditions, string(kind))
	}
	wrong := func(why string) { errs = append(errs, field.Invalid(conditions, m.Status.Conditions, why)) }
	succeeded, failed := is(m, migrationv1.MigrationSucceeded), is(m, migrationv1.MigrationFailed)
	if succeeded && failed {
		wrong("Both success and failed conditions cannot be true at the same time")
	}
	for _, one := range []struct {
		upper, lower string
		now, before  bool
	}{
		{"Success", "success", succeeded, is(old, migrationv1.MigrationSucceeded)},
		{"Failed", "failed", failed, is(old, migrationv1.MigrationFailed)},
	} {
		if one.now && is(m, migrationv1.MigrationRunning) {
			wrong(fmt.Sprintf("Running condition cannot be true when %s condition is true", one.lower))
		}
		if one.before && !one.now {
			wrong(one.upper + " condition cannot be set to false once it is true")
		}
	}
	return errs
}
