package probes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNext(t *testing.T) {
	probe := &corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}
	for name, tc := range map[string]struct {
		kind     Kind
		outcomes string // s, f
		want     string // the result after each, and ! where it is on hold
	}{
		"readiness":         {Readiness, "ssfffss", "F S S S F F S"},
		"readiness flutter": {Readiness, "sfsfsf", "F F F F F F"},
		"liveness":          {Liveness, "ffsfff", "S S S S S F!"},
		"startup":           {Startup, "ffss", "U U U S!"},
		"startup fails":     {Startup, "fff", "U U F!"},
	} {
		t.Run(name, func(t *testing.T) {
			state := State{Result: tc.kind.Initial()}
			got := ""
			for i, o := range tc.outcomes {
				outcome := Success
				if o == 'f' {
					outcome = Failure
				}
				state = state.Next(tc.kind, probe, outcome)
				if i > 0 {
					got += " "
				}
				got += [...]string{Unknown: "U", Success: "S", Failure: "F"}[state.Result]
				if state.OnHold {
					got += "!"
				}
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// script is a Handler whose outcomes the test sets.
type script struct {
	mu       sync.Mutex
	outcomes map[Kind]Outcome
	log      []string
	begin    time.Time
	takes    time.Duration
}

func (s *script) Probe(ctx context.Context, kind Kind, _ *corev1.Probe, target Target) (Outcome, string) {
	s.mu.Lock()
	s.log = append(s.log, fmt.Sprintf("%v %v %s", time.Since(s.begin), kind, target.ContainerID))
	outcome := s.outcomes[kind]
	takes := s.takes
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	return outcome, "said so"
}

func (s *script) set(kind Kind, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[kind] = o
}

func (s *script) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func testPod(uid string, c corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-" + uid, Namespace: "ns", UID: types.UID(uid)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{c}},
	}
}

func start(t *testing.T, cfg Config) *Manager {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return m
}

func TestLifeOfAContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{outcomes: map[Kind]Outcome{}, begin: time.Now()}
		var updates, events []string
		m := start(t, Config{
			Handler: h,
			OnResult: func(u Update) {
				updates = append(updates, fmt.Sprintf("%v %v %v %s", time.Since(h.begin), u.Kind, u.Result, u.ContainerID))
			},
			OnEvent: func(e Event) { events = append(events, e.Reason+" "+e.Message) },
		})
		c := corev1.Container{
			Name:           "c",
			StartupProbe:   &corev1.Probe{PeriodSeconds: 2, FailureThreshold: 5},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 5, InitialDelaySeconds: 1},
			LivenessProbe:  &corev1.Probe{PeriodSeconds: 10, InitialDelaySeconds: 20, FailureThreshold: 2},
		}
		grace := int64(7)
		c.LivenessProbe.TerminationGracePeriodSeconds = &grace
		pod := testPod("1", c)
		h.set(Startup, OutcomeFailure)
		m.Add(pod)
		m.Observe("1", Observation{PodIP: "10.0.0.1", Containers: []ObservedContainer{{Name: "c", ID: "c1", Running: true, StartedAt: time.Now()}}})
		time.Sleep(3 * time.Second) // startup at 0 and 2
		if m.Started(&c, "c1") || m.Ready(&c, "c1") {
			t.Error("started before its probe succeeded")
		}
		h.set(Startup, OutcomeSuccess)
		time.Sleep(20 * time.Second) // startup at 4; readiness at 4, 9, 14, 19; liveness at 20
		if !m.Started(&c, "c1") || !m.Ready(&c, "c1") || m.Failed("c1") != nil {
			t.Error("not started and ready")
		}
		want := []string{
			"0s Startup c1", "2s Startup c1", "4s Startup c1",
			"4s Readiness c1", "9s Readiness c1", "14s Readiness c1", "19s Readiness c1",
			"20s Liveness c1",
		}
		if diff := cmp.Diff(want, h.taken()); diff != "" {
			t.Error(diff)
		}
		h.set(Liveness, OutcomeFailure)
		time.Sleep(20 * time.Second) // fails at 30 and 40
		verdict := m.Failed("c1")
		if verdict == nil || verdict.Kind != Liveness || verdict.Grace == nil || *verdict.Grace != 7*time.Second {
			t.Errorf("verdict %+v", verdict)
		}
		h.taken()
		time.Sleep(30 * time.Second)
		for _, l := range h.taken() {
			if l[len(l)-len("Liveness c1"):] == "Liveness c1" {
				t.Errorf("probed on although the container is to be restarted: %s", l)
			}
		}

		// The container is stopped, and another takes its place.
		m.Observe("1", Observation{Containers: []ObservedContainer{{Name: "c", ID: "c1"}}})
		if m.Ready(&c, "c1") {
			t.Error("ready although it has stopped")
		}
		h.set(Liveness, OutcomeSuccess)
		h.taken()
		m.Observe("1", Observation{Containers: []ObservedContainer{{Name: "c", ID: "c2", Running: true, StartedAt: time.Now()}}})
		if m.Failed("c2") != nil || m.Started(&c, "c2") {
			t.Error("a new container inherits results")
		}
		time.Sleep(2 * time.Second)
		if !m.Ready(&c, "c2") {
			t.Error("the new container is not ready")
		}
		m.Remove("1")
		h.taken()
		time.Sleep(time.Hour)
		if log := h.taken(); len(log) > 0 {
			t.Errorf("probed after Remove: %v", log)
		}
		wantUpdates := []string{
			"4s Startup successful c1", "4s Readiness successful c1", "40s Liveness failed c1",
			"1m13s Readiness failed c1", "1m13s Startup successful c2", "1m14s Readiness successful c2",
		}
		if diff := cmp.Diff(wantUpdates, updates); diff != "" {
			t.Error(diff)
		}
		wantEvents := []string{
			"Unhealthy Startup probe failed: said so", "Unhealthy Startup probe failed: said so",
			"Unhealthy Liveness probe failed: said so", "Unhealthy Liveness probe failed: said so",
		}
		if diff := cmp.Diff(wantEvents, events); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeletedPodIsProbedForReadinessOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{outcomes: map[Kind]Outcome{Liveness: OutcomeFailure}, begin: time.Now()}
		m := start(t, Config{Handler: h})
		pod := testPod("1", corev1.Container{
			Name:           "c",
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1},
			LivenessProbe:  &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 3},
		})
		m.Add(pod)
		m.Observe("1", Observation{Containers: []ObservedContainer{{Name: "c", ID: "c1", Running: true, StartedAt: time.Now()}}})
		time.Sleep(1500 * time.Millisecond)
		pod = pod.DeepCopy()
		pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		m.Add(pod)
		h.taken()
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{"2s Readiness c1", "3s Readiness c1"}, h.taken()); diff != "" {
			t.Error(diff)
		}
		if m.Failed("c1") != nil {
			t.Error("a pod that is being deleted is to be restarted")
		}
	})
}

