package fairness

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/request"
)

// Seats that a level does not use go to one that needs them, and come back.
func TestBorrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Seats: 100})
		if err != nil {
			t.Fatal(err)
		}
		lender, borrower := queueing(64, 6, 50), queueing(64, 6, 50)
		lender.Name, lender.Spec.Limited.LendablePercent = "lender", ptr.To(int32(50))
		for _, l := range []*flowcontrolv1.PriorityLevelConfiguration{lender, borrower} {
			l.Spec.Limited.BorrowingLimitPercent = nil
		}
		c.Apply([]*flowcontrolv1.FlowSchema{everybody()}, []*flowcontrolv1.PriorityLevelConfiguration{lender, borrower})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { c.Run(ctx) })
		seats := func(level string) int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.levels[level].seats
		}
		s := &server{c, nil}
		for range 100 {
			running.Go(func() {
				if turn, err := s.begin(ctx, "a", One, time.Hour); err == nil {
					<-ctx.Done()
					turn.End()
				}
			})
		}
		time.Sleep(3 * adjustEvery)
		synctest.Wait()
		if l, b := seats("lender"), seats("level"); l != 25 || b != 75 {
			t.Errorf("the lender has %d, the borrower %d", l, b)
		}
		if got := c.levels["level"].level.queues.executing; got < 74 {
			t.Errorf("%d are served", got)
		}
		cancel()
		running.Wait()
		for range 300 {
			time.Sleep(adjustEvery)
			c.adjust()
		}
		if l, b := seats("lender"), seats("level"); l < 30 || b > 70 {
			t.Errorf("long after, the lender has %d, the borrower %d", l, b)
		}
	})
}

// A level that is deleted serves those who are in it, and is forgotten then, with
// its metrics. Those who come meanwhile go elsewhere.
func TestDeletedLevelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 1, queueing(4, 1, 10))
		first, err := s.begin(t.Context(), "a", One, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error)
		go func() {
			turn, err := s.begin(t.Context(), "a", One, time.Hour)
			if err == nil {
				turn.End()
			}
			second <- err
		}()
		synctest.Wait()
		s.Apply([]*flowcontrolv1.FlowSchema{everybody()}, nil)
		if got := s.Classify(path("get", "/x"), &user.DefaultInfo{Name: "a"}).Level(); got != "catch-all" {
			t.Errorf("a new request is at %s", got)
		}
		s.adjust()
		if s.levels["level"] == nil || !s.levels["level"].leaving {
			t.Error("the level is gone while it is in use")
		}
		first.End()
		if err := <-second; err != nil {
			t.Errorf("who waited was not served: %v", err)
		}
		s.adjust()
		if s.levels["level"] != nil {
			t.Error("the level is still there")
		}
		if n := s.metric(t, "dispatched_requests_total", "priority_level", "level") + s.metric(t, "nominal_limit_seats", "priority_level", "level"); n != 0 {
			t.Errorf("its metrics are still there: %v", n)
		}
		s.atRest(t)
	})
}

// A change of the configuration while requests run and wait loses none of them.
func TestChangesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 8, queueing(16, 2, 50))
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		var mu sync.Mutex
		outcome := map[string]int{}
		for i := range 100 {
			wait.Go(func() {
				for ctx.Err() == nil {
					class := s.Classify(&request.Info{Verb: "get", Path: "/x"}, &user.DefaultInfo{Name: fmt.Sprint(i % 7), Groups: []string{user.AllAuthenticated}})
					turn, err := class.Begin(t.Context(), Work{Seats: 1 + i%3, Final: i % 5, Extra: time.Millisecond}, time.Second)
					how := "served"
					if err == nil {
						time.Sleep(time.Duration(1+i%4) * time.Millisecond)
						turn.End()
					} else {
						how = err.(*Refusal).Reason
						time.Sleep(time.Millisecond)
					}
					mu.Lock()
					outcome[how]++
					mu.Unlock()
				}
			})
		}
		for i := range 200 {
			time.Sleep(5 * time.Millisecond)
			var levels []*flowcontrolv1.PriorityLevelConfiguration
			switch i % 4 {
			case 0:
				levels = append(levels, queueing(16, 2, 50))
			case 1:
				levels = append(levels, queueing(0, 0, 0))
			case 2:
				levels = append(levels, queueing(1, 1, 3))
			}
			s.Apply([]*flowcontrolv1.FlowSchema{everybody()}, levels)
		}
		cancel()
		wait.Wait()
		time.Sleep(time.Second)
		s.adjust()
		s.atRest(t)
		if outcome["served"] < 500 || outcome["concurrency-limit"] == 0 || outcome["queue-full"] == 0 {
			t.Errorf("%v", outcome)
		}
	})
}

// Mandatory objects are there although nobody has made them; a schema and a level
// that nobody should have been able to make do no harm.
func TestWithoutObjects(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	broken := []*flowcontrolv1.PriorityLevelConfiguration{{}, queueing(4, 1, 0), queueing(10_000_000, 50, 1)}
	broken[1].Spec.Type = flowcontrolv1.PriorityLevelEnablementExempt
	for i, want := range []map[string]int{{"exempt": 0, "catch-all": 600}} {
		c.Apply([]*flowcontrolv1.FlowSchema{{}}, broken[:1+i])
		got := map[string]int{}
		for name, s := range c.levels {
			got[name] = s.limits.nominal
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, level := range broken {
		c.Apply(bootstrap.SuggestedFlowSchemas, []*flowcontrolv1.PriorityLevelConfiguration{level})
	}
	class := c.Classify(object("get", "", "pods", "x"), &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}})
	if class.Level() != "catch-all" || class.Schema() != "catch-all" {
		t.Errorf("%s at %s", class.Schema(), class.Level())
	}
	if _, err := New(Config{Seats: -1}); err == nil {
		t.Error("a negative number of seats")
	}
}

// Ten million queues take no more memory than those that are in use.
func TestManyQueuesCostNothing(t *testing.T) {
	s := newServer(t, 1, queueing(10_000_000, 2, 50))
	turn, err := s.begin(t.Context(), "a", One, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.levels["level"].level.queues.byIndex); n != 1 {
		t.Errorf("%d queues for one request", n)
	}
	turn.End()
	s.atRest(t)
}
