package apps

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/scale"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func statefulSets() *resource.Resource {
	halves := typed.SpecAndStatus(func(s *appsv1.StatefulSet) (*appsv1.StatefulSetSpec, *appsv1.StatefulSetStatus) {
		return &s.Spec, &s.Status
	})
	return &resource.Resource{
		GVK: gvk("StatefulSet"), Plural: "statefulsets", Singular: "statefulset", ShortNames: []string{"sts"},
		Categories: []string{"all"}, Namespaced: true, StoragePrefix: "statefulsets",
		New: typed.New[appsv1.StatefulSet], NewList: typed.New[appsv1.StatefulSetList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultStatefulSet),
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				dropDisabled(obj.(*appsv1.StatefulSet), nil)
				halves.Create(req, obj)
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				dropDisabled(obj.(*appsv1.StatefulSet), old.(*appsv1.StatefulSet))
				halves.Update(req, obj, old)
			},
			Validate: typed.Validate(func(s *appsv1.StatefulSet) field.ErrorList {
				return validateStatefulSet(&s.Spec, field.NewPath("spec"))
			}),
			ValidateUpdate: typed.Change(validateStatefulSetUpdate),
			NameError:      apivalidation.NameIsDNSLabel,
			Warnings: typed.Warnings(func(s, old *appsv1.StatefulSet) []string {
				if old != nil && s.Generation == old.Generation {
					return nil
				}
				out := podspec.TemplateWarnings(&s.Spec.Template, field.NewPath("spec", "template"))
				if ptr.Deref(s.Spec.RevisionHistoryLimit, 0) < 0 {
					out = append(out, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
				}
				return out
			}),
			AllowUnconditionalUpdate: true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Ready", "Number of the pod with ready state"), columns.Created(),
				columns.Wide(columns.String("Containers", "Names of each container in the template.")),
				columns.Wide(columns.String("Images", "Images referenced by each container in the template.")),
			},
			Cells: typed.Cells(func(s *appsv1.StatefulSet, now time.Time) []any {
				names, images := columns.Containers(s.Spec.Template.Spec.Containers)
				return []any{
					s.Name, fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, ptr.Deref(s.Spec.Replicas, 0)), columns.Age(s.CreationTimestamp, now),
					names, images,
				}
			}),
		},
		Subresources: []resource.Subresource{
			scale.Subresource(statefulSetScale),
			typed.StatusView(halves, func(s, old *appsv1.StatefulSet) field.ErrorList {
				return validateStatefulSetStatus(&s.Status, &old.Status, field.NewPath("status"))
			}),
		},
	}
}

// dropDisabled clears what v1.37 does not serve by default.
func dropDisabled(s, old *appsv1.StatefulSet) {
	if old == nil {
		podspec.DropDisabledTemplate(&s.Spec.Template, nil)
		return
	}
	podspec.DropDisabledTemplate(&s.Spec.Template, &old.Spec.Template)
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	spec := &s.Spec
	podspec.DefaultTemplate(&spec.Template)
	if spec.PodManagementPolicy == "" {
		spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	if spec.UpdateStrategy.Type == "" {
		spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
	}
	if spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		if spec.UpdateStrategy.RollingUpdate == nil {
			spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
		}
		rolling := spec.UpdateStrategy.RollingUpdate
		if rolling.Partition == nil {
			rolling.Partition = ptr.To(int32(0))
		}
		if rolling.MaxUnavailable == nil {
			rolling.MaxUnavailable = ptr.To(intstr.FromInt32(1))
		}
	}
	if spec.PersistentVolumeClaimRetentionPolicy == nil {
		spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	}
	keep := spec.PersistentVolumeClaimRetentionPolicy
	if keep.WhenDeleted == "" {
		keep.WhenDeleted = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	if keep.WhenScaled == "" {
		keep.WhenScaled = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	if spec.Replicas == nil {
		spec.Replicas = ptr.To(int32(1))
	}
	if spec.RevisionHistoryLimit == nil {
		spec.RevisionHistoryLimit = ptr.To(int32(10))
	}
	for i := range spec.VolumeClaimTemplates {
		claim := &spec.VolumeClaimTemplates[i]
		claim.APIVersion, claim.Kind = "v1", "PersistentVolumeClaim"
		if claim.Status.Phase == "" {
			claim.Status.Phase = corev1.ClaimPending
		}
		if claim.Spec.VolumeMode == nil {
			claim.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
		}
	}
}

func validateStatefulSet(spec *appsv1.StatefulSetSpec, path *field.Path) field.ErrorList {
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
	errs = append(errs, rules.NonNegative(int64(ptr.Deref(spec.Replicas, 0)), path.Child("replicas"))...)
	errs = append(errs, rules.NonNegative(int64(spec.MinReadySeconds), path.Child("minReadySeconds"))...)
	if spec.Ordinals != nil {
		errs = append(errs, rules.NonNegative(int64(spec.Ordinals.Start), path.Child("ordinals.start"))...)
	}
	if spec.ServiceName != "" {
		errs = append(errs, rules.Matches(spec.ServiceName, path.Child("serviceName"), validation.IsDNS1123Subdomain(spec.ServiceName))...)
	}
	return append(errs, validateSelected("statefulset", "StatefulSet", spec.Selector, withClaims(spec), path)...)
}

// withClaims is the template of a stateful set with a volume for each of the
// claims that its pods get.
func withClaims(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	if len(spec.VolumeClaimTemplates) == 0 {
		return &spec.Template
	}
	template := spec.Template
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
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

func validateStatefulStrategy(s *appsv1.StatefulSetUpdateStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Invalid(path.Child("rollingUpdate"), s.RollingUpdate, "only allowed for updateStrategy 'RollingUpdate'")}
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
	return field.ErrorList{field.Invalid(path, *s, "must be 'RollingUpdate' or 'OnDelete'")}
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	now := s.Spec
	now.Replicas, now.Ordinals, now.Template = old.Spec.Replicas, old.Spec.Ordinals, old.Spec.Template
	now.UpdateStrategy, now.MinReadySeconds = old.Spec.UpdateStrategy, old.Spec.MinReadySeconds
	now.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	now.RevisionHistoryLimit = old.Spec.RevisionHistoryLimit
	if apiequality.Semantic.DeepEqual(now, old.Spec) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden")}
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

func statefulSetScale(obj runtime.Object) (scale.View, error) {
	s, ok := obj.(*appsv1.StatefulSet)
	if !ok {
		return scale.View{}, fmt.Errorf("expected a StatefulSet, got %T", obj)
	}
	text, err := selectorText(s.Spec.Selector)
	return scale.View{
		Meta: &s.ObjectMeta, Desired: ptr.Deref(s.Spec.Replicas, 0), Current: s.Status.Replicas,
		Set: func(n int32) { s.Spec.Replicas = &n }, Selector: text,
	}, err
}
