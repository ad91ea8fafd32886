package autoscaling

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func TestValidateSpec(t *testing.T) {
	good := func() *autoscalingv2.HorizontalPodAutoscalerSpec {
		a := &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			MaxReplicas: 3, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"},
		}}
		defaultAutoscaler(a)
		return &a.Spec
	}
	for name, test := range map[string]struct {
		old, now func(s *autoscalingv2.HorizontalPodAutoscalerSpec)
		want     []string
	}{
		"good": {now: func(*autoscalingv2.HorizontalPodAutoscalerSpec) {}},
		"a target without a group": {
			now:  func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.ScaleTargetRef.APIVersion = "v1" },
			want: []string{`spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group`},
		},
		"a replication controller": {now: func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
			s.ScaleTargetRef.APIVersion, s.ScaleTargetRef.Kind = "v1", "ReplicationController"
		}},
		"a target without a group that was there before": {
			old: func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.ScaleTargetRef.APIVersion = "v1" },
			now: func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.ScaleTargetRef.APIVersion = "v1" },
		},
		"no replicas at all": {
			now: func(s *autoscalingv2.HorizontalPodAutoscalerSpec) { s.MinReplicas, s.MaxReplicas = ptr.To(int32(0)), 0 },
			want: []string{
				"spec.maxReplicas: Required value",
				"spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
			},
		},
		"two sources, neither of which is the type's": {
			now: func(s *autoscalingv2.HorizontalPodAutoscalerSpec) {
				m := &s.Metrics[0]
				m.Type, m.Pods, m.Resource.Name = "External", &autoscalingv2.PodsMetricSource{}, ""
			},
			want: []string{
				"spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
				"spec.metrics[0].pods.target.type: Required value: must specify a metric target type",
				`spec.metrics[0].pods.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue`,
				"spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
				"spec.metrics[0].external: Required value: must populate information for the given metric source",
				"spec.metrics[0].pods: Forbidden: must populate the given metric source only",
				"spec.metrics[0].resource: Forbidden: must populate the given metric source only",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var old *autoscalingv2.HorizontalPodAutoscalerSpec
			now := good()
			if test.old != nil {
				old = good()
				test.old(old)
			}
			test.now(now)
			var got []string
			for _, err := range validateSpec(now, old, field.NewPath("spec")) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(set(test.want), set(got)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func set(lines []string) map[string]int {
	out := map[string]int{}
	for _, line := range lines {
		out[line]++
	}
	return out
}

// What v1 keeps in annotations is spec or status all the same.
func TestV1Halves(t *testing.T) {
	r := v1()
	old := &autoscalingv1.HorizontalPodAutoscaler{}
	r.Default(old)
	if n := ptr.Deref(old.Spec.TargetCPUUtilizationPercentage, 0); n != 80 {
		t.Errorf("target %d %%, want 80", n)
	}
	now := old.DeepCopy()
	now.Spec.TargetCPUUtilizationPercentage = nil
	now.Annotations = map[string]string{
		behaviorAnnotation: `{"scaleUp":{"stabilizationWindowSeconds":7}}`,
		currentAnnotation:  `[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":5}}]`,
	}
	r.Default(now)
	changed := now.DeepCopy()
	r.PrepareForUpdate(resource.Request{}, changed, old)
	if changed.Generation != 1 || changed.Annotations[currentAnnotation] != "" || changed.Annotations[behaviorAnnotation] == "" {
		t.Errorf("an update: generation %d, annotations %v", changed.Generation, changed.Annotations)
	}
	r.Subresource("status").View.PrepareForUpdate(resource.Request{}, now, old)
	if now.Generation != 0 || now.Annotations[currentAnnotation] == "" || now.Annotations[behaviorAnnotation] != "" {
		t.Errorf("a write of status: generation %d, annotations %v", now.Generation, now.Annotations)
	}
}
