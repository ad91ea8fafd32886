package autoscaling

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Bounds of the scaling rules, upstream's, in seconds.
const (
	maxPeriod        = 1800
	maxStabilization = 3600
)

func defaultAutoscaler(a *autoscalingv2.HorizontalPodAutoscaler) {
	if a.Spec.MinReplicas == nil {
		a.Spec.MinReplicas = ptr.To(int32(1))
	}
	if len(a.Spec.Metrics) == 0 {
		a.Spec.Metrics = []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{
				Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr.To(int32(80)),
			}},
		}}
	}
	if b := a.Spec.Behavior; b != nil {
		all := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
		b.ScaleUp = withDefaults(b.ScaleUp, autoscalingv2.HPAScalingRules{
			StabilizationWindowSeconds: ptr.To(int32(0)), SelectPolicy: ptr.To(autoscalingv2.MaxChangePolicySelect),
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}, all},
		})
		b.ScaleDown = withDefaults(b.ScaleDown, autoscalingv2.HPAScalingRules{
			SelectPolicy: ptr.To(autoscalingv2.MaxChangePolicySelect), Policies: []autoscalingv2.HPAScalingPolicy{all},
		})
	}
}

func withDefaults(r *autoscalingv2.HPAScalingRules, defaults autoscalingv2.HPAScalingRules) *autoscalingv2.HPAScalingRules {
	if r == nil {
		return &defaults
	}
	if r.SelectPolicy == nil {
		r.SelectPolicy = defaults.SelectPolicy
	}
	if r.StabilizationWindowSeconds == nil {
		r.StabilizationWindowSeconds = defaults.StabilizationWindowSeconds
	}
	if r.Policies == nil {
		r.Policies = defaults.Policies
	}
	return r
}

func validateSpec(s *autoscalingv2.HorizontalPodAutoscalerSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.MinReplicas != nil && *s.MinReplicas < 1 {
		errs = append(errs, field.Invalid(path.Child("minReplicas"), *s.MinReplicas, "must be greater than or equal to 1"))
	}
	if s.MaxReplicas < 1 {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), s.MaxReplicas, "must be greater than 0"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	errs = append(errs, reference(s.ScaleTargetRef, path.Child("scaleTargetRef"))...)
	for i := range s.Metrics {
		errs = append(errs, validateMetric(&s.Metrics[i], path.Child("metrics").Index(i))...)
	}
	if s.Behavior != nil {
		errs = append(errs, scalingRules(s.Behavior.ScaleUp, path.Child("behavior").Child("scaleUp"))...)
		errs = append(errs, scalingRules(s.Behavior.ScaleDown, path.Child("behavior").Child("scaleDown"))...)
	}
	return errs
}

func reference(ref autoscalingv2.CrossVersionObjectReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, one := range []struct{ name, value string }{{"kind", ref.Kind}, {"name", ref.Name}} {
		if one.value == "" {
			errs = append(errs, field.Required(path.Child(one.name), ""))
			continue
		}
		errs = append(errs, rules.Matches(one.value, path.Child(one.name), pathvalidation.IsValidPathSegmentName(one.value))...)
	}
	return errs
}

func scalingRules(r *autoscalingv2.HPAScalingRules, path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if w := r.StabilizationWindowSeconds; w != nil {
		at := path.Child("stabilizationWindowSeconds")
		if *w < 0 {
			errs = append(errs, field.Invalid(at, *w, "must be greater than or equal to zero"))
		} else if *w > maxStabilization {
			errs = append(errs, field.Invalid(at, *w, fmt.Sprintf("must be less than or equal to %v", maxStabilization)))
		}
	}
	if r.SelectPolicy != nil {
		errs = append(errs, rules.OneOf(*r.SelectPolicy, path.Child("selectPolicy"),
			autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)...)
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("tolerance"), r.Tolerance.String(), "must be greater than or equal to 0"))
	}
	at := path.Child("policies")
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(at, "must specify at least one Policy"))
	}
	for i, p := range r.Policies {
		at := at.Index(i)
		errs = append(errs, rules.OneOf(p.Type, at.Child("type"), autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)...)
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), p.Value, "must be greater than zero"))
		}
		if p.PeriodSeconds <= 0 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, "must be greater than zero"))
		}
		if p.PeriodSeconds > maxPeriod {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", maxPeriod)))
		}
	}
	return errs
}

