package storage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
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
	errs = append(errs, validateProvisioner(c.Provisioner, field.NewPath("provisioner"))...)
	errs = append(errs, validateParameters(c.Parameters, true, field.NewPath("parameters"))...)
	if p := ptr.Deref(c.ReclaimPolicy, ""); p != "" {
		errs = append(errs, rules.OneOf(p, field.NewPath("reclaimPolicy"), corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	if at := field.NewPath("volumeBindingMode"); c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, rules.OneOf(*c.VolumeBindingMode, at, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	return append(errs, validateTopologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

// validateProvisioner checks the name of who provides volumes, in any case.
func validateProvisioner(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	name = strings.ToLower(name)
	return rules.Matches(name, path, validation.IsQualifiedName(name))
}

// validateTopologies: no two terms say the same, and none says nothing.
func validateTopologies(terms []corev1.TopologySelectorTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	said := make([]map[string]map[string]bool, 0, len(terms)+1)
	said = append(said, map[string]map[string]bool{})
	for i, term := range terms {
		errs = append(errs, validateTopology(term, path.Index(i))...)
		says := map[string]map[string]bool{}
		for _, r := range term.MatchLabelExpressions {
			says[r.Key] = map[string]bool{}
			for _, v := range r.Values {
				says[r.Key][v] = true
			}
		}
		for _, before := range said {
			if apiequality.Semantic.DeepEqual(says, before) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("matchLabelExpressions"), ""))
				break
			}
		}
		said = append(said, says)
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
		return append(errs, field.TooLong(path, "", maxParameters))
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
		errs = append(errs, field.Required(path, "must contain at least one key/value pair"))
	}
	return errs
}

// validateClassUpdate: volumes that were provided stay as the class says. Upstream
// does not show the values.
func validateClassUpdate(c, old *storagev1.StorageClass) field.ErrorList {
	var errs field.ErrorList
	for _, one := range []struct {
		name     string
		now, was any
	}{
		{"parameters", c.Parameters, old.Parameters}, {"provisioner", c.Provisioner, old.Provisioner},
		{"reclaimPolicy", c.ReclaimPolicy, old.ReclaimPolicy}, {"volumeBindingMode", c.VolumeBindingMode, old.VolumeBindingMode},
	} {
		if !apiequality.Semantic.DeepEqual(one.now, one.was) {
			errs = append(errs, field.Invalid(field.NewPath(one.name), nil, apivalidation.FieldImmutableErrorMsg))
		}
	}
	return errs
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
