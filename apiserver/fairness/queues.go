package fairness

import (
	"time"

	"k8s.io/apiserver/pkg/util/shufflesharding"
)

// queues decide in which order the requests of one level are served: fair queuing
// in virtual time, with the widths of requests, over queues that flows are dealt to
// (KEP-1040, and Nagle, "On Packet Switches With Infinite Storage"). They know no
// clock and no lock.
//
// Virtual time is in seat-seconds: how much a queue that always had requests would
// have been given so far. A queue's next request starts, in the virtual world, when
// the work of those before it would have been done, had each queue been given its
// even part; the one that would end first is served first.
type queues struct {
	config queuing
	limit  int // seats

	// virtual is the virtual time at the time at.
	virtual float64
	at      time.Time

	// byIndex has the queues that are in use: of as many as there may be, each
	// takes memory only while it holds a request. spare are kept for reuse.
	byIndex map[int]*queue
	spare   []*queue
	// backlog are those with requests that wait, active how many have any request.
	backlog []*queue
	active  int
	// unqueued are requests that are served and came by no queue.
	unqueued turns

	waiting, executing int // requests
	taken, wanted      int // seats

	served  int // index of the queue that was served last
	arrived int // requests that were queued
}

// queuing is how requests of a level wait.
type queuing struct {
	// unlimited: they do not, however many there are.
	unlimited bool
	// dealer deals queues to flows; nil: nobody waits, who finds no seat is refused.
	dealer *shufflesharding.Dealer
	// length of each queue.
	length int
}

// maxSpare is how many queues without requests are kept.
const maxSpare = 64

type queue struct {
	index int
	// start is the virtual time at which the next request starts.
	start     float64
	waiting   turns
	executing turns
	taken     int // seats, also of requests that have been answered

	// Of the requests that wait.
	seats int
	work  float64

	inBacklog int // index there; -1: not in it
}

func (q *queue) idle() bool { return q.waiting.n == 0 && q.executing.n == 0 }

// bound keeps a queue from saving up what it did not use: nothing starts before it
// came.
func (q *queue) bound() {
	if t := q.waiting.first; t != nil {
		q.start = max(q.start, t.arrivedAt)
	}
}

// configure changes what holds for requests that come from now on; those that wait
// keep waiting where they are.
func (s *queues) configure(now time.Time, config queuing, limit int) {
	s.advance(now)
	s.config, s.limit = config, limit
}

// advance moves virtual time on, by what has been true since the last call. It comes
// before every change.
func (s *queues) advance(now time.Time) {
	elapsed := now.Sub(s.at).Seconds()
	s.at = now
	if s.active == 0 {
		// Nothing refers to it.
		s.virtual = 0
		return
	}
	if elapsed > 0 {
		s.virtual += elapsed * float64(min(s.taken+s.wanted, s.limit)) / float64(s.active)
	}
}

// demand is how many seats could be used.
func (s *queues) demand() int { return s.taken + s.wanted }

// arrive puts a turn where it waits, or has it executed at once where nobody does.
// It is false for one that is refused. Turns that wait are executed by next.
func (s *queues) arrive(now time.Time, t *Turn, hash uint64) bool {
	s.advance(now)
	t.arrived, t.arrivedAt = now, s.virtual
	t.finalWork = float64(t.work.Final) * t.work.Extra.Seconds()
	t.totalWork = float64(t.work.Seats)*serviceTime.Seconds() + t.finalWork
	if s.config.dealer == nil {
		if !s.fits(t) {
			return false
		}
		s.unqueued.push(t)
		s.execute(now, t)
		return true
	}
	q := s.deal(hash)
	if s.taken >= s.limit && q.waiting.n >= s.config.length {
		s.drop(q)
		return false
	}
	if q.idle() {
		q.start = s.virtual
		s.active++
	}
	t.queue = q
	q.waiting.push(t)
	q.seats += t.work.most()
	q.work += t.totalWork
	s.waiting++
	s.wanted += t.work.most()
	if q.inBacklog < 0 {
		q.inBacklog = len(s.backlog)
		s.backlog = append(s.backlog, q)
	}
	q.bound()
	return true
}

