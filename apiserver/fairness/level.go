package fairness

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/request"
)

// level is one priority level at work.
type level struct {
	name    string
	metrics *levelMetrics

	mu     sync.Mutex // guards what follows
	queues queues
	demand demand
	retry  retry
	// Counted since the start, for dumps.
	dispatched, rejected, timedOut, cancelled int
}

// ErrTooManyRequests says that a request is refused, in whatever way.
var ErrTooManyRequests = errors.New("too many requests, please try again later")

// Refusal is the error of a request that is not served. It is an
// [ErrTooManyRequests].
type Refusal struct {
	// RetryAfter is when the client may come back, in seconds.
	RetryAfter int64
	// Reason in upstream's words: "queue-full", "concurrency-limit", "time-out".
	Reason string
}

func (r *Refusal) Error() string { return ErrTooManyRequests.Error() + ": " + r.Reason }

// Unwrap is for errors.Is.
func (r *Refusal) Unwrap() error { return ErrTooManyRequests }

// Turn is a request that is being served. [Turn.End] gives back what it takes.
type Turn struct {
	flow *flow
	work Work
	// Who asks for what, for dumps.
	info          *request.Info
	who           user.Info
	distinguisher string
	watch         bool

	// Guarded by the level's mu.
	before, behind       *Turn
	queue                *queue // nil: it came by none
	arrived, started     time.Time
	arrivedAt            float64 // in virtual time
	totalWork, finalWork float64 // seat-seconds
	executing, ended     bool
	ready                chan struct{} // closed when it is executed; nil: it did not wait
}

// begin waits until t may be served: at most for wait, and no longer than ctx.
func (l *level) begin(ctx context.Context, t *Turn, hash uint64, wait time.Duration) error {
	m := &t.flow.metrics
	now := time.Now()
	l.mu.Lock()
	if !l.queues.arrive(now, t, hash) {
		refusal := l.refuse(now)
		refusal.Reason = "queue-full"
		if l.queues.config.dealer == nil {
			refusal.Reason = "concurrency-limit"
		}
		l.mu.Unlock()
		m.refuse(refusal.Reason, 0)
		return refusal
	}
	queued := 0
	if t.queue != nil {
		queued = t.queue.waiting.n
	}
	l.serve(now)
	l.demand.observe(now, l.queues.demand())
	if !t.executing {
		t.ready = make(chan struct{})
		seats := t.work.most()
		l.mu.Unlock()
		m.queued(queued)
		m.inQueue(1, seats)
		defer m.inQueue(-1, -seats)
		return l.wait(ctx, t, wait)
	}
	l.dispatched++
	exempt := l.queues.config.unlimited
	l.mu.Unlock()
	if t.queue != nil {
		m.queued(queued)
	}
	if !exempt {
		m.waited(0)
	}
	m.begin(t.work.most())
	return nil
}

// serve executes whom there are seats for. The caller holds mu.
func (l *level) serve(now time.Time) {
	for {
		t, held := l.queues.next(now)
		if held != nil {
			held.flow.metrics.unaccommodated.Inc()
		}
		if t == nil {
			return
		}
		if t.ready != nil {
			close(t.ready)
		}
	}
}

// wait is begin for a turn that is in a queue.
func (l *level) wait(ctx context.Context, t *Turn, limit time.Duration) error {
	m := &t.flow.metrics
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	now := time.Now()
	l.mu.Lock()
	waited := now.Sub(t.arrived)
	if t.executing {
		// Even if its time came to an end just now: it has its seats.
		l.dispatched++
		l.mu.Unlock()
		m.waited(waited)
		m.begin(t.work.most())
		return nil
	}
	l.queues.leave(now, t)
	// One that was too wide for the seats may have kept others waiting.
	l.serve(now)
	l.demand.observe(now, l.queues.demand())
	if ctx.Err() != nil {
		l.cancelled++
	} else {
		l.timedOut++
	}
	refusal := l.refuse(now)
	l.mu.Unlock()
	refusal.Reason = "time-out"
	m.refuse(refusal.Reason, waited)
	return refusal
}

// refuse counts a refusal. The caller holds mu.
func (l *level) refuse(now time.Time) *Refusal {
	l.rejected++
	return &Refusal{RetryAfter: l.retry.refuse(now.Unix())}
}

// End says that the request has been served, as far as it counts: of a watch that is
// when it has begun. Seats for what follows a write are kept a little longer. It may
// be called more than once, by one goroutine at a time.
func (t *Turn) End() {
	l := t.flow.level
	now := time.Now()
	l.mu.Lock()
	if t.ended {
		l.mu.Unlock()
		return
	}
	t.ended = true
	l.queues.finish(now, t)
	extra := t.work.Extra
	if extra <= 0 {
		l.queues.release(now, t)
	}
	l.serve(now)
	l.demand.observe(now, l.queues.demand())
	seats, served := t.work.most(), now.Sub(t.started)
	l.mu.Unlock()
	t.flow.metrics.end(served, t.watch)
	if extra > 0 {
		time.AfterFunc(extra, t.release)
		return
	}
	t.flow.metrics.release(seats)
}

// release gives back the seats of a turn that has been served for some time.
func (t *Turn) release() {
	l := t.flow.level
	now := time.Now()
	l.mu.Lock()
	seats := t.work.most()
	l.queues.release(now, t)
	l.serve(now)
	l.demand.observe(now, l.queues.demand())
	l.mu.Unlock()
	t.flow.metrics.release(seats)
}

// configure changes how requests wait, and for how many seats.
func (l *level) configure(config queuing, seats int) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queues.configure(now, config, seats)
	l.serve(now)
	l.demand.observe(now, l.queues.demand())
}

// measure returns the demand since the last call.
func (l *level) measure() measured {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.demand.reset(time.Now())
}

// peak is the most that the level could have used since it was measured.
func (l *level) peak() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.demand.peak
}

func (l *level) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queues.idle()
}
