package apps

import (
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/scale"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func deployments() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Deployment"), Plural: "deployments", Singular: "deployment", ShortNames: []string{"deploy"},
		Categories: []string{"all"}, Namespaced: true, StoragePrefix: "deployments",
		New:     func() runtime.Object { return &appsv1.Deployment{} },
		NewList: func() runtime.Object { return &appsv1.DeploymentList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { defaultDeployment(obj.(*appsv1.Deployment)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				d := obj.(*appsv1.Deployment)
				d.Status, d.Generation = appsv1.DeploymentStatus{}, 1
				podspec.DropDisabledTemplate(&d.Spec.Template, nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				d, was := obj.(*appsv1.Deployment), old.(*appsv1.Deployment)
				d.Status, d.Generation = was.Status, was.Generation
				podspec.DropDisabledTemplate(&d.Spec.Template, &was.Spec.Template)
				// Annotations count: the controller copies them to its replica sets.
				if !apiequality.Semantic.DeepEqual(d.Spec, was.Spec) || !maps.Equal(d.Annotations, was.Annotations) {
					d.Generation++
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList { return validateDeployment(obj.(*appsv1.Deployment)) },
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				return rules.Immutable(obj.(*appsv1.Deployment).Spec.Selector, old.(*appsv1.Deployment).Spec.Selector, field.NewPath("spec", "selector"))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			Warnings:                 typed.Warnings(deploymentWarnings),
			AllowUnconditionalUpdate: true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{Columns: deploymentColumns(), Cells: deploymentCells},
		Subresources: []resource.Subresource{
			scale.Subresource(deploymentScale),
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					d, was := obj.(*appsv1.Deployment), old.(*appsv1.Deployment)
					d.Spec, d.Labels = was.Spec, was.Labels
				},
				Validate: func(obj, old runtime.Object) field.ErrorList {
					return validateDeploymentStatus(obj.(*appsv1.Deployment), old.(*appsv1.Deployment))
				},
				ResetFields: typed.Reset("spec").Union(fieldpath.NewSet(fieldpath.MakePathOrDie("metadata", "labels"))),
			}},
		},
	}
}

func deploymentWarnings(d, old *appsv1.Deployment) []string {
	var out []string
	if old == nil {
		if messages := validation.IsDNS1123Label(d.Name); len(messages) > 0 {
			out = append(out, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages))
		}
	} else if d.Generation == old.Generation {
		return nil
	}
	return append(out, podspec.TemplateWarnings(&d.Spec.Template, field.NewPath("spec", "template"))...)
}

func defaultDeployment(d *appsv1.Deployment) {
	podspec.DefaultTemplate(&d.Spec.Template)
	if d.Spec.Replicas == nil {
		d.Spec.Replicas = ptr.To(int32(1))
	}
	s := &d.Spec.Strategy
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Type == appsv1.RollingUpdateDeploymentStrategyType {
		if s.RollingUpdate == nil {
			s.RollingUpdate = &appsv1.RollingUpdateDeployment{}
		}
		if s.RollingUpdate.MaxUnavailable == nil {
			s.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromString("25%"))
		}
		if s.RollingUpdate.MaxSurge == nil {
			s.RollingUpdate.MaxSurge = ptr.To(intstr.FromString("25%"))
		}
	}
	if d.Spec.RevisionHistoryLimit == nil {
		d.Spec.RevisionHistoryLimit = ptr.To(int32(10))
	}
	if d.Spec.ProgressDeadlineSeconds == nil {
		d.Spec.ProgressDeadlineSeconds = ptr.To(int32(600))
	}
}

