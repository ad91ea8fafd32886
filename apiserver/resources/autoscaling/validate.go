package autoscaling

import (
	"errors"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// leniency says what an update forgives because the object already had it.
type leniency struct{ target, coreTarget, described bool }

// forgive says how a spec is checked; old is nil for a new object. The version of
// the target is looked at only where it changes, and only replication controllers
// are scalable without a group.
func forgive(s, old *autoscalingv2.HorizontalPodAutoscalerSpec) leniency {
	l := leniency{coreTarget: s.ScaleTargetRef.Kind == "ReplicationController"}
	if old == nil {
		return l
	}
	l.target = old.ScaleTargetRef.APIVersion == s.ScaleTargetRef.APIVersion && old.ScaleTargetRef.Kind == s.ScaleTargetRef.Kind
	for i := range old.Metrics {
		if m := &old.Metrics[i]; m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil {
			l.described = l.described || len(version(m.Object.DescribedObject.APIVersion, true, nil)) > 0
		}
	}
	return l
}

func validateSpec(s, old *autoscalingv2.HorizontalPodAutoscalerSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.MinReplicas != nil && *s.MinReplicas < 0 {
		errs = append(errs, field.Invalid(path.Child("minReplicas"), *s.MinReplicas, "must be greater than or equal to 0"))
	}
	if s.MaxReplicas == 0 {
		errs = append(errs, field.Required(path.Child("maxReplicas"), ""))
	} else if s.MaxReplicas < 0 {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to 1"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	l, at := forgive(s, old), path.Child("scaleTargetRef")
	errs = append(errs, reference(s.ScaleTargetRef, at)...)
	if !l.target {
		errs = append(errs, version(s.ScaleTargetRef.APIVersion, l.coreTarget, at.Child("apiVersion"))...)
	}
	at = path.Child("metrics")
	outside := false
	for i := range s.Metrics {
		errs = append(errs, validateMetric(&s.Metrics[i], l, at.Index(i))...)
		outside = outside || s.Metrics[i].Type == autoscalingv2.ObjectMetricSourceType || s.Metrics[i].Type == autoscalingv2.ExternalMetricSourceType
	}
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !outside {
		errs = append(errs, field.Forbidden(at, "must specify at least one Object or External metric to support scaling to zero replicas"))
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

// version checks the apiVersion of a reference.
func version(text string, coreToo bool, path *field.Path) field.ErrorList {
	gv, err := schema.ParseGroupVersion(text)
	if err == nil && gv.Group == "" && !coreToo {
		err = errors.New("apiVersion must specify API group")
	}
	if err != nil {
		return field.ErrorList{field.Invalid(path, text, err.Error())}
	}
	return nil
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
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("tolerance"), r.Tolerance.String(), apivalidation.IsNegativeErrorMsg))
	}
	return errs
}
