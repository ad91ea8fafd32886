package podstep

import "time"

const (
	// InitialBackoff is the wait before the second restart of a container.
	InitialBackoff = 10 * time.Second
	// MaxBackoff is the longest wait before a restart.
	MaxBackoff = 300 * time.Second
	// backoffReset is how long a container must live for its back-off to be forgotten.
	backoffReset = 2 * MaxBackoff
)

// Backoff is how long restarts of a container, or pulls of an image, are held
// up. The zero value holds nothing up.
type Backoff struct {
	Delay   time.Duration
	Updated time.Time
}

// Until is when something that ended at "ended" may begin again.
func (b Backoff) Until(ended time.Time) time.Time {
	if b.Delay == 0 || ended.Sub(b.Updated) > backoffReset {
		return time.Time{}
	}
	return ended.Add(b.Delay)
}

// Advance is the back-off after one more start at now of what ended at "ended".
func (b Backoff) Advance(ended, now time.Time) Backoff {
	if b.Delay == 0 || ended.Sub(b.Updated) > backoffReset {
		return Backoff{Delay: InitialBackoff, Updated: now}
	}
	return Backoff{Delay: min(2*b.Delay, MaxBackoff), Updated: now}
}
