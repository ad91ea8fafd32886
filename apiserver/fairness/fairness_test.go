package fairness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/request"
)

// server is a controller with one level for everybody.
type server struct {
	*Controller
	registry *prometheus.Registry
}

func newServer(t *testing.T, seats int, level *flowcontrolv1.PriorityLevelConfiguration) *server {
	t.Helper()
	registry := prometheus.NewRegistry()
	c, err := New(Config{Seats: seats, Registerer: registry, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	c.Apply([]*flowcontrolv1.FlowSchema{everybody()}, []*flowcontrolv1.PriorityLevelConfiguration{level})
	return &server{c, registry}
}

func (s *server) begin(ctx context.Context, who string, work Work, wait time.Duration) (*Turn, error) {
	class := s.Classify(&request.Info{Verb: "get", Path: "/x"}, &user.DefaultInfo{Name: who})
	return class.Begin(ctx, work, wait)
}

// metric is the sum of a metric over the labels that are not given.
func (s *server) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "apiserver_flowcontrol_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && has[labels[i]] == labels[i+1]
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// atRest fails where anything is left of requests.
func (s *server) atRest(t *testing.T) {
	t.Helper()
	for _, name := range []string{"current_inqueue_requests", "current_inqueue_seats", "current_executing_requests", "current_executing_seats"} {
		if v := s.metric(t, name); v != 0 {
			t.Errorf("%s is %v at rest", name, v)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, state := range s.levels {
		l := state.level
		l.mu.Lock()
		if q := &l.queues; !q.idle() || q.demand() != 0 || len(q.byIndex) != 0 || q.unqueued.n != 0 {
			t.Errorf("%s at rest: %+v", name, q)
		}
		l.mu.Unlock()
	}
}

// An elephant with a thousand requests at once does not keep the mice waiting, and
// still gets what they leave.
func TestElephantAndMice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 10, queueing(64, 6, 200))
		const takes = 10 * time.Millisecond
		var wait sync.WaitGroup
		var mu sync.Mutex
		slowest, elephants, refused := time.Duration(0), 0, 0
		for range 1000 {
			wait.Go(func() {
				turn, err := s.begin(t.Context(), "elephant", One, time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
					return
				}
				elephants++
				mu.Unlock()
				time.Sleep(takes)
				turn.End()
				mu.Lock()
			})
		}
		synctest.Wait()
		for mouse := range 20 {
			wait.Go(func() {
				for range 20 {
					begun := time.Now()
					turn, err := s.begin(t.Context(), fmt.Sprint("mouse", mouse), One, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					slowest = max(slowest, time.Since(begun))
					mu.Unlock()
					time.Sleep(takes)
					turn.End()
				}
			})
		}
		begun := time.Now()
		wait.Wait()
		// 10 seats do 1000 requests a second; the elephant's would take one, and it
		// has a hand of 6 queues.
		if took := time.Since(begun); took > 1500*time.Millisecond {
			t.Errorf("all took %v: seats were left empty", took)
		}
		if slowest > 150*time.Millisecond {
			t.Errorf("a mouse waited for %v", slowest)
		}
		if elephants+refused != 1000 || elephants < 500 {
			t.Errorf("%d of the elephant's requests were served, %d refused", elephants, refused)
		}
		time.Sleep(time.Minute)
		s.atRest(t)
	})
}

// While all want more than there is, each flow gets the same, however many requests
// it has.
func TestFlowsShareAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 4, queueing(128, 1, 500))
		clients := map[string]int{"few": 8, "some": 30, "many": 200}
		served := map[string]int{}
		var mu sync.Mutex
		var wait sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for who, n := range clients {
			for range n {
				wait.Go(func() {
					for ctx.Err() == nil {
						turn, err := s.begin(ctx, who, One, time.Minute)
						if err != nil {
							continue
						}
						time.Sleep(5 * time.Millisecond)
						turn.End()
						mu.Lock()
						served[who]++
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(10 * time.Second)
		cancel()
		wait.Wait()
		total := served["few"] + served["some"] + served["many"]
		for who, n := range served {
			if n < total*30/100 || n > total*37/100 {
				t.Errorf("%s had %d of %d", who, n, total)
			}
		}
		if total < 7900 {
			t.Errorf("%d requests in 10 s with 4 seats and 5 ms each, want 8000", total)
		}
		s.atRest(t)
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 1, queueing(1, 1, 1))
		refused := func(err error, reason string) {
			t.Helper()
			var r *Refusal
			if !errors.As(err, &r) || !errors.Is(err, ErrTooManyRequests) || r.Reason != reason || r.RetryAfter != 1 {
				t.Errorf("%v, want %s and to come back in a second", err, reason)
			}
		}
		first, err := s.begin(t.Context(), "a", One, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		// One waits until its time is over.
		late := make(chan error)
		begun := time.Now()
		go func() { _, err := s.begin(t.Context(), "a", One, 15*time.Second); late <- err }()
		synctest.Wait()
		if n := s.metric(t, "current_inqueue_requests", "priority_level", "level", "flow_schema", "everybody"); n != 1 {
			t.Errorf("%v in queues", n)
		}
		_, err = s.begin(t.Context(), "a", One, time.Second)
		refused(err, "queue-full")
		refused(<-late, "time-out")
		if waited := time.Since(begun); waited != 15*time.Second {
			t.Errorf("it waited for %v", waited)
		}
		// The client of another one goes away.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := s.begin(ctx, "a", One, time.Hour); late <- err }()
		synctest.Wait()
		cancel()
		refused(<-late, "time-out")
		// The last gets the seat when it is free.
		go func() {
			turn, err := s.begin(t.Context(), "a", One, time.Hour)
			if err == nil {
				turn.End()
				turn.End() // once more is nothing
			}
			late <- err
		}()
		synctest.Wait()
		first.End()
		if err := <-late; err != nil {
			t.Error(err)
		}
		s.atRest(t)
		for labels, want := range map[string]float64{"queue-full": 1, "time-out": 2} {
			if got := s.metric(t, "rejected_requests_total", "reason", labels); got != want {
				t.Errorf("%v were refused for %s", got, labels)
			}
		}
		if n := s.metric(t, "dispatched_requests_total", "flow_schema", "everybody"); n != 2 {
			t.Errorf("%v were served", n)
		}
		if n := s.metric(t, "request_wait_duration_seconds", "execute", "true"); n != 2 {
			t.Errorf("%v observations of waiting", n)
		}
	})
}

func TestRejectingLevel(t *testing.T) {
	s := newServer(t, 2, queueing(0, 0, 0))
	var running []*Turn
	for range 2 {
		turn, err := s.begin(t.Context(), "a", One, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, turn)
	}
	_, err := s.begin(t.Context(), "b", One, time.Hour)
	if r := new(Refusal); !errors.As(err, &r) || r.Reason != "concurrency-limit" {
		t.Errorf("%v", err)
	}
	for _, turn := range running {
		turn.End()
	}
	s.atRest(t)
}

// The exempt are served however many there are.
func TestExempt(t *testing.T) {
	c := builtIn(t)
	admin := &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
	var running []*Turn
	for range 5000 {
		turn, err := c.Classify(object("list", "", "pods", ""), admin).Begin(t.Context(), Work{Seats: 10}, 0)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, turn)
	}
	for _, turn := range running {
		turn.End()
	}
	(&server{Controller: c, registry: prometheus.NewRegistry()}).atRest(t)
}

// Seats for what follows a write are given back after the answer, and to those who
// wait.
func TestSeatsAreKeptAfterAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 4, queueing(4, 1, 10))
		turn, err := s.begin(t.Context(), "a", Work{Seats: 1, Final: 3, Extra: 20 * time.Millisecond}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		turn.End()
		if n := s.metric(t, "current_executing_seats"); n != 3 {
			t.Errorf("%v seats are kept", n)
		}
		next, err := s.begin(t.Context(), "b", Work{Seats: 2}, time.Second)
		if waited := time.Since(begun); err != nil || waited != 20*time.Millisecond {
			t.Errorf("the next one waited for %v, %v", waited, err)
		}
		next.End()
		s.atRest(t)
	})
}

