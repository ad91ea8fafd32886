package program

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// until is a part that ends with its context.
func until(err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		return err
	}
}

func TestServiceStopsInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	close(ready)
	var happened []string
	note := func(what string) func(context.Context) error {
		return func(ctx context.Context) error {
			happened = append(happened, what)
			return ctx.Err()
		}
	}
	err := Service{
		Parts: []func(context.Context) error{func(ctx context.Context) error {
			<-ctx.Done()
			return note("part")(context.Background())
		}},
		Ready:     ready,
		Announce:  func() { happened = append(happened, "ready"); cancel() },
		AfterStop: note("after"),
	}.Run(ctx)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"ready", "part", "after"}, happened); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

func TestServiceFails(t *testing.T) {
	broken, late := errors.New("broken"), errors.New("late")
	err := Service{
		Parts:     []func(context.Context) error{func(context.Context) error { return broken }, until(late)},
		AfterStop: func(context.Context) error { t.Error("a failed service is left as it is"); return nil },
	}.Run(t.Context())
	if !errors.Is(err, broken) || !errors.Is(err, late) {
		t.Errorf("error %v, want both %v and %v", err, broken, late)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	after := false
	err = Service{
		Parts:     []func(context.Context) error{until(broken)},
		AfterStop: func(context.Context) error { after = true; return late },
	}.Run(ctx)
	if !errors.Is(err, broken) || !errors.Is(err, late) || !after {
		t.Errorf("error %v, want both %v and %v; the last step done: %v", err, broken, late, after)
	}
}
