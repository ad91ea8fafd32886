// Package events declares the resources of events.k8s.io/v1: the same events that
// the core group serves, under the newer names. They are stored once, as core
// events.
package events

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources. ttl is what the core group's events have.
func Resources(ttl time.Duration) []*resource.Resource {
	return []*resource.Resource{{
		GVK: eventsv1.SchemeGroupVersion.WithKind("Event"), Plural: "events", Singular: "event", ShortNames: []string{"ev"},
		Namespaced: true, StoragePrefix: "events",
		New:     func() runtime.Object { return &eventsv1.Event{} },
		NewList: func() runtime.Object { return &eventsv1.EventList{} },
		// Events are the core group's, and errors say so.
		InvalidKind: &schema.GroupKind{Kind: "Event"},
		Strategy: resource.Strategy{
			Validate:                 typed.Validate(validateNew),
			ValidateChange:           typed.Change(validateChange),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowCreateOnUpdate:      true,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{
			Columns: core.EventColumns(),
			Cells: func(obj runtime.Object, now time.Time) []any {
				return core.EventCells(ToCore(obj.(*eventsv1.Event)), now)
			},
		},
		SelectableFields: func(obj runtime.Object) fields.Set {
			set := core.EventFields(ToCore(obj.(*eventsv1.Event)))
			// The names of this group, beside those of the core group.
			for newer, older := range map[string]string{
				"regarding.kind": "involvedObject.kind", "regarding.namespace": "involvedObject.namespace",
				"regarding.name": "involvedObject.name", "regarding.uid": "involvedObject.uid",
				"regarding.apiVersion": "involvedObject.apiVersion", "regarding.resourceVersion": "involvedObject.resourceVersion",
				"regarding.fieldPath": "involvedObject.fieldPath", "reportingController": "reportingComponent",
			} {
				set[newer] = set[older]
			}
			return set
		},
		TTL: func(runtime.Object) time.Duration { return ttl },
		StoredAs: &resource.StoredAs{
			Of: corev1.SchemeGroupVersion.WithResource("events"),
			FromStored: func(obj runtime.Object) (runtime.Object, error) {
				e, ok := obj.(*corev1.Event)
				if !ok {
					return nil, fmt.Errorf("expected a core Event, got %T", obj)
				}
				return FromCore(e), nil
			},
			ToStored: func(obj runtime.Object) (runtime.Object, error) {
				e, ok := obj.(*eventsv1.Event)
				if !ok {
					return nil, fmt.Errorf("expected an events.k8s.io Event, got %T", obj)
				}
				return ToCore(e), nil
			},
		},
	}}
}

// ToCore is the core event that an event of this group is stored as.
func ToCore(e *eventsv1.Event) *corev1.Event {
	in := e.DeepCopy()
	out := &corev1.Event{
		ObjectMeta: in.ObjectMeta, InvolvedObject: in.Regarding, Related: in.Related,
		Reason: in.Reason, Message: in.Note, Type: in.Type, Action: in.Action,
		EventTime: in.EventTime, ReportingController: in.ReportingController, ReportingInstance: in.ReportingInstance,
		Source: in.DeprecatedSource, FirstTimestamp: in.DeprecatedFirstTimestamp, LastTimestamp: in.DeprecatedLastTimestamp,
		Count: in.DeprecatedCount,
	}
	if in.Series != nil {
		out.Series = &corev1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
	return out
}

// FromCore shows a core event in the words of this group.
func FromCore(e *corev1.Event) *eventsv1.Event {
	in := e.DeepCopy()
	out := &eventsv1.Event{
		ObjectMeta: in.ObjectMeta, Regarding: in.InvolvedObject, Related: in.Related,
		Reason: in.Reason, Note: in.Message, Type: in.Type, Action: in.Action,
		EventTime: in.EventTime, ReportingController: in.ReportingController, ReportingInstance: in.ReportingInstance,
		DeprecatedSource: in.Source, DeprecatedFirstTimestamp: in.FirstTimestamp, DeprecatedLastTimestamp: in.LastTimestamp,
		DeprecatedCount: in.Count,
	}
	if in.Series != nil {
		out.Series = &eventsv1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
	return out
}
