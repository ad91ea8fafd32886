package fake

import (
	"context"

	"github.com/strake-io/strake/runtime"
)

type subscriber struct{ to chan runtime.Event }

// Events implements [runtime.EventSource].
func (r *Runtime) Events(ctx context.Context) (<-chan runtime.Event, error) {
	s := &subscriber{to: make(chan runtime.Event, r.config.EventBuffer)}
	r.mu.Lock()
	r.subscribers[s] = struct{}{}
	r.mu.Unlock()
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, s)
		close(s.to)
	})
	return s.to, nil
}

// publish tells everyone who has room. Call with mu held.
func (r *Runtime) publish(e runtime.Event) {
	for s := range r.subscribers {
		select {
		case s.to <- e:
		default:
		}
	}
}