func TestHeaders(t *testing.T) {
	s := newServer(t, 1, queueing(1, 1, 1))
	h := http.Header{}
	s.Classify(path("get", "/x"), &user.DefaultInfo{Name: "a"}).SetHeaders(h)
	if a, b := h.Get("X-Kubernetes-PF-FlowSchema-UID"), h.Get("X-Kubernetes-PF-PriorityLevel-UID"); a != "schema-uid" || b != "level-uid" {
		t.Errorf("%v", h)
	}
}

func TestDumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 1, queueing(1, 1, 5))
		running, err := s.begin(t.Context(), "a", One, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			if turn, err := s.begin(t.Context(), "b", Work{Seats: 2}, time.Hour); err == nil {
				turn.End()
			}
		})
		synctest.Wait()
		dump := func(name string) string {
			w := httptest.NewRecorder()
			s.ServeDump(w, httptest.NewRequest("GET", DumpPath+name, nil))
			if w.Code != http.StatusOK {
				return fmt.Sprint(w.Code)
			}
			var lines []string
			for _, line := range strings.Split(strings.TrimSpace(w.Body.String()), "\n")[1:] {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
			return strings.Join(lines, "\n")
		}
		for name, want := range map[string]string{
			"dump_priority_levels": "catch-all, 0, true, false, 0, 0, 0, 0, 0, 0\n" +
				"exempt, 0, true, false, 0, 0, 0, 0, 0, 0\n" +
				"level, 1, false, false, 1, 1, 1, 0, 0, 0",
			"dump_queues": "level, 0, 1, 1, 1, 0.00300000ss, 2, 2, 0.00600000ss",
			"dump_requests": "level, everybody, 0, 0, b, 2000-01-01T00:00:00Z, 2, 0, 0s, 0001-01-01T00:00:00Z\n" +
				"level, everybody, 0, -1, a, 2000-01-01T00:00:00Z, 1, 0, 0s, 2000-01-01T00:00:00Z",
			"dump_requests?includeRequestDetails=1": "level, everybody, 0, 0, b, 2000-01-01T00:00:00Z, 2, 0, 0s, 0001-01-01T00:00:00Z, b, get, /x, , , , ,\n" +
				"level, everybody, 0, -1, a, 2000-01-01T00:00:00Z, 1, 0, 0s, 2000-01-01T00:00:00Z, a, get, /x, , , , ,",
			"dump_all": "404",
		} {
			if diff := cmp.Diff(want, dump(name)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		running.End()
		wait.Wait()
		s.atRest(t)
	})
}
