package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// What a pod may read about itself, through environment variables and through
// volumes.
var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	// convertibleFields are all field labels of a pod; anything else is no field.
	convertibleFields = []string{
		"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
		"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName",
		"status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
)

func portName(name string, path *field.Path) field.ErrorList {
	return rules.Matches(name, path, validation.IsValidPortName(name))
}

func validateEnv(env []corev1.EnvVar, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range env {
		at := path.Index(i)
		e := &env[i]
		if e.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, rules.Matches(e.Name, at.Child("name"), validation.IsRelaxedEnvVarName(e.Name))...)
		}
		if e.ValueFrom != nil {
			errs = append(errs, validateEnvSource(e, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateEnvSource(e *corev1.EnvVar, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	from, sources := e.ValueFrom, 0
	if f := from.FieldRef; f != nil {
		sources++
		errs = append(errs, validateFieldRef(f, envFields, path.Child("fieldRef"))...)
	}
	if f := from.ResourceFieldRef; f != nil {
		sources++
		errs = append(errs, validateResourceFieldRef(f, false, path.Child("resourceFieldRef"))...)
	}
	if f := from.ConfigMapKeyRef; f != nil {
		sources++
		errs = append(errs, validateKeyRef(f.Name, f.Key, path.Child("configMapKeyRef"))...)
	}
	if f := from.SecretKeyRef; f != nil {
		sources++
		errs = append(errs, validateKeyRef(f.Name, f.Key, path.Child("secretKeyRef"))...)
	}
	if f := from.FileKeyRef; f != nil {
		sources++
		errs = append(errs, validateFileKeyRef(f, path.Child("fileKeyRef"))...)
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(name, key string, path *field.Path) field.ErrorList {
	errs := rules.Subdomain(name, path.Child("name"))
	if key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, rules.Key(key, path.Child("key"))...)
}

func validateFileKeyRef(f *corev1.FileKeySelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if f.Key == "" {
		errs = append(errs, field.Required(path.Child("key"), ""))
	} else {
		errs = append(errs, rules.Matches(f.Key, path.Child("key"), validation.IsRelaxedEnvVarName(f.Key))...)
	}
	if f.Path == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	} else {
		errs = append(errs, noBacksteps(f.Path, path.Child("path"))...)
	}
	if f.VolumeName == "" {
		return append(errs, field.Required(path.Child("volumeName"), ""))
	}
	return append(errs, rules.Label(f.VolumeName, path.Child("volumeName"))...)
}

// validateFileKeyVolumes checks that environment variables come from files in volumes
// that the pod's own containers write.
func validateFileKeyVolumes(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var sources map[string]*corev1.VolumeSource
	for _, c := range containersOf(spec, path) {
		for i := range c.Env {
			from := c.Env[i].ValueFrom
			if from == nil || from.FileKeyRef == nil {
				continue
			}
			if sources == nil {
				sources = make(map[string]*corev1.VolumeSource, len(spec.Volumes))
				for j := range spec.Volumes {
					sources[spec.Volumes[j].Name] = &spec.Volumes[j].VolumeSource
				}
			}
			name, at := from.FileKeyRef.VolumeName, c.at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			if source, known := sources[name]; !known {
				errs = append(errs, field.NotFound(at, name))
			} else if source.EmptyDir == nil {
				errs = append(errs, field.Invalid(at, name, "referenced volume must be of type emptyDir"))
			}
		}
	}
	return errs
}

func validateFieldRef(f *corev1.ObjectFieldSelector, allowed []string, path *field.Path) field.ErrorList {
	at := path.Child("fieldPath")
	switch {
	case f.APIVersion == "":
		return field.ErrorList{field.Required(path.Child("apiVersion"), "")}
	case f.FieldPath == "":
		return field.ErrorList{field.Required(at, "")}
	case f.APIVersion != "v1":
		return field.ErrorList{field.Invalid(at, f.FieldPath, fmt.Sprintf("error converting fieldPath: unsupported pod version: %s", f.APIVersion))}
	}
	name, subscript, subscripted := subscriptOf(f.FieldPath)
	if subscripted {
		switch name {
		case "metadata.annotations":
			return rules.Matches(subscript, path, validation.IsQualifiedName(strings.ToLower(subscript)))
		case "metadata.labels":
			return rules.Matches(subscript, path, validation.IsQualifiedName(subscript))
		case "spec.host":
		default:
			if slices.Contains(convertibleFields, name) {
				return field.ErrorList{field.Invalid(path, name, "does not support subscript")}
			}
		}
	}
	if name == "spec.host" {
		name = "spec.nodeName"
	}
	if !slices.Contains(convertibleFields, name) {
		return field.ErrorList{field.Invalid(at, f.FieldPath, "error converting fieldPath: field label not supported: "+f.FieldPath)}
	}
	if !slices.Contains(allowed, name) {
		return field.ErrorList{field.NotSupported(at, name, allowed)}
	}
	return nil
}

// subscriptOf splits metadata.labels['key'] into its two parts.
func subscriptOf(path string) (name, subscript string, ok bool) {
	rest, found := strings.CutSuffix(path, "']")
	if !found {
		return path, "", false
	}
	name, subscript, found = strings.Cut(rest, "['")
	if !found || name == "" {
		return path, "", false
	}
	return name, subscript, true
}

func validateResourceFieldRef(f *corev1.ResourceFieldSelector, volume bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case volume && f.ContainerName == "":
		errs = field.ErrorList{field.Required(path.Child("containerName"), "")}
	case f.Resource == "":
		errs = field.ErrorList{field.Required(path.Child("resource"), "")}
	case !slices.Contains(resourceFields, f.Resource) &&
		!strings.HasPrefix(f.Resource, "limits."+corev1.ResourceHugePagesPrefix) &&
		!strings.HasPrefix(f.Resource, "requests."+corev1.ResourceHugePagesPrefix):
		errs = field.ErrorList{field.NotSupported(path.Child("resource"), f.Resource, resourceFields)}
	}
	return append(errs, validateDivisor(f.Resource, f.Divisor, path)...)
}

func validateDivisor(name string, divisor resource.Quantity, path *field.Path) field.ErrorList {
	if divisor.IsZero() {
		return nil
	}
	_, kind, _ := strings.Cut(name, ".")
	if !slices.Contains(resourceFields, name) && !strings.HasPrefix(kind, corev1.ResourceHugePagesPrefix) {
		return nil
	}
	allowed, what := []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}, kind
	if kind == "cpu" {
		allowed = []string{"1m", "1"}
	}
	if strings.HasPrefix(kind, corev1.ResourceHugePagesPrefix) {
		what = "hugepages"
	}
	if kind == "ephemeral-storage" {
		what = "local ephemeral storage"
	}
	if slices.Contains(allowed, divisor.String()) {
		return nil
	}
	message := fmt.Sprintf("only divisor's values %s are supported with the %s resource", strings.Join(allowed, ", "), what)
	if kind == "cpu" {
		message = "only divisor's values 1m and 1 are supported with the cpu resource"
	}
	return field.ErrorList{field.Invalid(path.Child("divisor"), name, message)}
}

func validateEnvFrom(sources []corev1.EnvFromSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range sources {
		at := path.Index(i)
		if s.Prefix != "" {
			errs = append(errs, rules.Matches(s.Prefix, at.Child("prefix"), validation.IsRelaxedEnvVarName(s.Prefix))...)
		}
		if s.ConfigMapRef != nil {
			errs = append(errs, sourceName(s.ConfigMapRef.Name, at.Child("configMapRef", "name"))...)
		}
		if s.SecretRef != nil {
			errs = append(errs, sourceName(s.SecretRef.Name, at.Child("secretRef", "name"))...)
		}
		switch {
		case s.ConfigMapRef == nil && s.SecretRef == nil:
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		case s.ConfigMapRef != nil && s.SecretRef != nil:
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

// sourceName checks the name of an object whose keys all become variables. One that
// ends in a dash passes, as upstream lets it.
func sourceName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return rules.Matches(name, path, apivalidation.NameIsDNSSubdomain(name, true))
}
