package core

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Component is a part of the control plane whose health clients can ask for.
type Component struct {
	// Name as upstream's: scheduler, controller-manager, etcd-0.
	Name string
	// Healthy returns what is wrong with it, nil for nothing. It is safe for
	// concurrent use and returns when ctx ends.
	Healthy func(ctx context.Context) error
}

// componentTimeout bounds how long a component may take to say how it is.
const componentTimeout = 20 * time.Second

func componentStatuses(components []Component) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ComponentStatus"), Plural: "componentstatuses", Singular: "componentstatus", ShortNames: []string{"cs"},
		New: typed.New[corev1.ComponentStatus], NewList: typed.New[corev1.ComponentStatusList],
		Verbs: []string{"get", "list"}, Deprecated: "v1 ComponentStatus is deprecated in v1.19+",
		Computed: func(ctx context.Context) ([]runtime.Object, error) { return askAll(ctx, components), nil },
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Status", "Status of the component conditions"),
				columns.String("Message", "Message of the component conditions"), columns.String("Error", "Error of the component conditions"),
			},
			Cells: typed.Cells(func(s *corev1.ComponentStatus, _ time.Time) []any {
				status, message, wrong := "Unknown", "", ""
				for _, c := range s.Conditions {
					if c.Type != corev1.ComponentHealthy {
						continue
					}
					status, message, wrong = "Unhealthy", c.Message, c.Error
					if c.Status == corev1.ConditionTrue {
						status = "Healthy"
					}
				}
				return []any{s.Name, status, message, wrong}
			}),
		},
	}
}

// askAll asks all components at once how they are.
func askAll(ctx context.Context, components []Component) []runtime.Object {
	ctx, cancel := context.WithTimeout(ctx, componentTimeout)
	defer cancel()
	out := make([]runtime.Object, len(components))
	var asked sync.WaitGroup
	for i, c := range components {
		asked.Go(func() {
			condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
			if err := c.Healthy(ctx); err != nil {
				condition.Status, condition.Message = corev1.ConditionFalse, err.Error()
			}
			out[i] = &corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: c.Name}, Conditions: []corev1.ComponentCondition{condition}}
		})
	}
	asked.Wait()
	return out
}
