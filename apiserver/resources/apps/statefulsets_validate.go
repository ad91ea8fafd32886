package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/volumes"
)

// statefulCheck says what of a stateful set is checked: what nobody can change is
// checked once, in what is created, and a template not where an older server let a
// broken spec pass.
type statefulCheck struct{ created, template bool }

func validateStatefulSet(spec *appsv1.StatefulSetSpec, check statefulCheck, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch at := path.Child("podManagementPolicy"); spec.PodManagementPolicy {
	case "":
		errs = append(errs, field.Required(at, ""))
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		errs = append(errs, field.Invalid(at, spec.PodManagementPolicy, "must be 'OrderedReady' or 'Parallel'"))
	}
	errs = append(errs, validateStatefulStrategy(&spec.UpdateStrategy, path.Child("updateStrategy"))...)
	if keep := spec.PersistentVolumeClaimRetentionPolicy; keep != nil {
		at := path.Child("persistentVolumeClaimRetentionPolicy")
		for _, one := range []struct {
			name  string
			value appsv1.PersistentVolumeClaimRetentionPolicyType
		}{{"whenDeleted", keep.WhenDeleted}, {"whenScaled", keep.WhenScaled}} {
			errs = append(errs, rules.OneOf(one.value, at.Child(one.name),
				appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType)...)
		}
	}
	if check.created {
		for i := range spec.VolumeClaimTemplates {
			errs = append(errs, volumes.ClaimSpec(&spec.VolumeClaimTemplates[i].Spec, path.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
		}
	}
	errs = append(errs, rules.NonNegative(int64(ptr.Deref(spec.Replicas, 0)), path.Child("replicas"))...)
	errs = append(errs, rules.NonNegative(int64(spec.MinReadySeconds), path.Child("minReadySeconds"))...)
	if spec.Ordinals != nil {
		errs = append(errs, rules.NonNegative(int64(spec.Ordinals.Start), path.Child("ordinals.start"))...)
	}
	if check.created && spec.ServiceName != "" {
		errs = append(errs, rules.Label(spec.ServiceName, path.Child("serviceName"))...)
	}
	return append(errs, validateStatefulTemplate(spec, check, path)...)
}

func validateStatefulTemplate(spec *appsv1.StatefulSetSpec, check statefulCheck, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("selector")
	if spec.Selector == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, rules.Selector(spec.Selector, at)...)
		if len(spec.Selector.MatchLabels)+len(spec.Selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(at, spec.Selector, "empty selector is invalid for statefulset"))
		}
	}
	at, template := path.Child("template"), withClaims(spec)
	if selector, err := metav1.LabelSelectorAsSelector(spec.Selector); err != nil {
		errs = append(errs, field.Invalid(path.Child("selector"), spec.Selector, ""))
	} else {
		if !selector.Empty() && !selector.Matches(labels.Set(template.Labels)) {
			errs = append(errs, field.Invalid(at.Child("metadata", "labels"), template.Labels, "`selector` does not match template `labels`"))
		}
		if check.template {
			errs = append(errs, podspec.ValidateTemplate(template, at)...)
		} else {
			errs = append(errs, rules.Labels(template.Labels, at.Child("labels"))...)
			errs = append(errs, apivalidation.ValidateAnnotations(template.Annotations, at.Child("annotations"))...)
		}
	}
	if template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), template.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in StatefulSet is not Supported"))
	}
	return errs
}

// withClaims is the template of a stateful set as its pods will have it: with a
// volume for each of the claims that they get, and without the names that each pod
// gets of its own.
func withClaims(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	template := spec.Template
	template.Spec.Subdomain, template.Spec.Hostname = "", ""
	if len(spec.VolumeClaimTemplates) == 0 {
		return &template
	}
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		if claimed[name] {
			continue
		}
		claimed[name] = true
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	}
	for _, v := range spec.Template.Spec.Volumes {
		if !claimed[v.Name] {
			volumes = append(volumes, v)
		}
	}
	template.Spec.Volumes = volumes
	return &template
}

// printed is a strategy as errors show it: a partition that is not given is 0.
func printed(s *appsv1.StatefulSetUpdateStrategy) *appsv1.StatefulSetUpdateStrategy {
	out := s.DeepCopy()
	if out.RollingUpdate != nil && out.RollingUpdate.Partition == nil {
		out.RollingUpdate.Partition = ptr.To(int32(0))
	}
	return out
}

func validateStatefulStrategy(s *appsv1.StatefulSetUpdateStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Invalid(path.Child("rollingUpdate"), rules.Internal(printed(s).RollingUpdate), "only allowed for updateStrategy 'RollingUpdate'")}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		at := path.Child("rollingUpdate")
		errs := rules.NonNegative(int64(ptr.Deref(s.RollingUpdate.Partition, 0)), at.Child("partition"))
		if most := s.RollingUpdate.MaxUnavailable; most != nil {
			errs = append(errs, rules.IntOrPercent(*most, at.Child("maxUnavailable"))...)
			if rules.Amount(*most) == 0 {
				errs = append(errs, field.Invalid(at.Child("maxUnavailable"), *most, "cannot be 0"))
			}
			errs = append(errs, rules.AtMostAll(*most, at.Child("maxUnavailable"))...)
		}
		return errs
	}
	return field.ErrorList{field.Invalid(path, rules.Internal(printed(s)), "must be 'RollingUpdate' or 'OnDelete'")}
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	path := field.NewPath("spec")
	check := statefulCheck{template: len(validateStatefulSet(&old.Spec, statefulCheck{template: true}, path)) == 0}
	errs := validateStatefulSet(&s.Spec, check, path)
	errs = append(errs, rules.Immutable(s.Spec.Selector, old.Spec.Selector, path.Child("selector"))...)
	errs = append(errs, rules.ImmutableInternal(s.Spec.VolumeClaimTemplates, old.Spec.VolumeClaimTemplates, path.Child("volumeClaimTemplates"))...)
	errs = append(errs, rules.Immutable(s.Spec.ServiceName, old.Spec.ServiceName, path.Child("serviceName"))...)
	return append(errs, rules.Immutable(s.Spec.PodManagementPolicy, old.Spec.PodManagementPolicy, path.Child("podManagementPolicy"))...)
}

func validateStatefulSetStatus(s, old *appsv1.StatefulSetStatus, path *field.Path) field.ErrorList {
	errs := validateCounts(path, count{"replicas", s.Replicas}, count{"readyReplicas", s.ReadyReplicas},
		count{"currentReplicas", s.CurrentReplicas}, count{"updatedReplicas", s.UpdatedReplicas}, count{"availableReplicas", s.AvailableReplicas})
	errs = append(errs, rules.NonNegative(s.ObservedGeneration, path.Child("observedGeneration"))...)
	if s.AvailableReplicas > s.ReadyReplicas {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than status.readyReplicas"))
	}
	return append(errs, validateCollisions(s.CollisionCount, old.CollisionCount, path)...)
}
