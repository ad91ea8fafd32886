package apiserver

import (
	"context"
	"sync/atomic"
)

// limiter bounds how many requests are served at a time. Those above wait in the
// order that channels give; those above ten times as many are refused.
type limiter struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newLimiter(n int) *limiter { return &limiter{slots: make(chan struct{}, n)} }

// take waits for a slot. False means that the request is refused.
func (l *limiter) take(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	if l.waiting.Add(1) > int64(10*cap(l.slots)) {
		l.waiting.Add(-1)
		return false
	}
	defer l.waiting.Add(-1)
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *limiter) giveBack() { <-l.slots }
