package stages

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// log records what happens, in order.
type log struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *log) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *log) stage(name string, err error) Stage {
	ready := make(chan struct{})
	return Stage{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		l.say("+" + name)
		if err != nil {
			return err
		}
		close(ready)
		<-ctx.Done()
		l.say("-" + name)
		return nil
	}}
}

func TestRunKeepsTheOrder(t *testing.T) {
	var l log
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, func() { l.say("ready"); cancel() }, l.stage("a", nil), l.stage("b", nil), l.stage("c", nil))
	if err != nil {
		t.Error(err)
	}
	if want := []string{"+a", "+b", "+c", "ready", "-c", "-b", "-a"}; !slices.Equal(l.lines, want) {
		t.Errorf("%v, want %v", l.lines, want)
	}
}

func TestAFailureStopsTheRest(t *testing.T) {
	var l log
	broken := errors.New("broken")
	err := Run(t.Context(), func() { l.say("ready") }, l.stage("a", nil), l.stage("b", broken), l.stage("c", nil))
	if !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	if want := []string{"+a", "+b", "-a"}; !slices.Equal(l.lines, want) {
		t.Errorf("%v, want %v", l.lines, want)
	}
}

func TestEndingEarlyIsAFailure(t *testing.T) {
	err := Run(t.Context(), func() {}, Stage{Name: "a", Run: func(context.Context) error { return nil }})
	if err == nil {
		t.Error("no error")
	}
}
