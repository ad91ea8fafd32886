package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

func validateMetric(m *autoscalingv2.MetricSpec, l leniency, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric source type"))
	}
	errs = append(errs, rules.OneOf(m.Type, path.Child("type"), autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)...)
	// In upstream's order: of several sources the first is looked into.
	sources := []struct {
		name, of string
		set      bool
		check    func(at *field.Path) field.ErrorList
	}{
		{"object", "Object", m.Object != nil, func(at *field.Path) field.ErrorList { return objectMetric(m.Object, l, at) }},
		{"external", "External", m.External != nil, func(at *field.Path) field.ErrorList { return externalMetric(m.External, at) }},
		{"pods", "Pods", m.Pods != nil, func(at *field.Path) field.ErrorList {
			s := m.Pods
			errs := append(identifier(s.Metric, at.Child("metric")), target(s.Target, at.Child("target"))...)
			return append(errs, oneOf(s.Target.AverageValue != nil, false, at.Child("target").Child("averageValue"), "must specify a positive target averageValue")...)
		}},
		{"resource", "Resource", m.Resource != nil, func(at *field.Path) field.ErrorList {
			return resourceMetric(string(m.Resource.Name), m.Resource.Target, at)
		}},
		{"containerResource", "ContainerResource", m.ContainerResource != nil, func(at *field.Path) field.ErrorList {
			s := m.ContainerResource
			errs := resourceMetric(string(s.Name), s.Target, at)
			if s.Name != "" {
				errs = append(errs, podspec.ContainerResourceName(s.Name, at.Child("name"))...)
			}
			if s.Container == "" {
				return append(errs, field.Required(at.Child("container"), "must specify a container"))
			}
			return append(errs, rules.Label(s.Container, at.Child("container"))...)
		}},
	}
	set := 0
	for _, s := range sources {
		if s.set {
			set++
			if set == 1 {
				errs = append(errs, s.check(path.Child(s.name))...)
			}
		}
	}
	for _, s := range sources {
		if s.of == string(m.Type) && !s.set {
			errs = append(errs, field.Required(path.Child(s.name), "must populate information for the given metric source"))
		}
		if s.of != string(m.Type) && s.set && set > 1 {
			errs = append(errs, field.Forbidden(path.Child(s.name), "must populate the given metric source only"))
		}
	}
	return errs
}

func objectMetric(s *autoscalingv2.ObjectMetricSource, l leniency, path *field.Path) field.ErrorList {
	errs := reference(s.DescribedObject, path.Child("describedObject"))
	if !l.described {
		errs = append(errs, version(s.DescribedObject.APIVersion, true, path.Child("describedObject", "apiVersion"))...)
	}
	errs = append(errs, identifier(s.Metric, path.Child("metric"))...)
	errs = append(errs, target(s.Target, path.Child("target"))...)
	return append(errs, oneOf(s.Target.Value != nil, s.Target.AverageValue != nil, path.Child("target", "averageValue"), "must set either a target value or averageValue")...)
}

func externalMetric(s *autoscalingv2.ExternalMetricSource, path *field.Path) field.ErrorList {
	errs := append(identifier(s.Metric, path.Child("metric")), target(s.Target, path.Child("target"))...)
	if s.Target.Value != nil && s.Target.AverageValue != nil {
		errs = append(errs, field.Forbidden(path.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
	}
	return append(errs, oneOf(s.Target.Value != nil, s.Target.AverageValue != nil, path.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target")...)
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
	var errs field.ErrorList
	if t.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric target type"))
	}
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