func validateMetric(m *autoscalingv2.MetricSpec, path *field.Path) field.ErrorList {
	if m.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "must specify a metric source type")}
	}
	errs := rules.OneOf(m.Type, path.Child("type"), autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)
	checks := map[string]func(at *field.Path) field.ErrorList{}
	if s := m.Object; s != nil {
		checks["object"] = func(at *field.Path) field.ErrorList {
			errs := reference(s.DescribedObject, at.Child("describedObject"))
			errs = append(errs, identifier(s.Metric, at.Child("metric"))...)
			errs = append(errs, target(s.Target, at.Child("target"))...)
			return append(errs, oneOf(s.Target.Value != nil, s.Target.AverageValue != nil, at.Child("target").Child("averageValue"), "must specify either a target value or target averageValue")...)
		}
	}
	if s := m.External; s != nil {
		checks["external"] = func(at *field.Path) field.ErrorList {
			errs := identifier(s.Metric, at.Child("metric"))
			errs = append(errs, target(s.Target, at.Child("target"))...)
			if s.Target.Value != nil && s.Target.AverageValue != nil {
				errs = append(errs, field.Forbidden(at.Child("target").Child("value"), "may not set both a target value for metric and a per-pod target"))
			}
			return append(errs, oneOf(s.Target.Value != nil, s.Target.AverageValue != nil, at.Child("target").Child("averageValue"), "must set either a target value for metric or a per-pod target")...)
		}
	}
	if s := m.Pods; s != nil {
		checks["pods"] = func(at *field.Path) field.ErrorList {
			errs := identifier(s.Metric, at.Child("metric"))
			errs = append(errs, target(s.Target, at.Child("target"))...)
			return append(errs, oneOf(s.Target.AverageValue != nil && s.Target.AverageValue.Sign() == 1, false, at.Child("target").Child("averageValue"), "must specify a positive target averageValue")...)
		}
	}
	if s := m.Resource; s != nil {
		checks["resource"] = func(at *field.Path) field.ErrorList { return resourceMetric(string(s.Name), s.Target, at) }
	}
	if s := m.ContainerResource; s != nil {
		checks["containerResource"] = func(at *field.Path) field.ErrorList {
			errs := resourceMetric(string(s.Name), s.Target, at)
			if s.Container == "" {
				errs = append(errs, field.Required(at.Child("container"), "must specify a container"))
			}
			return errs
		}
	}
	expected := strings.ToLower(string(m.Type[:1])) + string(m.Type[1:])
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if name == expected || len(checks) == 1 {
			errs = append(errs, checks[name](path.Child(name))...)
		}
	}
	if checks[expected] == nil {
		errs = append(errs, field.Required(path.Child(expected), "must populate information for the given metric source"))
	}
	if len(checks) > 1 {
		for _, name := range slices.Sorted(maps.Keys(checks)) {
			if name != expected {
				errs = append(errs, field.Forbidden(path.Child(name), "must populate the given metric source only"))
			}
		}
	}
	return errs
}

func oneOf(a, b bool, path *field.Path, message string) field.ErrorList {
	if a || b {
		return nil
	}
	return field.ErrorList{field.Required(path, message)}
}

func resourceMetric(name string, t autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(path.Child("name"), "must specify a resource name"))
	}
	at := path.Child("target")
	errs = append(errs, target(t, at)...)
	errs = append(errs, oneOf(t.AverageUtilization != nil, t.AverageValue != nil, at.Child("averageUtilization"), "must set either a target raw value or a target utilization")...)
	if t.AverageUtilization != nil && t.AverageValue != nil {
		errs = append(errs, field.Forbidden(at.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func target(t autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	if t.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "must specify a metric target type")}
	}
	var errs field.ErrorList
	if t.Type != autoscalingv2.UtilizationMetricType && t.Type != autoscalingv2.ValueMetricType && t.Type != autoscalingv2.AverageValueMetricType {
		errs = append(errs, field.Invalid(path.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(path.Child("averageUtilization"), t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func identifier(m autoscalingv2.MetricIdentifier, path *field.Path) field.ErrorList {
	if m.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "must specify a metric name")}
	}
	return rules.Matches(m.Name, path.Child("name"), pathvalidation.IsValidPathSegmentName(m.Name))
}