// A kubelet that starts anew spreads the probes of what runs already, and takes
// nothing out of service meanwhile.
func TestAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{outcomes: map[Kind]Outcome{}, begin: time.Now()}
		m := start(t, Config{Handler: h, Rand: rand.New(rand.NewPCG(1, 2))})
		c := corev1.Container{Name: "c", ReadinessProbe: &corev1.Probe{PeriodSeconds: 100}}
		times := map[string]bool{}
		for i := range 20 {
			uid := fmt.Sprint(i)
			m.Add(testPod(uid, c))
			m.Observe(types.UID(uid), Observation{Containers: []ObservedContainer{{
				Name: "c", ID: "c" + uid, Running: true, StartedAt: time.Now().Add(-time.Hour), Ready: true,
			}}})
			if !m.Ready(&c, "c"+uid) {
				t.Fatal("an adopted container is out of service")
			}
		}
		time.Sleep(101 * time.Second)
		log := h.taken()
		for _, l := range log {
			times[l[:4]] = true
		}
		if len(log) < 20 || len(times) < 10 {
			t.Errorf("%d probes at %d different times", len(log), len(times))
		}
	})
}

func TestParallelismIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{outcomes: map[Kind]Outcome{}, begin: time.Now(), takes: time.Second}
		m := start(t, Config{Handler: h, Parallelism: 3})
		for i := range 9 {
			uid := fmt.Sprint(i)
			m.Add(testPod(uid, corev1.Container{Name: "c", ReadinessProbe: &corev1.Probe{PeriodSeconds: 60}}))
			m.Observe(types.UID(uid), Observation{Containers: []ObservedContainer{{Name: "c", ID: "c" + uid, Running: true, StartedAt: time.Now()}}})
		}
		synctest.Wait()
		for i := range 3 {
			if n := len(h.taken()); n != 3 {
				t.Errorf("second %d: %d probes began", i, n)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
}

// A probe that cannot be made is tried again at once, and then counts for nothing.
func TestUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{outcomes: map[Kind]Outcome{Liveness: OutcomeUnknown}, begin: time.Now()}
		var events []string
		m := start(t, Config{Handler: h, OnEvent: func(e Event) { events = append(events, e.Message) }})
		m.Add(testPod("1", corev1.Container{Name: "c", LivenessProbe: &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 1}}))
		m.Observe("1", Observation{Containers: []ObservedContainer{{Name: "c", ID: "c1", Running: true, StartedAt: time.Now()}}})
		time.Sleep(5 * time.Second)
		if n := len(h.taken()); n != 3 {
			t.Errorf("%d attempts", n)
		}
		if m.Failed("c1") != nil {
			t.Error("killed because the runtime did not answer")
		}
		if diff := cmp.Diff([]string{"Liveness probe errored and resulted in unknown state: said so"}, events); diff != "" {
			t.Error(diff)
		}
	})
}
