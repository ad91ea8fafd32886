package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// validateVolumes checks the volumes and returns those that are legal. pod is the name
// of the pod, which the claims made for it begin with; empty where there is none yet.
func validateVolumes(volumes []corev1.Volume, pod string, path *field.Path) (map[string]*corev1.VolumeSource, field.ErrorList) {
	var errs field.ErrorList
	known := make(map[string]*corev1.VolumeSource, len(volumes))
	var made []string
	for i := range volumes {
		if volumes[i].Ephemeral != nil && pod != "" {
			made = append(made, pod+"-"+volumes[i].Name)
		}
	}
	for i := range volumes {
		v, at := &volumes[i], path.Index(i)
		bad := validateSource(&v.VolumeSource, v.Name, at)
		refused := slices.ContainsFunc(bad, func(e *field.Error) bool { return e.Field == at.Child("ephemeral").String() })
		if v.Ephemeral != nil && pod != "" && v.Name != "" && !refused {
			claim := pod + "-" + v.Name
			for _, m := range apivalidation.NameIsDNSSubdomain(claim, false) {
				bad = append(bad, field.Invalid(at.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %v", claim, m)))
			}
		}
		if v.Name == "" {
			bad = append(bad, field.Required(at.Child("name"), ""))
		} else {
			bad = append(bad, rules.Label(v.Name, at.Child("name"))...)
		}
		if _, twice := known[v.Name]; twice {
			bad = append(bad, field.Duplicate(at.Child("name"), v.Name))
		}
		if len(bad) == 0 {
			known[v.Name] = &v.VolumeSource
		}
		errs = append(errs, bad...)
		if c := v.PersistentVolumeClaim; c != nil && slices.Contains(made, c.ClaimName) {
			errs = append(errs, field.Invalid(at.Child("persistentVolumeClaim", "claimName"), c.ClaimName,
				"must not reference a PVC that gets created for an ephemeral volume"))
		}
	}
	return known, errs
}

// misspelt are the sources whose names upstream spells otherwise where it refuses a
// second source.
var misspelt = map[string]string{"cephfs": "cephFS", "downwardAPI": "downwarAPI", "persistentDisk": "gcePersistentDisk"}

func validateSource(s *corev1.VolumeSource, volume string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	count := 0
	source := func(set bool, name string, check func(at *field.Path) field.ErrorList) {
		if !set {
			return
		}
		count++
		if count > 1 {
			if other, ok := misspelt[name]; ok {
				name = other
			}
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 volume type"))
			return
		}
		errs = append(errs, check(path.Child(name))...)
	}
	// In upstream's order: the first is checked, the others are too many.
	source(s.EmptyDir != nil, "emptyDir", func(at *field.Path) field.ErrorList {
		if s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0 {
			return field.ErrorList{field.Forbidden(at.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
		}
		return nil
	})
	source(s.HostPath != nil, "hostPath", func(at *field.Path) field.ErrorList { return validateHostPath(s.HostPath, at) })
	validateDiskSources(s, source)
	source(s.Secret != nil, "secret", func(at *field.Path) field.ErrorList {
		errs := required(s.Secret.SecretName, at.Child("secretName"))
		errs = append(errs, fileMode(s.Secret.DefaultMode, at.Child("defaultMode"))...)
		return append(errs, keyPaths(s.Secret.Items, at.Child("items"))...)
	})
	validateShareSources(s, source)
	source(s.DownwardAPI != nil, "downwardAPI", func(at *field.Path) field.ErrorList {
		errs := fileMode(s.DownwardAPI.DefaultMode, at.Child("defaultMode"))
		for i := range s.DownwardAPI.Items {
			errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[i], at)...)
		}
		return errs
	})
	source(s.FC != nil, "fc", func(at *field.Path) field.ErrorList { return validateFC(s.FC, at) })
	source(s.FlexVolume != nil, "flexVolume", func(at *field.Path) field.ErrorList {
		return append(all(at, "driver", s.FlexVolume.Driver), FlexOptions(s.FlexVolume.Options, at.Child("options"))...)
	})
	source(s.ConfigMap != nil, "configMap", func(at *field.Path) field.ErrorList {
		errs := required(s.ConfigMap.Name, at.Child("name"))
		errs = append(errs, fileMode(s.ConfigMap.DefaultMode, at.Child("defaultMode"))...)
		return append(errs, keyPaths(s.ConfigMap.Items, at.Child("items"))...)
	})
	validateCloudSources(s, source)
	source(s.Projected != nil, "projected", func(at *field.Path) field.ErrorList { return validateProjected(s.Projected, at) })
	source(s.ScaleIO != nil, "scaleIO", func(at *field.Path) field.ErrorList {
		return all(at, "gateway", s.ScaleIO.Gateway, "system", s.ScaleIO.System, "volumeName", s.ScaleIO.VolumeName)
	})
	validateDriverSources(s, source)
	source(s.Image != nil, "image", func(at *field.Path) field.ErrorList {
		errs := required(s.Image.Reference, at.Child("reference"))
		return append(errs, rules.Enum(s.Image.PullPolicy, at.Child("pullPolicy"), corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	})
	if c := s.ISCSI; c != nil && c.InitiatorName != nil && len(volume+":"+c.TargetPortal) > maxInitiator {
		errs = append(errs, field.Invalid(path.Child("name"), volume,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	if count == 0 {
		errs = append(errs, field.Required(path, "must specify a volume type"))
	}
	return errs
}

func validateHostPath(h *corev1.HostPathVolumeSource, path *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(path.Child("path"), "")}
	}
	errs := noBacksteps(h.Path, path.Child("path"))
	if h.Type != nil {
		errs = append(errs, rules.OneOf(*h.Type, path.Child("type"),
			corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory,
			corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

func validateDownwardFile(f *corev1.DownwardAPIVolumeFile, path *field.Path) field.ErrorList {
	errs := required(f.Path, path.Child("path"))
	errs = append(errs, localPath(f.Path, path.Child("path"), false)...)
	switch {
	case f.FieldRef != nil:
		errs = append(errs, validateFieldRef(f.FieldRef, volumeFields, path.Child("fieldRef"))...)
		if f.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case f.ResourceFieldRef != nil:
		errs = append(errs, validateResourceFieldRef(f.ResourceFieldRef, true, path.Child("resourceFieldRef"))...)
	default:
		errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, fileMode(f.Mode, path.Child("mode"))...)
}

func required(value string, path *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return nil
}

func fileMode(mode *int32, path *field.Path) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return field.ErrorList{field.Invalid(path, *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
	}
	return nil
}

func keyPaths(items []corev1.KeyToPath, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		at := path.Index(i)
		errs = append(errs, required(items[i].Key, at.Child("key"))...)
		errs = append(errs, required(items[i].Path, at.Child("path"))...)
		errs = append(errs, localPath(items[i].Path, at.Child("path"), false)...)
		errs = append(errs, fileMode(items[i].Mode, at.Child("mode"))...)
	}
	return errs
}

// localPath reports a path that is absolute or leaves its directory; the names
// of volume files (not mounted) may not start with two dots either.
func localPath(p string, path *field.Path, mounted bool) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(p, "/") {
		errs = append(errs, field.Invalid(path, p, "must be a relative path"))
	}
	errs = append(errs, noBacksteps(p, path)...)
	if !mounted && strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") {
		errs = append(errs, field.Invalid(path, p, "must not start with '..'"))
	}
	return errs
}

func noBacksteps(p string, path *field.Path) field.ErrorList {
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return field.ErrorList{field.Invalid(path, p, "must not contain '..'")}
		}
	}
	return nil
}
