package fairness

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/util/shufflesharding"
)

// table is a set of queues with a hand of one, so that a hash is the number of a
// queue, and a clock.
type table struct {
	queues
	t   *testing.T
	now time.Time
	run []*Turn
	// kept are the seats of answered requests that came by no queue.
	kept int
}

func newTable(t *testing.T, queues, limit, length int) *table {
	t.Helper()
	s := &table{t: t, now: time.Unix(1000, 0)}
	config := queuing{length: length}
	if queues > 0 {
		dealer, err := shufflesharding.NewDealer(queues, 1)
		if err != nil {
			t.Fatal(err)
		}
		config.dealer = dealer
	}
	s.configure(s.now, config, limit)
	return s
}

func (s *table) after(d time.Duration) { s.now = s.now.Add(d) }

// come adds a request to a queue; nil where it is refused.
func (s *table) come(queue int, work Work) *Turn {
	turn := &Turn{work: work}
	if !s.arrive(s.now, turn, uint64(queue)) {
		return nil
	}
	s.check()
	return turn
}

// start executes all that there are seats for, and tells by which queues they came.
func (s *table) start() string {
	var order []string
	for {
		turn, _ := s.next(s.now)
		if turn == nil {
			s.check()
			return strings.Join(order, " ")
		}
		s.run = append(s.run, turn)
		order = append(order, fmt.Sprint(turn.queue.index))
	}
}

// end ends the one that was started first.
func (s *table) end() {
	turn := s.run[0]
	s.run = s.run[1:]
	s.finish(s.now, turn)
	s.release(s.now, turn)
	s.check()
}

// check adds everything up.
func (s *table) check() {
	s.t.Helper()
	type sums struct{ waiting, executing, taken, wanted, active, backlog int }
	want := sums{taken: s.kept}
	for index, q := range s.byIndex {
		want.waiting += q.waiting.n
		want.executing += q.executing.n
		want.taken += q.taken
		seats, work := 0, 0.0
		q.waiting.each(func(t *Turn) { seats += t.work.most(); work += t.totalWork })
		want.wanted += seats
		if !q.idle() {
			want.active++
		}
		if q.waiting.n > 0 {
			want.backlog++
			if s.backlog[q.inBacklog] != q || q.start < q.waiting.first.arrivedAt {
				s.t.Fatalf("queue %d: %+v", index, q)
			}
		}
		if q.index != index || q.seats != seats || q.work-work > 1e-6 || work-q.work > 1e-6 || q.idle() && q.taken == 0 {
			s.t.Fatalf("queue %d: %+v, want %d seats and work of %v", index, q, seats, work)
		}
	}
	s.unqueued.each(func(t *Turn) { want.executing++; want.taken += t.work.most() })
	got := sums{s.waiting, s.executing, s.taken, s.wanted, s.active, len(s.backlog)}
	if got != want {
		s.t.Fatalf("%+v, want %+v", got, want)
	}
}

func TestQueuesTakeTurns(t *testing.T) {
	s := newTable(t, 4, 1, 10)
	for range 4 {
		s.come(0, One)
	}
	for range 2 {
		s.come(1, One)
	}
	s.come(2, One)
	var order []string
	for range 7 {
		order = append(order, s.start())
		s.after(serviceTime)
		s.end()
	}
	if diff := cmp.Diff("1 2 0 1 0 0 0", strings.Join(order, " ")); diff != "" {
		t.Error(diff)
	}
	if len(s.byIndex) != 0 || len(s.backlog) != 0 || !s.idle() || s.demand() != 0 {
		t.Errorf("left over: %+v", s.queues)
	}
}

// Who asks for more is served less often.
func TestWideRequestsCost(t *testing.T) {
	s := newTable(t, 4, 4, 100)
	for range 40 {
		s.come(0, Work{Seats: 4})
		s.come(1, One)
	}
	served := map[string]int{}
	for range 25 {
		for _, queue := range strings.Fields(s.start()) {
			served[queue]++
		}
		s.after(serviceTime)
		for len(s.run) > 0 {
			s.end()
		}
	}
	if wide, narrow := served["0"], served["1"]; wide*4 < narrow*3/4 || wide*4 > narrow*4/3 {
		t.Errorf("%d wide requests of 4 seats for %d of one: want as many seats", wide, narrow)
	}
}

// A request that takes longer than was thought is paid for by its queue.
func TestSlowRequestsCost(t *testing.T) {
	s := newTable(t, 4, 1, 1000)
	for range 500 {
		s.come(0, One)
		s.come(1, One)
	}
	spent := map[string]time.Duration{}
	for range 200 {
		queue := s.start()
		takes := map[string]time.Duration{"0": 9 * time.Millisecond, "1": time.Millisecond}[queue]
		spent[queue] += takes
		s.after(takes)
		s.end()
	}
	if a, b := spent["0"], spent["1"]; a > b*5/4 || b > a*5/4 {
		t.Errorf("one queue had %v, the other %v: want the same", a, b)
	}
}

// A queue that took less than its part for long, and was never empty, has not saved
// up the rest.
func TestNothingIsSavedUp(t *testing.T) {
	s := newTable(t, 4, 4, 10_000)
	for range 5000 {
		s.come(1, One)
	}
	s.come(0, One)
	step := func(meanwhile func()) string {
		order := s.start()
		s.after(serviceTime)
		meanwhile()
		for len(s.run) > 0 {
			s.end()
		}
		return order
	}
	for range 1000 {
		if order := step(func() { s.come(0, One) }); strings.Count(order, "0") != 1 || strings.Count(order, "1") != 3 {
			t.Fatalf("served %s: want the one of queue 0", order)
		}
	}
	for range 100 {
		s.come(0, One)
		s.come(2, One)
	}
	served := ""
	for range 10 {
		served += step(func() {})
	}
	if old, fresh := strings.Count(served, "0"), strings.Count(served, "2"); old > fresh+2 || fresh > old+2 {
		t.Errorf("%d were of the queue that had taken less, %d of one that has just come", old, fresh)
	}
}

