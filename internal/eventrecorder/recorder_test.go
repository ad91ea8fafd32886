package eventrecorder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "u-1"}}
}

// inBubble runs a recorder in a synctest bubble; that the bubble ends proves
// that Run joins what it starts.
func inBubble(t *testing.T, client *fake.Clientset, host string, f func(r *Recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := New(client, "some-controller", host)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		f(r)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func events(t *testing.T, client *fake.Clientset) []corev1.Event {
	t.Helper()
	list, err := client.CoreV1().Events("").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestSameEventIsCounted(t *testing.T) {
	client := fake.NewClientset()
	inBubble(t, client, "node-1", func(r *Recorder) {
		for range 3 {
			r.Eventf(pod("web"), corev1.EventTypeWarning, "BackOff", "Back-off %d", 10)
			time.Sleep(time.Second)
		}
		synctest.Wait()
	})
	got := events(t, client)
	if len(got) != 1 {
		t.Fatalf("%d events, want one with a count: %v", len(got), got)
	}
	e := got[0]
	if e.Count != 3 || e.Message != "Back-off 10" || e.Reason != "BackOff" || e.Type != "Warning" {
		t.Errorf("event is %+v", e)
	}
	if e.Source.Component != "some-controller" || e.Source.Host != "node-1" || e.ReportingController != "some-controller" {
		t.Errorf("source is %+v, reporting controller %q", e.Source, e.ReportingController)
	}
	if e.LastTimestamp.Sub(e.FirstTimestamp.Time) != 2*time.Second {
		t.Errorf("first %v, last %v", e.FirstTimestamp, e.LastTimestamp)
	}
	if e.InvolvedObject.Kind != "Pod" || e.InvolvedObject.APIVersion != "v1" || e.InvolvedObject.UID != "u-1" {
		t.Errorf("involved object is %+v", e.InvolvedObject)
	}
}

func TestManyAlikeAreCombined(t *testing.T) {
	client := fake.NewClientset()
	inBubble(t, client, "", func(r *Recorder) {
		for i := range 12 {
			r.Event(pod("web"), corev1.EventTypeNormal, "Tried", fmt.Sprintf("try %d", i))
		}
		synctest.Wait()
	})
	combined := 0
	for _, e := range events(t, client) {
		if strings.HasPrefix(e.Message, "(combined from similar events)") {
			combined++
		}
	}
	if combined != 1 {
		t.Errorf("%d combined events, want 1", combined)
	}
}

func TestActionsMakeASeries(t *testing.T) {
	client := fake.NewClientset()
	inBubble(t, client, "", func(r *Recorder) {
		for range 4 {
			r.Action(pod("web"), nil, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", "no room")
			time.Sleep(2 * time.Minute)
		}
		r.Action(pod("web"), nil, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", "no node")
		time.Sleep(7 * time.Minute)
		r.Action(pod("web"), nil, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", "no node")
		synctest.Wait()
	})
	got := events(t, client)
	if len(got) != 3 {
		t.Fatalf("%d events, want no room, no node, and no node after a silence", len(got))
	}
	for _, e := range got {
		if e.EventTime.IsZero() || e.Action != "Scheduling" || e.ReportingInstance != "some-controller" || e.Count != 0 {
			t.Errorf("event is %+v", e)
		}
		switch {
		case e.Message == "no room" && (e.Series == nil || e.Series.Count != 4):
			t.Errorf("series of %q is %+v, want 4", e.Message, e.Series)
		case e.Message == "no node" && e.Series != nil:
			t.Errorf("series of %q is %+v, want none", e.Message, e.Series)
		}
	}
}

// Two components speak of one pod while the clock stands still.
func TestNamesOfTwoRecordersDiffer(t *testing.T) {
	client := fake.NewClientset()
	inBubble(t, client, "node-1", func(r *Recorder) {
		other := New(client, "another-controller", "")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		for i := range 3 {
			for _, recorder := range []*Recorder{r, other} {
				recorder.Eventf(pod("web"), corev1.EventTypeNormal, "Tried", "try %d", i)
			}
		}
		synctest.Wait()
		cancel()
		<-done
	})
	if got := len(events(t, client)); got != 6 {
		t.Errorf("%d events, want 6", got)
	}
}

func TestUnreachableServerIsTriedAgain(t *testing.T) {
	client := fake.NewClientset()
	failures := 3
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		if failures == 0 {
			return false, nil, nil
		}
		failures--
		return true, nil, errors.New("connection refused")
	})
	inBubble(t, client, "", func(r *Recorder) {
		r.Event(pod("web"), corev1.EventTypeNormal, "Started", "here")
		time.Sleep(time.Minute)
	})
	if got := events(t, client); len(got) != 1 {
		t.Errorf("%d events, want 1 after the server came back", len(got))
	}
}

func TestRefusedEventIsGivenUp(t *testing.T) {
	client := fake.NewClientset()
	tries := 0
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		tries++
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("no"))
	})
	inBubble(t, client, "", func(r *Recorder) {
		r.Event(pod("web"), corev1.EventTypeNormal, "Started", "here")
		time.Sleep(10 * time.Minute)
	})
	if tries != 1 {
		t.Errorf("tried %d times, want once", tries)
	}
}

func TestFullQueueDrops(t *testing.T) {
	r, err := NewFromConfig(Config{Client: fake.NewClientset(), Component: "c", Queue: 2, Writers: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r.Event(pod("web"), corev1.EventTypeNormal, "Started", "here")
	}
	if r.Dropped() != 3 {
		t.Errorf("dropped %d, want 3", r.Dropped())
	}
}

func TestInvalidEventsAreRefused(t *testing.T) {
	r := New(fake.NewClientset(), "c", "")
	r.Event(pod("web"), "Strange", "Started", "an unknown type")
	r.Event(nil, corev1.EventTypeNormal, "Started", "no object")
	for _, q := range r.queues {
		if len(q) != 0 {
			t.Errorf("%d events queued, want none", len(q))
		}
	}
}
