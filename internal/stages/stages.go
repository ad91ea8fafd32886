// Package stages runs the parts of a program in order: each begins when the one
// before is ready, and on the way down each ends before the one that it stands on.
package stages

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Stage is one part, or several that need no order between them.
type Stage struct {
	// Name for errors.
	Name string
	// Run blocks until its context ends and returns nil then, as every Run of
	// Strake does. An earlier return, or an error, ends all stages.
	Run func(ctx context.Context) error
	// Ready is closed when the next stage may begin; nil: at once.
	Ready <-chan struct{}
}

// Run starts the stages in order, calls ready once the last is, and blocks until
// ctx ends or a stage does. It then stops them in reverse order, each before the
// next, and returns what went wrong, nil if nothing did.
func Run(ctx context.Context, ready func(), stages ...Stage) error {
	var up []*running
	failed := make(chan struct{})
	fail := sync.OnceFunc(func() { close(failed) })
	for _, s := range stages {
		up = append(up, start(context.WithoutCancel(ctx), s, fail))
		if s.Ready == nil {
			continue
		}
		select {
		case <-s.Ready:
			continue
		case <-ctx.Done():
		case <-failed:
		}
		return stop(up)
	}
	ready()
	select {
	case <-ctx.Done():
	case <-failed:
	}
	return stop(up)
}

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

func start(ctx context.Context, s Stage, fail func()) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{name: s.Name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		err := s.Run(ctx)
		switch {
		case err != nil:
			r.err = fmt.Errorf("%s: %w", s.Name, err)
			fail()
		case ctx.Err() == nil:
			r.err = fmt.Errorf("%s: ended by itself", s.Name)
			fail()
		}
	}()
	return r
}

func stop(list []*running) error {
	var errs []error
	for i := len(list) - 1; i >= 0; i-- {
		list[i].cancel()
		<-list[i].done
		errs = append(errs, list[i].err)
	}
	return errors.Join(errs...)
}
