package storage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Bounds on the parameters of a class: their number, and their size in bytes.
const (
	maxParameters     = 512
	maxParametersSize = 256 << 10
)

func storageClasses() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("StorageClass"), Plural: "storageclasses", Singular: "storageclass", ShortNames: []string{"sc"}, StoragePrefix: "storageclasses",
		New: typed.New[storagev1.StorageClass], NewList: typed.New[storagev1.StorageClassList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *storagev1.StorageClass) {
				if c.ReclaimPolicy == nil {
					c.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimDelete)
				}
				if c.VolumeBindingMode == nil {
					c.VolumeBindingMode = ptr.To(storagev1.VolumeBindingImmediate)
				}
			}),
			Validate:                 typed.Validate(validateClass),
			ValidateUpdate:           typed.Change(validateClassUpdate),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{Columns: classColumns(), Cells: typed.Cells(classCells)},
	}
}

func validateClass(c *storagev1.StorageClass) field.ErrorList {
	var errs field.ErrorList
	if at := field.NewPath("provisioner"); c.Provisioner == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, rules.Matches(c.Provisioner, at, validation.IsQualifiedName(strings.ToLower(c.Provisioner)))...)
	}
	errs = append(errs, validateParameters(c.Parameters, true, field.NewPath("parameters"))...)
	if p := ptr.Deref(c.ReclaimPolicy, ""); p != "" {
		errs = append(errs, rules.OneOf(p, field.NewPath("reclaimPolicy"), corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	if at := field.NewPath("volumeBindingMode"); c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, rules.OneOf(*c.VolumeBindingMode, at, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	for i, term := range c.AllowedTopologies {
		errs = append(errs, validateTopology(term, field.NewPath("allowedTopologies").Index(i))...)
	}
	return errs
}

func validateTopology(term corev1.TopologySelectorTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, r := range term.MatchLabelExpressions {
		at := path.Child("matchLabelExpressions").Index(i)
		errs = append(errs, rules.Matches(r.Key, at.Child("key"), validation.IsQualifiedName(r.Key))...)
		if seen[r.Key] {
			errs = append(errs, field.Duplicate(at.Child("key"), r.Key))
		}
		seen[r.Key] = true
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), ""))
		}
		values := map[string]bool{}
		for j, v := range r.Values {
			if values[v] {
				errs = append(errs, field.Duplicate(at.Child("values").Index(j), v))
			}
			values[v] = true
		}
	}
	return errs
}

func validateParameters(parameters map[string]string, emptyIsFine bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(parameters) > maxParameters {
		errs = append(errs, field.TooLong(path, "Provisioner Parameters exceeded max allowed", maxParameters))
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if key == "" {
			errs = append(errs, field.Invalid(path, key, "field can not be empty."))
		}
		size += len(key) + len(parameters[key])
	}
	if size > maxParametersSize {
		errs = append(errs, field.TooLong(path, "", maxParametersSize))
	}
	if len(parameters) == 0 && !emptyIsFine {
		errs = append(errs, field.Required(path, ""))
	}
	return errs
}

func validateClassUpdate(c, old *storagev1.StorageClass) field.ErrorList {
	var errs field.ErrorList
	if !maps.Equal(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	if c.Provisioner != old.Provisioner {
		errs = append(errs, field.Forbidden(field.NewPath("provisioner"), "updates to provisioner are forbidden."))
	}
	if ptr.Deref(c.ReclaimPolicy, "") != ptr.Deref(old.ReclaimPolicy, "") {
		errs = append(errs, field.Forbidden(field.NewPath("reclaimPolicy"), "updates to reclaimPolicy are forbidden."))
	}
	return append(errs, rules.Immutable(c.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
}

func classColumns() []metav1.TableColumnDefinition {
	doc := storagev1.StorageClass{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Provisioner", doc["provisioner"]), columns.String("ReclaimPolicy", doc["reclaimPolicy"]),
		columns.String("VolumeBindingMode", doc["volumeBindingMode"]), columns.String("AllowVolumeExpansion", doc["allowVolumeExpansion"]),
		columns.Created(),
	}
}

func classCells(c *storagev1.StorageClass, now time.Time) []any {
	name := marked(c.Name, isDefault(c.Annotations, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"))
	return []any{
		name, c.Provisioner, string(ptr.Deref(c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)),
		string(ptr.Deref(c.VolumeBindingMode, storagev1.VolumeBindingImmediate)), fmt.Sprint(ptr.Deref(c.AllowVolumeExpansion, false)),
		columns.Age(c.CreationTimestamp, now),
	}
}
