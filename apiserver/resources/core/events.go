package core

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

const (
	eventNameChars = 128
	eventNoteChars = 1024
)

func events(ttl time.Duration) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Event"), Plural: "events", Singular: "event", ShortNames: []string{"ev"},
		Namespaced: true, StoragePrefix: "events",
		New:     func() runtime.Object { return &corev1.Event{} },
		NewList: func() runtime.Object { return &corev1.EventList{} },
		Strategy: resource.Strategy{
			Validate: func(obj runtime.Object) field.ErrorList {
				return ValidateEvent(obj.(*corev1.Event), "reportingComponent")
			},
			NameError:                path.ValidatePathSegmentName,
			AllowCreateOnUpdate:      true,
			AllowUnconditionalUpdate: true,
		},
		Table:            resource.Table{Columns: EventColumns(), Cells: EventCells},
		SelectableFields: EventFields,
		// What kubectl describe lists by.
		IndexedFields: []string{"involvedObject.uid"},
		TTL:           func(runtime.Object) time.Duration { return ttl },
	}
}

// ValidateEvent is lenient, as old recorders need it: only an event with an
// eventTime, which new recorders send, must be complete. Both groups' events are held to it;
// controller is what the group calls the field that names who reports.
func ValidateEvent(e *corev1.Event, controller string) field.ErrorList {
	var errs field.ErrorList
	involved := field.NewPath("involvedObject", "namespace")
	const mismatch = "does not match event.namespace"
	ns := e.InvolvedObject.Namespace
	if e.EventTime.IsZero() {
		switch {
		case ns == "" && e.Namespace != metav1.NamespaceNone && e.Namespace != metav1.NamespaceDefault,
			ns != "" && e.Namespace != ns:
			errs = append(errs, field.Invalid(involved, ns, mismatch))
		}
	} else {
		if ns == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
			errs = append(errs, field.Invalid(involved, ns, mismatch))
		}
		errs = append(errs, validateReporter(e, controller)...)
		if len(e.Message) > eventNoteChars {
			errs = append(errs, field.Invalid(field.NewPath("message"), "", fmt.Sprintf("can have at most %v characters", eventNoteChars)))
		}
	}
	return errs
}

func validateReporter(e *corev1.Event, controller string) field.ErrorList {
	var errs field.ErrorList
	if e.ReportingController == "" {
		errs = append(errs, field.Required(field.NewPath(controller), ""))
	}
	errs = append(errs, rules.Matches(e.ReportingController, field.NewPath(controller), validation.IsQualifiedName(e.ReportingController))...)
	for _, f := range []struct{ name, value string }{
		{"reportingInstance", e.ReportingInstance}, {"action", e.Action}, {"reason", e.Reason},
	} {
		if f.value == "" {
			errs = append(errs, field.Required(field.NewPath(f.name), ""))
		}
		if len(f.value) > eventNameChars {
			errs = append(errs, field.Invalid(field.NewPath(f.name), "", fmt.Sprintf("can have at most %v characters", eventNameChars)))
		}
	}
	return errs
}

// EventFields are the fields that select events, of both groups.
func EventFields(obj runtime.Object) fields.Set {
	e := obj.(*corev1.Event)
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             e.ReportingController,
		"source":                         source,
		"type":                           e.Type,
	}
}

// EventColumns are the columns of events, of both groups.
func EventColumns() []metav1.TableColumnDefinition {
	doc := corev1.Event{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.String("Last Seen", doc["lastTimestamp"]),
		columns.String("Type", doc["type"]),
		columns.String("Reason", doc["reason"]),
		columns.String("Object", doc["involvedObject"]),
		columns.Wide(columns.String("Subobject", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"])),
		columns.Wide(columns.String("Source", doc["source"])),
		columns.String("Message", doc["message"]),
		columns.Wide(columns.String("First Seen", doc["firstTimestamp"])),
		columns.Wide(columns.String("Count", doc["count"])),
		columns.Wide(columns.Name()),
	}
}

// EventCells is the row of a core event.
func EventCells(obj runtime.Object, now time.Time) []any {
	e := obj.(*corev1.Event)
	first := columns.Age(e.FirstTimestamp, now)
	if e.FirstTimestamp.IsZero() {
		first = columns.MicroAge(e.EventTime, now)
	}
	last, count := columns.Age(e.LastTimestamp, now), e.Count
	if e.LastTimestamp.IsZero() {
		last = first
	}
	switch {
	case e.Series != nil:
		last, count = columns.MicroAge(e.Series.LastObservedTime, now), e.Series.Count
	case count == 0:
		count = 1
	}
	target := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		target += "/" + e.InvolvedObject.Name
	}
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if host == "" {
		host = e.ReportingInstance
	}
	source := component
	if host != "" {
		source += ", " + host
	}
	return []any{
		last, e.Type, e.Reason, target, e.InvolvedObject.FieldPath, source,
		strings.TrimSpace(e.Message), first, int64(count), e.Name,
	}
}
