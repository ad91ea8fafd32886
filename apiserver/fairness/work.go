package fairness

import (
	"math"
	"time"
)

// Work is an estimate of what a request takes.
type Work struct {
	// Seats that it takes while it is served.
	Seats int
	// Final seats that it takes for Extra after it has been answered, while
	// watchers are told of what it changed.
	Final int
	Extra time.Duration
}

// One is the work of most requests.
var One = Work{Seats: 1}

func (w Work) most() int { return max(w.Seats, w.Final) }

const (
	// bytesPerSeat is how much of what a list is made of counts for a seat.
	bytesPerSeat = 100_000
	// listBytes is the most that a list holds at a time, however long it is: it is
	// streamed.
	listBytes = 1_000_000
	// maxListSeats and maxChangeSeats bound the estimates.
	maxListSeats   = 100
	maxChangeSeats = 10
	// watchersPerSeat are told of an event by one seat in eventTime.
	watchersPerSeat = 10
	eventTime       = 5 * time.Millisecond
	// serviceTime is how long a request is thought to take before it is known.
	serviceTime = 3 * time.Millisecond
)

// Collection is what a list is read from.
type Collection struct {
	Objects int
	Bytes   int64
}

// ListWork estimates a list of at most limit objects (0: all) by the size of those
// that are kept. widest is the most that a request may take of its level (0: no bound
// of its own).
func ListWork(from Collection, limit int64, widest int) Work {
	bytes := float64(from.Bytes)
	if limit > 0 && limit < int64(from.Objects) {
		bytes *= float64(limit) / float64(from.Objects)
	}
	seats := int(math.Ceil(min(bytes, listBytes) / bytesPerSeat))
	return Work{Seats: min(max(1, seats), bounded(widest, maxListSeats))}
}

// WidestList is the work of a list of which nothing is known.
func WidestList(widest int) Work { return Work{Seats: bounded(widest, maxListSeats)} }

// ChangeWork estimates a write that so many watchers will be told of. Few are not
// counted, so that a write in a quiet cluster takes no longer.
func ChangeWork(watchers, widest int) Work {
	if watchers < watchersPerSeat {
		return One
	}
	wanted := (watchers + watchersPerSeat - 1) / watchersPerSeat
	final := min(wanted, bounded(widest, maxChangeSeats))
	return Work{Seats: 1, Final: final, Extra: eventTime * time.Duration(wanted) / time.Duration(final)}
}

func bounded(widest, most int) int {
	if widest == 0 || widest > most {
		return most
	}
	return widest
}
