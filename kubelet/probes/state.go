package probes

import (
	corev1 "k8s.io/api/core/v1"
)

// Kind of a probe.
type Kind uint8

const (
	Liveness Kind = iota
	Readiness
	Startup
	kinds // how many there are
)

// String is the kind's word in events: "Liveness".
func (k Kind) String() string {
	switch k {
	case Liveness:
		return "Liveness"
	case Readiness:
		return "Readiness"
	case Startup:
		return "Startup"
	}
	return "Unknown"
}

// Result of a probe for a container, after its thresholds.
type Result uint8

const (
	Unknown Result = iota
	Success
	Failure
)

// String is the result's word in metrics.
func (r Result) String() string {
	switch r {
	case Success:
		return "successful"
	case Failure:
		return "failed"
	}
	return "unknown"
}

// Initial is the result before a container's first probe: a container lives and
// is not ready until it is known otherwise.
func (k Kind) Initial() Result {
	switch k {
	case Liveness:
		return Success
	case Readiness:
		return Failure
	}
	return Unknown
}

// State of one probe of one container.
type State struct {
	Result Result
	// Run counts equal outcomes in a row, Last is which.
	Run  int32
	Last Result
	// OnHold says that no more probes are made until the container is another
	// one: it failed and is to be restarted, or its startup is done.
	OnHold bool
}

// Next is the state after a probe's outcome, which is Success or Failure.
func (s State) Next(kind Kind, probe *corev1.Probe, outcome Result) State {
	if s.Last == outcome {
		s.Run++
	} else {
		s.Last, s.Run = outcome, 1
	}
	need := max(probe.FailureThreshold, 1)
	if outcome == Success {
		need = max(probe.SuccessThreshold, 1)
	}
	if s.Run < need {
		return s
	}
	s.Result = outcome
	if kind != Readiness && outcome == Failure || kind == Startup && outcome == Success {
		s.OnHold = true
		s.Run = 0
	}
	return s
}

// probeOf is a container's probe of a kind; nil where it has none.
func probeOf(c *corev1.Container, kind Kind) *corev1.Probe {
	switch kind {
	case Liveness:
		return c.LivenessProbe
	case Readiness:
		return c.ReadinessProbe
	}
	return c.StartupProbe
}