func TestWidthsAndLimits(t *testing.T) {
	s := newTable(t, 4, 3, 10)
	s.come(0, Work{Seats: 2})
	s.come(1, Work{Seats: 2})
	s.come(2, One)
	if got := s.start(); got != "2 0" {
		t.Fatalf("started %s: want those that fit, the narrow one first", got)
	}
	// The third seat is kept for the wide one: nobody overtakes it.
	s.come(3, Work{Seats: 5})
	if turn, held := s.next(s.now); turn != nil || held != nil {
		t.Errorf("all seats are taken, and yet %v %v", turn, held)
	}
	s.end()
	if turn, held := s.next(s.now); turn != nil || held == nil || held.work.Seats != 2 {
		t.Errorf("one of two seats is free: %v %v", turn, held)
	}
	s.after(serviceTime)
	s.end()
	if got := s.start(); got != "1" {
		t.Errorf("started %q", got)
	}
	// What is wider than the level is served alone.
	s.after(serviceTime)
	s.end()
	if got := s.start(); got != "3" || s.taken != 5 {
		t.Errorf("started %q with %d seats", got, s.taken)
	}
	s.end()
	// What follows a write is made to fit, and takes as much longer.
	wide := s.come(0, Work{Seats: 1, Final: 9, Extra: 10 * time.Millisecond})
	s.start()
	if wide.work.Final != 3 || wide.work.Extra != 30*time.Millisecond {
		t.Errorf("%+v", wide.work)
	}
	s.end()
}

func TestFullQueue(t *testing.T) {
	s := newTable(t, 2, 1, 2)
	s.come(0, One)
	s.start()
	if s.come(0, One) == nil || s.come(0, One) == nil || s.come(0, One) != nil {
		t.Error("a queue of two takes two")
	}
	if s.come(1, One) == nil {
		t.Error("the other queue has room")
	}
}

func TestWithoutQueues(t *testing.T) {
	s := newTable(t, 0, 2, 0)
	s.run = append(s.run, s.come(0, One), s.come(0, One))
	if s.come(0, One) != nil {
		t.Error("a third has no seat and nowhere to wait")
	}
	s.end()
	if s.come(0, Work{Seats: 2}) != nil {
		t.Error("half a request was served")
	}
	s.end()
	wide := s.come(0, Work{Seats: 9})
	if wide == nil || s.come(0, One) != nil {
		t.Error("what is wider than the level is served alone")
	}
}

// A level that has no seats at all serves nobody who waits.
func TestNoSeats(t *testing.T) {
	s := newTable(t, 2, 0, 2)
	turn := s.come(0, One)
	if got := s.start(); got != "" {
		t.Errorf("started %s", got)
	}
	s.leave(s.now, turn)
	s.check()
	if !s.idle() {
		t.Error("not idle")
	}
}

// Whatever comes, ends, leaves and changes in whatever order, the sums are right, and
// nothing is left in the end.
func TestQueuesInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	s := newTable(t, 8, 4, 6)
	dealers := map[int]*shufflesharding.Dealer{}
	for _, n := range []int{2, 8, 64} {
		dealers[n], _ = shufflesharding.NewDealer(n, 2)
	}
	var waiting, answered []*Turn
	refused := 0
	for range 50_000 {
		s.after(time.Duration(random.IntN(3000)) * time.Microsecond)
		switch random.IntN(8) {
		case 0, 1, 2:
			turn := s.come(random.IntN(1000), Work{Seats: 1 + random.IntN(5), Final: random.IntN(6), Extra: time.Duration(random.IntN(3)) * time.Millisecond})
			switch {
			case turn == nil:
				refused++
			case turn.executing:
				s.run = append(s.run, turn)
			default:
				waiting = append(waiting, turn)
			}
		case 3, 4:
			s.start()
			still := waiting[:0]
			for _, turn := range waiting {
				if !turn.executing {
					still = append(still, turn)
				}
			}
			waiting = still
		case 5:
			if len(s.run) > 0 {
				turn := s.run[0]
				s.run = s.run[1:]
				s.finish(s.now, turn)
				answered = append(answered, turn)
				if turn.queue == nil {
					s.kept += turn.work.most()
				}
				s.check()
			}
		case 6:
			if len(answered) > 0 {
				s.release(s.now, answered[0])
				if answered[0].queue == nil {
					s.kept -= answered[0].work.most()
				}
				answered = answered[1:]
				s.check()
			}
		case 7:
			if len(waiting) > 0 && random.IntN(3) == 0 {
				i := random.IntN(len(waiting))
				s.leave(s.now, waiting[i])
				waiting = append(waiting[:i], waiting[i+1:]...)
				s.check()
			} else if random.IntN(20) == 0 {
				config := queuing{dealer: dealers[[]int{2, 8, 64}[random.IntN(3)]], length: random.IntN(7)}
				if random.IntN(4) == 0 {
					config = queuing{}
				}
				s.configure(s.now, config, random.IntN(7))
			}
		}
	}
	if refused == 0 {
		t.Error("nobody was refused: the test says little")
	}
	for _, turn := range answered {
		s.release(s.now, turn)
	}
	s.kept = 0
	s.configure(s.now, queuing{}, 5)
	for s.start(); len(s.run) > 0; s.start() {
		s.end()
	}
	if len(s.byIndex) != 0 || !s.idle() || s.demand() != 0 || s.active != 0 {
		t.Errorf("left over: %+v", s.queues)
	}
}