// deal gives a flow its hand of queues and takes the one of them with the least work
// waiting.
func (s *queues) deal(hash uint64) *queue {
	var cards [16]int
	hand := s.config.dealer.DealIntoHand(hash, cards[:0])
	// Not always from the first: hands overlap.
	s.arrived++
	first := s.arrived % len(hand)
	best, bestWork := -1, 0.0
	for i := range hand {
		index := hand[(first+i)%len(hand)]
		work := 0.0
		if q := s.byIndex[index]; q != nil {
			work = q.work
		}
		if best < 0 || work < bestWork {
			best, bestWork = index, work
		}
	}
	q := s.byIndex[best]
	if q == nil {
		if n := len(s.spare); n > 0 {
			q, s.spare = s.spare[n-1], s.spare[:n-1]
		} else {
			q = &queue{}
		}
		*q = queue{index: best, inBacklog: -1}
		if s.byIndex == nil {
			s.byIndex = map[int]*queue{}
		}
		s.byIndex[best] = q
	}
	return q
}

// fits says whether there are seats for a turn. One that is wider than the level is
// served alone.
func (s *queues) fits(t *Turn) bool {
	seats := t.work.most()
	switch {
	case s.config.unlimited:
		return true
	case seats > s.limit:
		return s.executing == 0
	}
	return s.taken+seats <= s.limit
}

// next executes the turn that is to be served next. It is nil where none is, and
// held is the one that waits for more seats than are free: nobody overtakes it.
func (s *queues) next(now time.Time) (t, held *Turn) {
	if s.waiting == 0 || s.taken >= s.limit {
		return nil, nil
	}
	s.advance(now)
	var best *queue
	var bestEnd float64
	for _, q := range s.backlog {
		end := q.start + q.waiting.first.totalWork
		// Of equals the one that is next in turn: unsigned, so that it goes round.
		if best == nil || end < bestEnd || end == bestEnd && uint32(q.index-s.served-1) < uint32(best.index-s.served-1) {
			best, bestEnd = q, end
		}
	}
	t = best.waiting.first
	if !s.fits(t) {
		return nil, t
	}
	s.unqueue(best, t)
	if t.work.Final > s.limit {
		// The same work, narrower and longer.
		t.work.Final = max(1, s.limit)
		t.work.Extra = time.Duration(t.finalWork / float64(t.work.Final) * float64(time.Second))
	}
	s.served = best.index
	best.start += t.totalWork
	best.bound()
	best.executing.push(t)
	best.taken += t.work.most()
	s.execute(now, t)
	return t, nil
}

// unqueue takes a turn out of the queue in which it waits.
func (s *queues) unqueue(q *queue, t *Turn) {
	q.waiting.remove(t)
	q.seats -= t.work.most()
	q.work = max(0, q.work-t.totalWork)
	s.waiting--
	s.wanted -= t.work.most()
	if q.waiting.n > 0 {
		return
	}
	q.work = 0
	last := len(s.backlog) - 1
	s.backlog[q.inBacklog] = s.backlog[last]
	s.backlog[q.inBacklog].inBacklog = q.inBacklog
	s.backlog[last] = nil
	s.backlog = s.backlog[:last]
	q.inBacklog = -1
}

func (s *queues) execute(now time.Time, t *Turn) {
	t.executing, t.started = true, now
	s.executing++
	s.taken += t.work.most()
}

// leave takes out a turn that does not wait any longer.
func (s *queues) leave(now time.Time, t *Turn) {
	s.advance(now)
	q := t.queue
	s.unqueue(q, t)
	q.bound()
	if q.idle() {
		s.active--
	}
	s.drop(q)
}

// finish takes note that a turn has been served: what it took more or less than was
// thought counts for its queue. It keeps its seats until release.
func (s *queues) finish(now time.Time, t *Turn) {
	s.advance(now)
	s.executing--
	q := t.queue
	if q == nil {
		s.unqueued.remove(t)
		return
	}
	q.executing.remove(t)
	q.start -= float64(t.work.Seats) * (serviceTime - now.Sub(t.started)).Seconds()
	q.bound()
	if q.idle() {
		s.active--
	}
}

// release gives a turn's seats back.
func (s *queues) release(now time.Time, t *Turn) {
	s.advance(now)
	s.taken -= t.work.most()
	if q := t.queue; q != nil {
		q.taken -= t.work.most()
		s.drop(q)
	}
}

// drop forgets a queue that holds nothing.
func (s *queues) drop(q *queue) {
	if !q.idle() || q.taken > 0 {
		return
	}
	delete(s.byIndex, q.index)
	if len(s.spare) < maxSpare {
		s.spare = append(s.spare, q)
	}
}

func (s *queues) idle() bool { return s.waiting == 0 && s.executing == 0 }