func validateDeployment(d *appsv1.Deployment) field.ErrorList {
	path, spec := field.NewPath("spec"), &d.Spec
	errs := rules.NonNegative(int64(ptr.Deref(spec.Replicas, 0)), path.Child("replicas"))
	errs = append(errs, validateSelectorAndTemplate(spec.Selector, &spec.Template, path)...)
	errs = append(errs, validateStrategy(&spec.Strategy, path.Child("strategy"))...)
	errs = append(errs, rules.NonNegative(int64(spec.MinReadySeconds), path.Child("minReadySeconds"))...)
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, rules.NonNegative(int64(*spec.RevisionHistoryLimit), path.Child("revisionHistoryLimit"))...)
	}
	if p := spec.ProgressDeadlineSeconds; p != nil {
		errs = append(errs, rules.NonNegative(int64(*p), path.Child("progressDeadlineSeconds"))...)
		if *p <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(path.Child("progressDeadlineSeconds"), *p, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateStrategy(s *appsv1.DeploymentStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"), "may not be specified when strategy `type` is '"+string(appsv1.RecreateDeploymentStrategyType)+"'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		at := path.Child("rollingUpdate")
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(at, "this should be defaulted and never be nil")}
		}
		unavailable, surge := ptr.Deref(s.RollingUpdate.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(s.RollingUpdate.MaxSurge, intstr.IntOrString{})
		errs := rules.IntOrPercent(unavailable, at.Child("maxUnavailable"))
		errs = append(errs, rules.IntOrPercent(surge, at.Child("maxSurge"))...)
		if rules.Amount(unavailable) == 0 && rules.Amount(surge) == 0 {
			errs = append(errs, field.Invalid(at.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
		}
		return append(errs, rules.AtMostAll(unavailable, at.Child("maxUnavailable"))...)
	}
	return field.ErrorList{field.NotSupported(path, rules.Internal(s), []string{string(appsv1.RecreateDeploymentStrategyType), string(appsv1.RollingUpdateDeploymentStrategyType)})}
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	path, s := field.NewPath("status"), &d.Status
	errs := validateCounts(path, count{"replicas", s.Replicas}, count{"updatedReplicas", s.UpdatedReplicas},
		count{"readyReplicas", s.ReadyReplicas}, count{"availableReplicas", s.AvailableReplicas})
	errs = append(errs, rules.NonNegative(s.ObservedGeneration, path.Child("observedGeneration"))...)
	if s.UnavailableReplicas < 0 {
		errs = append(errs, rules.NonNegative(int64(s.UnavailableReplicas), path.Child("unavailableReplicas"))...)
	}
	errs = append(errs, validateTerminating(s.TerminatingReplicas, path)...)
	if s.AvailableReplicas > s.ReadyReplicas {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas"))
	}
	return append(errs, validateCollisions(s.CollisionCount, old.Status.CollisionCount, path)...)
}

func deploymentScale(obj runtime.Object) (scale.View, error) {
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return scale.View{}, fmt.Errorf("expected a Deployment, got %T", obj)
	}
	text, err := selectorText(d.Spec.Selector)
	return scale.View{
		Meta: &d.ObjectMeta, Desired: ptr.Deref(d.Spec.Replicas, 0), Current: d.Status.Replicas,
		Set: func(n int32) { d.Spec.Replicas = &n }, Selector: text,
	}, err
}

func deploymentColumns() []metav1.TableColumnDefinition {
	spec, status := appsv1.DeploymentSpec{}.SwaggerDoc(), appsv1.DeploymentStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.String("Ready", "Number of the pod with ready state"),
		columns.String("Up-to-date", status["updatedReplicas"]),
		columns.String("Available", status["availableReplicas"]),
		columns.Created(),
		columns.Wide(columns.String("Containers", "Names of each container in the template.")),
		columns.Wide(columns.String("Images", "Images referenced by each container in the template.")),
		columns.Wide(columns.String("Selector", spec["selector"])),
	}
}

func deploymentCells(obj runtime.Object, now time.Time) []any {
	d := obj.(*appsv1.Deployment)
	names, images := columns.Containers(d.Spec.Template.Spec.Containers)
	return []any{
		d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, ptr.Deref(d.Spec.Replicas, 0)),
		int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas), columns.Age(d.CreationTimestamp, now),
		names, images, columns.Selector(d.Spec.Selector),
	}
}
