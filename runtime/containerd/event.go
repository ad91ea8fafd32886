package containerd

import (
	"context"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/typeurl/v2"

	"github.com/strake-io/strake/runtime"
)

// eventBuffer is how many events wait for a slow receiver.
const eventBuffer = 1024

// Events implements [runtime.EventSource].
func (r *Runtime) Events(ctx context.Context) (<-chan runtime.Event, error) {
	to := make(chan runtime.Event, eventBuffer)
	r.mu.Lock()
	r.subscribers[to] = struct{}{}
	r.mu.Unlock()
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, to)
		close(to)
	})
	return to, nil
}

func (r *Runtime) publish(e runtime.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to := range r.subscribers {
		select {
		case to <- e:
		default: // the receiver lists now and then anyway
		}
	}
}

// followOOM notes which containers ran out of memory. The control group says it
// too, but is gone where another process cleared up.
func (r *Runtime) followOOM(ctx context.Context) {
	for ctx.Err() == nil {
		r.followOOMOnce(ctx)
		_ = sleep(ctx, time.Second)
	}
}

func (r *Runtime) followOOMOnce(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, errs := r.client.Subscribe(ctx, `topic=="/tasks/oom",namespace==`+r.config.Namespace)
	for {
		select {
		case e := <-events:
			if e == nil {
				return
			}
			decoded, err := typeurl.UnmarshalAny(e.Event)
			if err != nil {
				continue
			}
			if oom, ok := decoded.(*apievents.TaskOOM); ok {
				r.mu.Lock()
				if c := r.containers[oom.ContainerID]; c != nil {
					c.oom.Store(true)
				}
				r.mu.Unlock()
			}
		case err := <-errs:
			if err != nil && ctx.Err() == nil {
				r.log.V(1).Info("containerd's events ended", "error", err.Error())
			}
			return
		}
	}
}
