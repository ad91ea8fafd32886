package program

import (
	"context"
	"errors"
	"time"
)

// Service is what a program runs between its start and its end.
type Service struct {
	// Parts run side by side until their context ends; the first that ends, ends
	// all.
	Parts []func(context.Context) error
	// Ready tells when Announce is due.
	Ready    <-chan struct{}
	Announce func()

	// AfterStop is done once the parts have stopped; nil: nothing.
	AfterStop func(context.Context) error
	// Farewell says what is left.
	Farewell string
}

// stopTimeout bounds what AfterStop may take.
const stopTimeout = time.Minute

// Run serves until ctx ends, then stops all in order, and says so.
func (s Service) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- together(serving, s.Parts) }()
	for ready := s.Ready; ; {
		select {
		case err := <-ended:
			return err // nobody asked it to stop: leave all as it is
		case <-ready:
			s.Announce()
			ready = nil
		case <-ctx.Done():
			Say("Stopping ...")
			stop()
			if err := errors.Join(<-ended, s.afterStop()); err != nil {
				return err
			}
			Say("Stopped. %s", s.Farewell)
			return nil
		}
	}
}

func (s Service) afterStop() error {
	if s.AfterStop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return s.AfterStop(ctx)
}

// together runs all parts until ctx or one of them ends, and returns their errors
// when all have.
func together(ctx context.Context, parts []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(parts))
	for _, part := range parts {
		go func() { errs <- part(ctx) }()
	}
	var all error
	for range parts {
		all = errors.Join(all, <-errs)
		cancel()
	}
	return all
}
