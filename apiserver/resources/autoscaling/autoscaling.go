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

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources, the preferred version first.
func Resources() []*resource.Resource { return []*resource.Resource{v2(), v1()} }

func v2() *resource.Resource {
	halves := halvesOfV2()
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
				return validateSpec(&a.Spec, nil, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(func(a, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
				return validateSpec(&a.Spec, &old.Spec, field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: autoscalerColumns(), Cells: typed.Cells(autoscalerCells)},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(a, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
			return validateStatus(&a.Status, field.NewPath("status"))
		})},
	}
}

func v1() *resource.Resource {
	halves := halvesOfV1()
	return &resource.Resource{
		GVK: autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"), Plural: "horizontalpodautoscalers",
		Singular: "horizontalpodautoscaler", ShortNames: []string{"hpa"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "horizontalpodautoscalers",
		New: typed.New[autoscalingv1.HorizontalPodAutoscaler], NewList: typed.New[autoscalingv1.HorizontalPodAutoscalerList],
		Strategy: resource.Strategy{
			Default:          typed.Default(func(a *autoscalingv1.HorizontalPodAutoscaler) { throughV2(a, defaultAutoscaler) }),
			PrepareForCreate: halves.Create,
			PrepareForUpdate: halves.Update,
			Validate: typed.Validate(func(a *autoscalingv1.HorizontalPodAutoscaler) field.ErrorList {
				return validateSpec(specOf(a), nil, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(func(a, old *autoscalingv1.HorizontalPodAutoscaler) field.ErrorList {
				return validateSpec(specOf(a), specOf(old), field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: autoscalerColumns(), Cells: typed.Cells(func(a *autoscalingv1.HorizontalPodAutoscaler, now time.Time) []any {
			return autoscalerCells(ToV2(a), now)
		})},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(a, _ *autoscalingv1.HorizontalPodAutoscaler) field.ErrorList {
			return validateStatus(&ToV2(a).Status, field.NewPath("status"))
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

func halvesOfV2() typed.Halves {
	return typed.SpecAndStatus(func(a *autoscalingv2.HorizontalPodAutoscaler) (*autoscalingv2.HorizontalPodAutoscalerSpec, *autoscalingv2.HorizontalPodAutoscalerStatus) {
		return &a.Spec, &a.Status
	})
}

// halvesOfV1 writes an autoscaler of v1 as one of v2: parts of its spec and of its
// status stand in annotations, where v1 alone could not tell them apart.
func halvesOfV1() typed.Halves {
	full := halvesOfV2()
	change := func(write func(req resource.Request, obj, old runtime.Object)) func(req resource.Request, obj, old runtime.Object) {
		return func(req resource.Request, obj, old runtime.Object) {
			throughV2(obj.(*autoscalingv1.HorizontalPodAutoscaler), func(a *autoscalingv2.HorizontalPodAutoscaler) {
				write(req, a, ToV2(old.(*autoscalingv1.HorizontalPodAutoscaler)))
			})
		}
	}
	return typed.Halves{
		Create: func(req resource.Request, obj runtime.Object) {
			throughV2(obj.(*autoscalingv1.HorizontalPodAutoscaler), func(a *autoscalingv2.HorizontalPodAutoscaler) { full.Create(req, a) })
		},
		Update: change(full.Update), Status: change(full.Status),
	}
}

// throughV2 lets f change an autoscaler in the words of v2.
func throughV2(a *autoscalingv1.HorizontalPodAutoscaler, f func(*autoscalingv2.HorizontalPodAutoscaler)) {
	full := ToV2(a)
	f(full)
	back, err := FromV2(full)
	if err != nil {
		return // what v2 holds can always be written as JSON
	}
	back.TypeMeta = a.TypeMeta
	*a = *back
}

func specOf(a *autoscalingv1.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscalerSpec {
	full := ToV2(a)
	defaultAutoscaler(full)
	return &full.Spec
}

func validateStatus(s *autoscalingv2.HorizontalPodAutoscalerStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range s.Conditions {
		if n := s.Conditions[i].ObservedGeneration; n != nil {
			errs = append(errs, rules.NonNegative(*n, path.Child("conditions").Index(i).Child("observedGeneration"))...)
		}
	}
	errs = append(errs, rules.NonNegative(int64(s.CurrentReplicas), path.Child("currentReplicas"))...)
	return append(errs, rules.NonNegative(int64(s.DesiredReplicas), path.Child("desiredReplicas"))...)
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
