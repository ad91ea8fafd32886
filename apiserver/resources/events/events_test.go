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
	for _, err := range validate(e) {
		got = append(got, err.Error())
	}
	want := []string{
		"eventTime: Required value",
		`regarding.namespace: Invalid value: "": does not match event.namespace`,
		"type: Required value",
		"reportingController: Required value",
		"reportingController: Invalid value: \"\": name part must be non-empty",
		"reportingController: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
		"reportingInstance: Required value",
		"action: Required value",
		"reason: Required value",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an empty event (-want +got):\n%s", diff)
	}
}
