package probes

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Started says whether the startup of a running container is done: at once
// without a startup probe, else when that succeeded.
func (m *Manager) Started(c *corev1.Container, containerID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.started(c, containerID)
}

func (m *Manager) started(c *corev1.Container, containerID string) bool {
	if c.StartupProbe == nil {
		return true
	}
	r := m.results[containerID]
	return r != nil && r[Startup].result == Success
}

// Ready says whether a running container is ready: when it has started and its
// readiness probe, if any, succeeded.
func (m *Manager) Ready(c *corev1.Container, containerID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.started(c, containerID) {
		return false
	}
	if c.ReadinessProbe == nil {
		return true
	}
	r := m.results[containerID]
	return r != nil && r[Readiness].result == Success
}

// Verdict on a container that has to be restarted.
type Verdict struct {
	Kind    Kind // Liveness or Startup
	Message string
	// Grace of the probe that overrides the pod's; nil where it has none.
	Grace *time.Duration
}

// Failed says whether a container must be killed because its liveness or
// startup probe failed; nil where it need not.
func (m *Manager) Failed(containerID string) *Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.results[containerID]
	if r == nil {
		return nil
	}
	for _, kind := range []Kind{Startup, Liveness} {
		if r[kind].known && r[kind].result == Failure {
			v := &Verdict{Kind: kind, Message: r[kind].message}
			if r[kind].grace != nil {
				grace := time.Duration(*r[kind].grace) * time.Second
				v.Grace = &grace
			}
			return v
		}
	}
	return nil
}

// Result of a probe of a container; ok is false where the container has no such
// probe, or has not been observed.
func (m *Manager) Result(containerID string, kind Kind) (result Result, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.results[containerID]
	if r == nil || kind >= kinds || !r[kind].known {
		return Unknown, false
	}
	return r[kind].result, true
}
