package flowcontrol

import (
	"fmt"
	"slices"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConsumerFieldManager is upstream's for who says in the status of flow schemas whether
// their priority levels are there.
const ConsumerFieldManager = "api-priority-and-fairness-config-consumer-v1"

// Dangling returns the condition that each flow schema should have and has not, by the
// schema's name: whether the priority level that it refers to is there.
func Dangling(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration, now time.Time) map[string]flowcontrolv1.FlowSchemaCondition {
	out := map[string]flowcontrolv1.FlowSchemaCondition{}
	for _, s := range schemas {
		level := s.Spec.PriorityLevelConfiguration.Name
		want := flowcontrolv1.FlowSchemaCondition{
			Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionFalse, Reason: "Found",
			Message:            fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", level),
			LastTransitionTime: metav1.NewTime(now),
		}
		if find(levels, level) == nil {
			want.Status, want.Reason = flowcontrolv1.ConditionTrue, "NotFound"
			want.Message = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q but there is no such object", level)
		}
		same := func(c flowcontrolv1.FlowSchemaCondition) bool {
			return c.Type == want.Type && c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message
		}
		if !slices.ContainsFunc(s.Status.Conditions, same) {
			out[s.Name] = want
		}
	}
	return out
}
