// Package volumes checks what persistent volumes and claims have in common with the
// volumes of pods and with the kinds of storage.k8s.io: access modes, classes,
// claim specs.
//
// It stands below the packages of the API groups in apiserver/resources.
package volumes

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// AccessModes checks a list of access modes; none is what an empty list is told.
func AccessModes(modes []corev1.PersistentVolumeAccessMode, none string, path *field.Path) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, none)}
	}
	var errs field.ErrorList
	alone, others := false, false
	for _, m := range modes {
		errs = append(errs, rules.OneOf(m, path, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)...)
		alone = alone || m == corev1.ReadWriteOncePod
		others = others || m == corev1.ReadWriteOnce || m == corev1.ReadOnlyMany || m == corev1.ReadWriteMany
	}
	if alone && others {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

// Mode checks a volume mode, which may be nil.
func Mode(mode *corev1.PersistentVolumeMode, path *field.Path) field.ErrorList {
	if mode == nil {
		return nil
	}
	return rules.OneOf(*mode, path, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

// ClassName checks the name of a class of storage, which may be nil or empty.
func ClassName(name *string, path *field.Path) field.ErrorList {
	if name == nil || *name == "" {
		return nil
	}
	return rules.Matches(*name, path, validation.IsDNS1123Subdomain(*name))
}

// ClaimSpec checks the spec of a claim, or of the template of one.
func ClaimSpec(spec *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	return ClaimSpecUpdate(spec, nil, path)
}

// ClaimSpecUpdate is [ClaimSpec] of what replaces old, which is nil on create: what was
// accepted there before it was checked may stay.
func ClaimSpecUpdate(spec, old *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	errs := AccessModes(spec.AccessModes, "at least 1 access mode is required", path.Child("accessModes"))
	if spec.Selector != nil {
		errs = append(errs, rules.Selector(spec.Selector, path.Child("selector"))...)
	}
	at := path.Child("resources").Key(string(corev1.ResourceStorage))
	if size, ok := spec.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(at, ""))
	} else if size.Sign() <= 0 {
		errs = append(errs, field.Invalid(at, size.String(), "must be greater than zero"))
	}
	errs = append(errs, ClassName(spec.StorageClassName, path.Child("storageClassName"))...)
	errs = append(errs, Mode(spec.VolumeMode, path.Child("volumeMode"))...)
	errs = append(errs, ClassName(spec.VolumeAttributesClassName, path.Child("volumeAttributesClassName"))...)
	return append(errs, dataSources(spec, old == nil || !namesGroup(old), path)...)
}

func namesGroup(spec *corev1.PersistentVolumeClaimSpec) bool {
	return spec.DataSource != nil && spec.DataSource.APIGroup != nil || spec.DataSourceRef != nil && spec.DataSourceRef.APIGroup != nil
}

func dataSources(spec *corev1.PersistentVolumeClaimSpec, checkGroup bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	check := func(name, kind string, group *string, at *field.Path) {
		if name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		if kind == "" {
			errs = append(errs, field.Required(at.Child("kind"), ""))
		}
		switch {
		case (group == nil || *group == "") && kind != "PersistentVolumeClaim":
			errs = append(errs, field.Invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		case group != nil && *group != "" && checkGroup:
			errs = append(errs, rules.Subdomain(*group, at.Child("apiGroup"))...)
		}
	}
	source, ref := spec.DataSource, spec.DataSourceRef
	if source != nil {
		check(source.Name, source.Kind, source.APIGroup, path.Child("dataSource"))
	}
	if ref != nil {
		check(ref.Name, ref.Kind, ref.APIGroup, path.Child("dataSourceRef"))
		if ref.Namespace != nil && *ref.Namespace != "" {
			errs = append(errs, rules.Label(*ref.Namespace, path.Child("dataSourceRef", "namespace"))...)
		}
	}
	if source == nil || ref == nil {
		return errs
	}
	if ref.Namespace != nil && *ref.Namespace != "" {
		return append(errs, field.Invalid(path, struct{}{}, "may not be specified when dataSourceRef.namespace is specified"))
	}
	// Upstream shows a path as the value, which prints as nothing.
	if !apiequality.Semantic.DeepEqual(source.APIGroup, ref.APIGroup) || source.Kind != ref.Kind || source.Name != ref.Name {
		errs = append(errs, field.Invalid(path, struct{}{}, "must match dataSourceRef"))
	}
	return errs
}

// DropDataSource clears what v1.37 does not serve: sources in other namespaces
// (CrossNamespaceVolumeDataSource is off), and sources of unknown kinds where they are
// named the old way, which never worked. old is nil on create.
func DropDataSource(spec, old *corev1.PersistentVolumeClaimSpec) {
	if r := spec.DataSourceRef; r != nil && r.Namespace != nil && *r.Namespace != "" && (old == nil || old.DataSourceRef == nil) {
		spec.DataSourceRef = nil
	}
	inUse := old != nil && (old.DataSource != nil || old.DataSourceRef != nil)
	if inUse || spec.DataSource == nil || spec.DataSourceRef != nil {
		return
	}
	group := ""
	if spec.DataSource.APIGroup != nil {
		group = *spec.DataSource.APIGroup
	}
	claim := spec.DataSource.Kind == "PersistentVolumeClaim" && group == ""
	snapshot := spec.DataSource.Kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io"
	if !claim && !snapshot {
		spec.DataSource = nil
	}
}

// NormalizeDataSource lets dataSource and dataSourceRef say the same where only one
// of them is given and both can say it (KEP-1495).
func NormalizeDataSource(spec *corev1.PersistentVolumeClaimSpec) {
	switch source, ref := spec.DataSource, spec.DataSourceRef; {
	case source != nil && ref == nil:
		spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: source.APIGroup, Kind: source.Kind, Name: source.Name}
	case ref != nil && source == nil && (ref.Namespace == nil || *ref.Namespace == ""):
		spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: ref.APIGroup, Kind: ref.Kind, Name: ref.Name}
	}
}

// maxDriverName is upstream's bound on the name of a CSI driver, in bytes.
const maxDriverName = 63

// CSIDriverName checks the name of a CSI driver: a subdomain, in any case.
func CSIDriverName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > maxDriverName {
		errs = append(errs, field.TooLong(path, name, maxDriverName))
	}
	return append(errs, rules.Matches(name, path, validation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}
