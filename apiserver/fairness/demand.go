package fairness

import (
	"math"
	"time"
)

// demand measures how many seats a level could use over time: those that are taken
// and those that are waited for. It is not safe for concurrent use.
type demand struct {
	since           time.Time
	seats           int
	peak            int
	elapsed         float64 // seconds
	integral        float64 // of the seats
	squaredIntegral float64
}

// observe takes note of a change.
func (d *demand) observe(now time.Time, seats int) {
	d.advance(now)
	d.seats = seats
	d.peak = max(d.peak, seats)
}

func (d *demand) advance(now time.Time) {
	if dt := now.Sub(d.since).Seconds(); dt > 0 && !d.since.IsZero() {
		x := float64(d.seats)
		d.elapsed += dt
		d.integral += x * dt
		d.squaredIntegral += x * x * dt
	}
	d.since = now
}

// measured is the demand over a period.
type measured struct {
	peak               int
	average, deviation float64
	// of says that there was any time to measure over.
	of bool
}

// reset returns what was measured and begins anew.
func (d *demand) reset(now time.Time) measured {
	d.advance(now)
	m := measured{peak: d.peak, of: d.elapsed > 0}
	if m.of {
		m.average = d.integral / d.elapsed
		m.deviation = math.Sqrt(max(0, d.squaredIntegral/d.elapsed-m.average*m.average))
	}
	*d = demand{since: now, seats: d.seats, peak: d.seats}
	return m
}

// decay is how much of the last value remains after each period: half of it is gone
// in 5 minutes.
const decay = 0.977

// smooth is a level's usual need after another period: it follows a rise at once and
// a fall slowly.
func smooth(last float64, m measured) float64 {
	if !m.of {
		return last
	}
	envelope := m.average + m.deviation
	return max(envelope, decay*last+(1-decay)*envelope)
}
