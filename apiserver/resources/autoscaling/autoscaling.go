// Package autoscaling declares the horizontal pod autoscalers of autoscaling/v2 and
// of autoscaling/v1. They are stored once, as v2; v1 is another face of them, which
// keeps what it has no fields for in annotations. The group's Scale is a
// sub-resource of other kinds, in package scale.
package autoscaling

import (
	"fmt"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources, the preferred version first.
func Resources() []*resource.Resource { return []*resource.Resource{v2(), v1()} }

func v2() *resource.Resource {
	halves := typed.SpecAndStatus(func(a *autoscalingv2.HorizontalPodAutoscaler) (*autoscalingv2.HorizontalPodAutoscalerSpec, *autoscalingv2.HorizontalPodAutoscalerStatus) {
		return &a.Spec, &a.Status
	})
	// Upstream counts no generations of autoscalers.
	uncounted(&halves)
	return &resource.Resource{
		GVK: autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"), Plural: "horizontalpodautoscalers",
		Singular: "horizontalpodautoscaler", ShortNames: []string{"hpa"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "horizontalpodautoscalers",
		New: typed.New[autoscalingv2.HorizontalPodAutoscaler], NewList: typed.New[autoscalingv2.HorizontalPodAutoscalerList],
		Strategy: resource.Strategy{
			Default:          typed.Default(defaultAutoscaler),
			PrepareForCreate: halves.Create,
			PrepareForUpdate: halves.Update,
			Validate: typed.Validate(func(a *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
				return validateSpec(&a.Spec, field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: autoscalerColumns(), Cells: typed.Cells(autoscalerCells)},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(a, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
			return validateStatus(a.Status.CurrentReplicas, a.Status.DesiredReplicas)
		})},
	}
}

func v1() *resource.Resource {
	halves := typed.SpecAndStatus(func(a *autoscalingv1.HorizontalPodAutoscaler) (*autoscalingv1.HorizontalPodAutoscalerSpec, *autoscalingv1.HorizontalPodAutoscalerStatus) {
		return &a.Spec, &a.Status
	})
	uncounted(&halves)
	return &resource.Resource{
		GVK: autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"), Plural: "horizontalpodautoscalers",
		Singular: "horizontalpodautoscaler", ShortNames: []string{"hpa"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "horizontalpodautoscalers",
		New: typed.New[autoscalingv1.HorizontalPodAutoscaler], NewList: typed.New[autoscalingv1.HorizontalPodAutoscalerList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(a *autoscalingv1.HorizontalPodAutoscaler) {
				if a.Spec.MinReplicas == nil {
					a.Spec.MinReplicas = ptr.To(int32(1))
				}
			}),
			PrepareForCreate: halves.Create,
			PrepareForUpdate: halves.Update,
			Validate: typed.Validate(func(a *autoscalingv1.HorizontalPodAutoscaler) field.ErrorList {
				stored := ToV2(a)
				defaultAutoscaler(stored)
				return validateSpec(&stored.Spec, field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: autoscalerColumns(), Cells: typed.Cells(func(a *autoscalingv1.HorizontalPodAutoscaler, now time.Time) []any {
			return autoscalerCells(ToV2(a), now)
		})},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(a, _ *autoscalingv1.HorizontalPodAutoscaler) field.ErrorList {
			return validateStatus(a.Status.CurrentReplicas, a.Status.DesiredReplicas)
		})},
		StoredAs: &resource.StoredAs{
			Of: autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers"),
			FromStored: func(obj runtime.Object) (runtime.Object, error) {
				a, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
				if !ok {
					return nil, fmt.Errorf("expected an autoscaling/v2 HorizontalPodAutoscaler, got %T", obj)
				}
				return FromV2(a)
			},
			ToStored: func(obj runtime.Object) (runtime.Object, error) {
				a, ok := obj.(*autoscalingv1.HorizontalPodAutoscaler)
				if !ok {
					return nil, fmt.Errorf("expected an autoscaling/v1 HorizontalPodAutoscaler, got %T", obj)
				}
				stored := ToV2(a)
				defaultAutoscaler(stored)
				return stored, nil
			},
		},
	}
}

func uncounted(h *typed.Halves) {
	create, update := h.Create, h.Update
	h.Create = func(req resource.Request, obj runtime.Object) {
		create(req, obj)
		obj.(metav1.Object).SetGeneration(0)
	}
	h.Update = func(req resource.Request, obj, old runtime.Object) {
		update(req, obj, old)
		obj.(metav1.Object).SetGeneration(old.(metav1.Object).GetGeneration())
	}
}

func validateStatus(current, desired int32) field.ErrorList {
	path := field.NewPath("status")
	errs := rules.NonNegative(int64(current), path.Child("currentReplicas"))
	return append(errs, rules.NonNegative(int64(desired), path.Child("desiredReplicas"))...)
}

func autoscalerColumns() []metav1.TableColumnDefinition {
	spec, status := autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc(), autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Reference", spec["scaleTargetRef"]), columns.String("Targets", spec["metrics"]),
		columns.String("MinPods", spec["minReplicas"]), columns.String("MaxPods", spec["maxReplicas"]),
		columns.String("Replicas", status["currentReplicas"]), columns.Created(),
	}
}

func autoscalerCells(a *autoscalingv2.HorizontalPodAutoscaler, now time.Time) []any {
	low := "<unset>"
	if a.Spec.MinReplicas != nil {
		low = fmt.Sprint(*a.Spec.MinReplicas)
	}
	return []any{
		a.Name, a.Spec.ScaleTargetRef.Kind + "/" + a.Spec.ScaleTargetRef.Name, targets(a.Spec.Metrics, a.Status.CurrentMetrics),
		low, int64(a.Spec.MaxReplicas), int64(a.Status.CurrentReplicas), columns.Age(a.CreationTimestamp, now),
	}
}

// maxTargets of an autoscaler are printed; the rest is counted.
const maxTargets = 2

// targets prints "current/wanted" of each metric; a current value belongs to the
// metric in the same place.
func targets(wanted []autoscalingv2.MetricSpec, current []autoscalingv2.MetricStatus) string {
	if len(wanted) == 0 {
		return "<none>"
	}
	var out []string
	for i := range wanted {
		if i == maxTargets {
			return fmt.Sprintf("%s + %d more...", strings.Join(out, ", "), len(wanted)-maxTargets)
		}
		name, target := metricOf(&wanted[i])
		var now *autoscalingv2.MetricValueStatus
		if i < len(current) {
			now = currentOf(&current[i], wanted[i].Type)
		}
		out = append(out, name+valueText(now, target)+"/"+targetText(wanted[i].Type, target))
	}
	return strings.Join(out, ", ")
}

func metricOf(m *autoscalingv2.MetricSpec) (prefix string, target *autoscalingv2.MetricTarget) {
	switch {
	case m.External != nil:
		return "", &m.External.Target
	case m.Pods != nil:
		return "", &m.Pods.Target
	case m.Object != nil:
		return "", &m.Object.Target
	case m.Resource != nil:
		return string(m.Resource.Name) + ": ", &m.Resource.Target
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name) + ": ", &m.ContainerResource.Target
	}
	return "<unknown type>", &autoscalingv2.MetricTarget{}
}

func currentOf(m *autoscalingv2.MetricStatus, of autoscalingv2.MetricSourceType) *autoscalingv2.MetricValueStatus {
	switch {
	case of == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		return &m.External.Current
	case of == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		return &m.Pods.Current
	case of == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		return &m.Object.Current
	case of == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		return &m.Resource.Current
	case of == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		return &m.ContainerResource.Current
	}
	return nil
}

func valueText(now *autoscalingv2.MetricValueStatus, target *autoscalingv2.MetricTarget) string {
	switch {
	case now == nil:
	case target.AverageValue != nil && now.AverageValue != nil:
		return now.AverageValue.String()
	case target.AverageUtilization != nil && now.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *now.AverageUtilization)
	case target.Value != nil && now.Value != nil:
		return now.Value.String()
	}
	return "<unknown>"
}

func targetText(of autoscalingv2.MetricSourceType, t *autoscalingv2.MetricTarget) string {
	average := ""
	if of == autoscalingv2.ExternalMetricSourceType || of == autoscalingv2.ObjectMetricSourceType {
		average = " (avg)"
	}
	switch {
	case t.AverageValue != nil:
		return t.AverageValue.String() + average
	case t.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *t.AverageUtilization)
	case t.Value != nil:
		return t.Value.String()
	}
	return "<auto>"
}
