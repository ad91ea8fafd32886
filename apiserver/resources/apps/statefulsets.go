package apps

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
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
				return validateStatefulSet(&s.Spec, statefulCheck{created: true, template: true}, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(validateStatefulSetUpdate),
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
		if spec.UpdateStrategy.RollingUpdate == nil {
			spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
		}
	}
	if rolling := spec.UpdateStrategy.RollingUpdate; rolling != nil && spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
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
