package probes

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Run makes the probes that are due and calls back, until ctx ends; it joins the
// probes that run.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.began = time.Now()
	m.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		m.mu.Lock()
		updates, events := m.updates, m.events
		m.updates, m.events = nil, nil
		now := time.Now()
		for m.busy < m.cfg.Parallelism && len(m.due) > 0 && !m.due[0].at.After(now) {
			p := heap.Pop(&m.due).(*prober)
			p.probing = true
			m.busy++
			target := Target{Pod: p.entry.pod, Container: p.container, ContainerID: p.containerID, PodIP: p.entry.ip}
			wg.Go(func() { m.probe(ctx, p, target) })
		}
		wait := time.Hour
		if len(m.due) > 0 && m.busy < m.cfg.Parallelism {
			wait = m.due[0].at.Sub(now)
		}
		m.mu.Unlock()

		for _, u := range updates {
			m.cfg.OnResult(u)
		}
		if m.cfg.OnEvent != nil {
			for _, e := range events {
				m.cfg.OnEvent(e)
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-timer.C:
		}
	}
}

// attempts at a probe that could not be made.
const attempts = 3

func (m *Manager) probe(ctx context.Context, p *prober, target Target) {
	var outcome Outcome
	var message string
	for range attempts {
		outcome, message = m.cfg.Handler.Probe(ctx, p.kind, p.probe, target)
		if outcome != OutcomeUnknown || ctx.Err() != nil {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.signal()
	m.busy--
	p.probing = false
	if p.removed || ctx.Err() != nil {
		return
	}
	now := time.Now()
	if p.containerID != target.ContainerID || !p.running {
		// Another container by now: this outcome says nothing about it.
		m.begin(p, now)
		return
	}
	if p.state.OnHold {
		return
	}
	m.count(p, outcome)
	event := Event{Pod: p.entry.pod, Container: p.container.Name, Reason: "Unhealthy"}
	result := Success
	switch outcome {
	case OutcomeSuccess:
	case OutcomeWarning:
		event.Reason, event.Message = "ProbeWarning", p.kind.String()+" probe warning: "+message
	case OutcomeFailure:
		event.Message = p.kind.String() + " probe failed: " + message
		result = Failure
	case OutcomeUnknown:
		event.Message = p.kind.String() + " probe errored and resulted in " + Unknown.String() + " state: " + message
		result = Unknown
	}
	if event.Message != "" {
		m.events = append(m.events, event)
	}
	if result != Unknown {
		before := p.state.Result
		p.state = p.state.Next(p.kind, p.probe, result)
		if p.state.Result != before {
			m.store(p, message)
			m.tell(p, message)
		}
		if p.kind == Startup && p.state.Result == Success {
			for _, other := range p.entry.probers {
				if other.container == p.container && other != p {
					m.begin(other, now)
				}
			}
		}
	}
	if p.state.OnHold {
		return
	}
	next := p.at.Add(period(p.probe))
	if next.Before(now) {
		next = now
	}
	m.schedule(p, next)
}

func (m *Manager) labels(p *prober) prometheus.Labels {
	return prometheus.Labels{
		"probe_type": p.kind.String(), "container": p.container.Name,
		"pod": p.entry.pod.Name, "namespace": p.entry.pod.Namespace, "pod_uid": string(p.entry.pod.UID),
	}
}

func (m *Manager) count(p *prober, outcome Outcome) {
	if m.total == nil {
		return
	}
	labels := m.labels(p)
	labels["result"] = [...]string{OutcomeSuccess: "successful", OutcomeWarning: "successful", OutcomeFailure: "failed", OutcomeUnknown: "unknown"}[outcome]
	m.total.With(labels).Inc()
}

func (m *Manager) forgetMetrics(p *prober) {
	if m.total != nil {
		m.total.DeletePartialMatch(m.labels(p))
	}
}

// dueHeap orders probers by time.
type dueHeap []*prober

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	p := x.(*prober)
	p.index = len(*h)
	*h = append(*h, p)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	p.index = -1
	return p
}
