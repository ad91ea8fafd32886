package events

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestConversionKeepsEverything(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "ns", ResourceVersion: "7"},
		EventTime:  metav1.NewMicroTime(at), Series: &eventsv1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(at)},
		ReportingController: "c", ReportingInstance: "i", Action: "a", Reason: "r", Note: "n", Type: "Normal",
		Regarding: corev1.ObjectReference{Name: "x"}, Related: &corev1.ObjectReference{Name: "y"},
		DeprecatedSource: corev1.EventSource{Component: "k"}, DeprecatedFirstTimestamp: metav1.NewTime(at),
		DeprecatedLastTimestamp: metav1.NewTime(at), DeprecatedCount: 3,
	}
	if diff := cmp.Diff(e, FromCore(ToCore(e))); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	e := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "ns"}}
	var got []string
	for _, err := range validateNew(e) {
		got = append(got, err.Error())
	}
	want := []string{
		`involvedObject.namespace: Invalid value: "": does not match event.namespace`,
		"eventTime: Required value",
		`type: Invalid value: "": has invalid value: `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an empty event (-want +got):\n%s", diff)
	}
}

func TestValidateChange(t *testing.T) {
	at := metav1.NewMicroTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	old := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "ns"}, EventTime: at, Regarding: corev1.ObjectReference{Namespace: "ns"},
		ReportingController: "c", ReportingInstance: "i", Action: "a", Reason: "r", Note: "n", Type: "Normal",
	}
	e := old.DeepCopy()
	e.Series = &eventsv1.EventSeries{Count: 2, LastObservedTime: at}
	if errs := validateChange(e, old); len(errs) > 0 {
		t.Errorf("an event gains a series: %v", errs)
	}
	e.Note, e.Regarding.Name, e.Series.Count = "m", "x", 1
	var got []string
	for _, err := range validateChange(e, old) {
		got = append(got, err.Error())
	}
	want := []string{
		`series.count: Invalid value: "": should be at least 2`,
		`involvedObject: Invalid value: {"Kind":"","Namespace":"ns","Name":"x","UID":"","APIVersion":"","ResourceVersion":"","FieldPath":""}: field is immutable`,
		`message: Invalid value: "m": field is immutable`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
